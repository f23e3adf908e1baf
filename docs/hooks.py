"""Fill pages of the site from files of the project: recipes from their first lines, results from their JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]

#: Where recipes lie, with the command that takes them.
_RECIPES = ("dataset_builder/recipes", "model_recipes/recipes")

#: What a result tells of its run, and under which key.
_RAN = {"Day": "day", "Code": "code", "Versions": "packages", "Machine": "hardware"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put lists in the place of their marks; mkdocs calls this for every page."""
    for mark, render in (("<!-- recipes -->", list_recipes), ("<!-- results -->", list_results)):
        if mark in markdown:
            markdown = markdown.replace(mark, render())
    return markdown


def list_recipes() -> str:
    """Return every recipe with what its first lines say, by folder."""
    parts = []
    for folder in sorted({path.parent for root in _RECIPES for path in (_ROOT / root).rglob("*.yaml")}):
        parts.append(f"## `{folder.relative_to(_ROOT).as_posix()}`\n")
        parts += [_describe_recipe(path) for path in sorted(folder.glob("*.yaml"))]
    return "\n".join(parts)


def list_results() -> str:
    """Return every measured result as tables, each with when, with what and on which machine it was measured."""
    parts = []
    for path in sorted((_ROOT / "benchmarks" / "results").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        parts.append(f"## {path.stem}\n\n{facts.pop('question', '')}\n")
        ran = {name: facts.pop(key, None) for name, key in _RAN.items()}
        parts += list(_render_tables(facts))
        told = ". ".join(f"{name}: {_show(value) if value else 'not recorded'}" for name, value in ran.items())
        parts.append(f"\n*{told}. File: `benchmarks/results/{path.name}`.*\n")
    return "\n".join(parts)


def _describe_recipe(path: Path) -> str:
    """Return the comment above a recipe: prose as prose, commands as code."""
    prose, commands = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        (commands if text.startswith("eeg-copilot") else prose).append(text)
    code = "\n\n```sh\n" + "\n".join(commands) + "\n```" if commands else ""
    return f"### `{path.name}`\n\n{' '.join(prose)}{code}\n"


def _render_tables(facts: dict[str, Any]) -> Iterator[str]:
    """Yield one table of the plain values, then one for each list or mapping of rows."""
    plain = {name: value for name, value in facts.items() if not _is_rows(value)}
    if plain:
        yield _render_table(["", "value"], [[name, value] for name, value in plain.items()])
    for name, value in facts.items():
        if _is_rows(value):
            rows = value if isinstance(value, list) else [{"": key} | row for key, row in value.items()]
            columns = list(dict.fromkeys(key for row in rows for key in row))
            yield f"\n**{name}**\n"
            yield _render_table(columns, [[row.get(column, "") for column in columns] for row in rows])


def _is_rows(value: Any) -> bool:
    members = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return bool(members) and all(isinstance(member, dict) for member in members)


def _render_table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_show(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_show(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_show, value))
    return str(value).replace("|", "\\|").replace("\n", " ")
