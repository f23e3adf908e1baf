"""Card of a finished folder: YAML front matter, words from a template, numbers from manifests only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from cards.chain import KINDS, Chain, read_chain
from cards.lint import read_front_matter
from cards.metadata import DatasetMetadata, ModelMetadata
from cards.vocabulary import LICENCES, is_hub_id, size_category
from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.recipe import validate

#: Tags that every model of ours carries.
_TAGS = ["eeg", "emotion", "affective-computing"]

#: Stage -> what the front matter says of the model.
_RELATIONS = {"adapter": "adapter", "gguf": "quantized"}
_LIBRARIES = {"model": "transformers", "adapter": "peft", "gguf": "gguf"}


@dataclass(frozen=True)
class CardNames:
    """What no folder knows: where things will live on the Hub, and on what terms.

    Parameters
    ----------
    repo_id : str, optional
        The repository of this card, ``namespace/name``. Without it, examples load from the local folder.
    base_model : str, optional
        The repository of the model that this one was made from.
    dataset : str, optional
        The repository of the corpus.
    licence : str, optional
        Licence of the base model, for bases whose manifest does not tell it.
    """

    repo_id: str | None = None
    base_model: str | None = None
    dataset: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if self.licence is not None and self.licence not in LICENCES - {"other", "unknown"}:
            raise InputError(f"--licence: {self.licence!r} is not a licence identifier of the Hub")
        for option, name in (
            ("--repo-id", self.repo_id),
            ("--base-model", self.base_model),
            ("--dataset", self.dataset),
        ):
            if name is not None and not is_hub_id(name):
                raise InputError(f"{option}: {name!r} is not of the form namespace/name")


def render_card(folder: str | Path, names: CardNames | None = None, evaluations: Sequence[str | Path] = ()) -> str:
    """Write the Hub card of a finished folder.

    Parameters
    ----------
    folder : str or Path
        Folder of a finished stage. Its ancestors are found through the manifests; those that are gone or were rebuilt
        since are named as such and none of their numbers is used.
    names : CardNames, optional
    evaluations : sequence of paths
        Folders of evaluations of this very folder, whose numbers go into the card.

    Returns
    -------
    str
        The text of README.md. A corpus keeps the ``configs:`` of its own README.md.

    Raises
    ------
    InputError
        If the folder is not a finished stage with a card, or an evaluation is not one of this folder.
    RecipeError
        If the manifests hold a word that the Hub does not know.
    """
    chain, names = read_chain(folder, evaluations), names or CardNames()
    kind = KINDS[chain.manifest.stage]
    metadata = describe_dataset(chain) if kind == "dataset" else describe_model(chain, kind, names)
    return (
        _environment()
        .get_template(f"{kind}.md.jinja")
        .render(
            header=metadata.to_yaml(),
            title=_title(chain, names),
            chain=chain,
            manifest=chain.manifest,
            names=names,
            here=names.repo_id or f"./{chain.folder.name}",
            metadata=metadata,
            source=chain.fact("source"),
            base={"source": None} | (chain.fact("base") or {}),
            recipe=yaml.safe_dump(chain.manifest.recipe, sort_keys=False, allow_unicode=True, width=100).strip(),
            facts=list(flatten_facts(chain.manifest.facts)),
            # Each emotion's recall is on the evaluation's own page; here nine more rows would hide the others.
            metrics=[format_metric(stage, m) for stage, m in chain.metrics() if not m.name.startswith("recall_")],
            gguf_files=sorted(chain.manifest.list_outputs(".gguf"), key=lambda file: file.bytes),
        )
    )


def describe_dataset(chain: Chain) -> DatasetMetadata:
    """Return the front matter of a corpus; `configs` and `dataset_info` are taken over from the folder's README.md."""
    kept, problem = _read_folder_header(chain.folder)
    if problem:
        raise InputError(f"{chain.folder.name}/README.md: {problem}")
    n_rows = sum(split["rows"] for split in chain.manifest.facts["splits"].values())
    values = {
        **_source_licence(chain.manifest.facts.get("source") or {}),
        "pretty_name": str(kept.get("pretty_name") or chain.folder.name),
        "task_categories": ["text-generation", "text-classification"],
        "size_categories": [size_category(n_rows)],
        "tags": [*_TAGS, "timeseries", *(["synthetic"] if chain.synthetic else [])],
        "configs": kept.get("configs") or [],
        "dataset_info": kept.get("dataset_info"),
    }
    return validate(DatasetMetadata, values, where="card")


