"""Strict recipes: YAML in, a typed and frozen config out, one clear line when something is off."""

import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from dataset_builder.errors import RecipeError


class StrictModel(BaseModel):
    """Base of every config: unknown keys, wrong types and out-of-range values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


Model = TypeVar("Model", bound=StrictModel)


#: What PyYAML raises besides its own errors: for a date such as 2001-99-99, a number such as 0b2, a thousand brackets.
_BAD_VALUES = (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError)

#: Largest recipe that is read, bytes; ours take a kilobyte.
_MAX_BYTES = 100_000


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its traps for recipes: a key given twice is refused, and so is an alias; ``off`` is a word.

    A few nested aliases stand for more values than any memory holds.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":bool")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias (*name); write the value itself", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        counts = Counter(str(self.construct_object(key, deep=True)) for key, _ in node.value)
        repeated = sorted(key for key, count in counts.items() if count > 1)
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"key given twice: {', '.join(repeated)}", node.start_mark
            )
        return super().construct_mapping(node, deep)


# As in YAML 1.2; version 1.1 also takes on, off, yes, no, y and n for truth values.
_TRUTH = re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _TRUTH, list("tTfF"))


def load_recipe(
    path: str | Path,
    model: type[Model],
    overrides: Sequence[str] = (),
    *,
    stage: str = "",
    shipped: Path | None = None,
) -> Model:
    """Read a recipe file.

    Parameters
    ----------
    path : str or Path
        YAML file.
    model : type
        Config class that the recipe must fit.
    overrides : sequence of str
        ``"section.key=value"`` as given after ``--set``; the value is read as YAML.
    stage : str, optional
        Where one run has many recipes: overrides are ``"stage.section.key=value"``; those of others are let be.
    shipped : Path, optional
        Folder of recipes that may be named without their folder; a file at `path` goes first.

    Returns
    -------
    model
        The validated config.

    Raises
    ------
    RecipeError
        Names the file, the key, what was found and what is accepted.
    """
    path = Path(path) if shipped is None else _find_recipe(Path(path), shipped)
    values = _parse_yaml(_read_text(path), path.name)
    prefix = f"{stage}." if stage else ""
    for override in overrides:
        if override.startswith(prefix):
            _apply_override(values, override, prefix)
    return validate(model, values, where=path.name)


def check_changes(changes: Sequence[str], stages: Sequence[str]) -> None:
    """Refuse what is no ``"stage.key=value"`` of one of the stages of a run.

    Raises
    ------
    RecipeError
    """
    for change in changes:
        key, sign, _ = change.partition("=")
        stage, _, name = key.partition(".")
        if stage not in stages or not name or not sign:
            raise RecipeError(f"--set {change}: expected STAGE.KEY=VALUE; stages: {', '.join(stages)}")


def validate(model: type[Model], values: Any, where: str) -> Model:
    """Check `values` against `model`; the error names `where`, the key, the finding and what is accepted."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{where}: " + "; ".join(_explain(item, model) for item in error.errors())) from None


def _find_recipe(path: Path, shipped: Path) -> Path:
    """Return `path` if something is there, else the shipped recipe of that name."""
    if os.path.exists(path):
        return path
    names = {recipe.relative_to(shipped).as_posix(): recipe for recipe in shipped.rglob("*.yaml")}
    if path.as_posix() in names:
        return names[path.as_posix()]
    (near,) = get_close_matches(path.as_posix(), names, n=1, cutoff=0.0)
    raise RecipeError(
        f"--recipe {path}: no such file; accepted: a file, or the name of a shipped recipe such as {near}"
    )


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RecipeError(f"recipe {path.name}: {path.stat().st_size} bytes; accepted: at most {_MAX_BYTES}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"recipe {path.name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise RecipeError(f"recipe {path.name}: is not text in UTF-8") from None


def _parse_yaml(text: str, name: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise RecipeError(f"recipe {name}{place}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except _BAD_VALUES as error:
        raise RecipeError(f"recipe {name}: not valid YAML ({type(error).__name__}: {error})") from None
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {name}: expected a mapping of keys, found {type(values).__name__}")
    return values


def _apply_override(values: dict[str, Any], override: str, prefix: str = "") -> None:
    key, sign, value = override.removeprefix(prefix).partition("=")
    if not sign or not key:
        raise RecipeError(f"--set {override}: expected section.key=value")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override}: {section} is a single value, not a section")
    try:
        values[last] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, *_BAD_VALUES):
        raise RecipeError(f"--set {override}: the value is not valid YAML") from None


def _explain(item: Any, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "recipe"
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key; accepted: {', '.join(_known_keys(model, item['loc'][:-1]))}"
    found = "" if item["type"] == "missing" else f", found {item['input']!r}"
    hint = " (YAML reads 2e-4 as text: write 2.0e-4)" if _looks_like_float(item.get("input")) else ""
    return f"{place}: {item['msg'][0].lower()}{item['msg'][1:]}{found}{hint}"


def _looks_like_float(value: Any) -> bool:
    if not isinstance(value, str) or "e" not in value.lower():
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _known_keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that the section at `place` accepts. In a union a part of `place` is the `name` of one member."""
    models: list[type[BaseModel]] = [model]
    for part in place:
        inside = [
            m for owner in models if part in owner.model_fields for m in _models_in(owner.model_fields[part].annotation)
        ]
        models = inside or [m for m in models if "name" in m.model_fields and m.model_fields["name"].default == part]
    return sorted({key for m in models for key in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in getattr(annotation, "__args__", ()) for m in _models_in(argument)]