def describe_model(chain: Chain, kind: str, names: CardNames) -> ModelMetadata:
    """Return the front matter of a model, an adapter or GGUF files."""
    stage = chain.manifest.stage
    base_model = names.base_model or (_original_base(chain) if kind == "model" else None)
    values = {
        "license": _base_licence(chain, names),
        "library_name": _LIBRARIES[kind],
        "base_model": base_model,
        "base_model_relation": _RELATIONS.get(stage, "finetune") if base_model else None,
        "datasets": [names.dataset] if names.dataset else [],
        "tags": [*_TAGS, *_stage_tags(chain, kind), *(["synthetic"] if chain.synthetic else [])],
        "model_index": _model_index(chain, names),
    }
    return validate(ModelMetadata, values, where="card")


def flatten_facts(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the facts that fit a table: plain values and short lists, nested keys joined by dots; the source apart."""
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name != "source":
            yield from flatten_facts(value, f"{name}.")
        elif isinstance(value, bool | int | str) and len(str(value)) <= 80:
            yield name, f"{value:,}" if type(value) is int else _cell(str(value))
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, list) and len(value) <= 12 and all(isinstance(item, str | int) for item in value):
            yield name, _cell(", ".join(map(str, value)))


def format_metric(stage: str, metric: Metric) -> dict[str, str]:
    """Return one table row of texts: what was measured, how much, how sure, against what, on what."""
    interval = metric.interval
    return {
        "stage": stage,
        "name": _cell(metric.name.replace("_", " ")),
        "reader": _cell(metric.reader),
        "value": f"{metric.value:.4g}",
        "interval": f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "",
        "chance": "" if metric.chance is None else f"{metric.chance:.4g}",
        "n": f"{metric.n:,} {metric.unit}",
        "split": _cell(metric.split),
        "protocol": _cell(metric.protocol),
        "method": _cell(metric.method),
    }


def _environment() -> Environment:
    return Environment(  # Markdown, not HTML: nothing is escaped, and every value comes from a manifest
        loader=PackageLoader("cards"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _title(chain: Chain, names: CardNames) -> str:
    return names.repo_id.split("/")[1] if names.repo_id else chain.folder.resolve().name


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _read_folder_header(folder: Path) -> tuple[dict[str, Any], str]:
    try:
        return read_front_matter((folder / "README.md").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "missing; it says which files belong to which split"


def _source_licence(source: dict[str, Any]) -> dict[str, str]:
    """Return the licence keys of a corpus: those of its source, ``unknown`` if the manifest tells none."""
    licence = source.get("licence_id") or "unknown"
    if licence != "other":
        return {"license": licence}
    return {"license": licence, "license_name": source.get("licence_name", ""), "license_link": source.get("url", "")}


def _base_licence(chain: Chain, names: CardNames) -> str:
    """Return the licence that all stages inherit from the base; a given one must not contradict the manifest."""
    told = str((chain.fact("base") or {}).get("licence") or "unknown")
    if names.licence and told not in ("unknown", names.licence):
        raise InputError(f"--licence: {names.licence!r} given, but the manifest of the base says {told!r}")
    return names.licence or told


def _original_base(chain: Chain) -> str | None:
    """Return the Hub id of the model that all began with, if it is one."""
    base = chain.fact("base") or {}
    name = base.get("model_id")
    return name if is_hub_id(name) and base.get("source") != "model folder" else None


def _stage_tags(chain: Chain, kind: str) -> list[str]:
    tags = {"adapter": ["lora"], "gguf": ["llama.cpp"]}.get(kind, [])
    return [*tags, "pruned"] if chain.find("prune") else tags


def _own_readers(chain: Chain) -> set[str]:
    """Return how an evaluation calls what this folder holds; it may have measured other models and probes as well."""
    files = [Path(item.name).stem for item in chain.manifest.list_outputs(".gguf")]
    readers = {f"language model {stem.rpartition('-')[2]}": stem for stem in files}
    readers = readers or {"language model": chain.folder.resolve().name}
    return {*readers, *(f"{reader} ({place})" for reader, place in readers.items())}


def _model_index(chain: Chain, names: CardNames) -> list[dict[str, Any]]:
    """Return the Hub's result table: what was measured on this very stage, none of it on made-up data."""
    own = [metric for manifest in (chain.manifest, *chain.evaluations) for metric in manifest.metrics]
    measured = [m for m in own if m.protocol.startswith("unseen") and m.reader in _own_readers(chain)]
    if chain.synthetic or not names.dataset or not measured:
        return []
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"type": names.dataset, "name": f"{names.dataset}, {metric.protocol}", "split": metric.split},
            "metrics": [{"type": metric.name, "value": metric.value, "name": f"{metric.reader}, n={metric.n}"}],
        }
        for metric in measured
    ]
    return [{"name": _title(chain, names), "results": results}]
