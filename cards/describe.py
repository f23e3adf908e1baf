"""Front matter of a card: what the Hub sorts, links and loads by."""

import re
from pathlib import Path
from typing import Any

from cards.chain import Chain
from cards.claims import is_supported
from cards.front_matter import read_front_matter
from cards.metadata import DatasetMetadata, ModelMetadata, SpaceMetadata
from cards.names import CardNames
from cards.vocabulary import is_hub_id, size_category
from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.recipe import validate

#: Tags that everything of ours carries.
_TAGS = ["eeg", "emotion", "affective-computing", "research-only"]

#: Stage -> what the front matter says of the model.
_RELATIONS = {"adapter": "adapter", "gguf": "quantized"}
_LIBRARIES = {"model": "transformers", "adapter": "peft", "gguf": "gguf"}

#: What goes into the Hub's table of results if its controls passed.
_RESULTS = ("balanced_accuracy", "accuracy")

#: What somebody agrees to who asks to read the data.
_GATE = {
    "extra_gated_heading": "These rows come from recordings of people",
    "extra_gated_prompt": "EEG can identify a person. By asking for access you agree to use these rows for research "
    "only, not to try to find out who anybody is, not to use them at work, in education, recruiting, policing or "
    "insurance, to pass them on to nobody, and to keep to the terms of the source.",
    "extra_gated_fields": {
        "Affiliation": "text",
        "What I will use the data for": "text",
        "I agree to these conditions": "checkbox",
    },
    "extra_gated_button_content": "Ask for access",
}


def describe_dataset(chain: Chain) -> DatasetMetadata:
    """Return the front matter of a corpus; `configs` and `dataset_info` are taken over from the folder's README.md."""
    kept = read_folder_header(chain.folder)
    n_rows = sum(split["rows"] for split in chain.manifest.facts["splits"].values())
    made_up = chain.synthetic
    values = {
        **_source_licence(chain.manifest.facts.get("source") or {}),
        "language": _languages(chain),
        "pretty_name": str(kept.get("pretty_name") or chain.folder.name),
        "task_categories": ["text-generation", "text-classification"],
        "task_ids": ["dialogue-generation", "multi-class-classification"],
        "size_categories": [size_category(n_rows)],
        # The clip's emotion was chosen by those who made the study; assessments are sentences written by rule.
        "annotations_creators": ["machine-generated"] if made_up else ["expert-generated", "machine-generated"],
        "language_creators": ["machine-generated"],
        "multilinguality": ["monolingual"],
        "source_datasets": ["original"] if made_up else ["extended"],
        "tags": [*_TAGS, "timeseries", *(["synthetic"] if made_up else [])],
        **({} if made_up else _GATE),
        "configs": kept.get("configs") or [],
        "dataset_info": kept.get("dataset_info"),
    }
    return validate(DatasetMetadata, values, where="card")


def describe_model(chain: Chain, kind: str, names: CardNames) -> ModelMetadata:
    """Return the front matter of a model, an adapter or GGUF files."""
    stage = chain.manifest.stage
    base_model = names.base_model or (_original_base(chain) if kind == "model" else None)
    index = _model_index(chain, names)
    values = {
        "license": _base_licence(chain, names),
        "language": _languages(chain),
        "library_name": _LIBRARIES[kind],
        "base_model": base_model,
        "base_model_relation": _RELATIONS.get(stage, "finetune") if base_model else None,
        "datasets": [names.dataset] if names.dataset else [],
        "metrics": sorted({metric["type"] for entry in index for r in entry["results"] for metric in r["metrics"]}),
        "tags": [*_TAGS, *_stage_tags(chain, kind, base_model), *(["synthetic"] if chain.synthetic else [])],
        "model_index": index,
    }
    return validate(ModelMetadata, values, where="card")


def describe_space(chain: Chain, names: CardNames) -> SpaceMetadata:
    """Return the front matter of a Space: its own README.md says how it is run, `names` which model it shows.

    Raises
    ------
    InputError
        If its README.md has no front matter, or names a program that is not in the folder.
    RecipeError
        If a key or a word there is not the Hub's.
    """
    kept = read_folder_header(chain.folder)
    values = {"license": "apache-2.0", **kept}
    values["title"] = str(kept.get("title") or chain.folder.name)
    own = [*_TAGS, *(["synthetic"] if chain.synthetic else [])]
    values["tags"] = list(dict.fromkeys([*(kept.get("tags") or []), *own]))
    values["models"] = [names.base_model] if names.base_model else kept.get("models") or []
    values["datasets"] = [names.dataset] if names.dataset else kept.get("datasets") or []
    metadata = validate(SpaceMetadata, values, where=f"{chain.folder.name}/README.md")
    app = metadata.app_file or "app.py"
    if metadata.sdk == "gradio" and app not in {item.name for item in chain.manifest.outputs}:
        raise InputError(f"{chain.folder.name}: app_file {app!r} is not among the files of its manifest")
    return metadata


def read_folder_header(folder: Path) -> dict[str, Any]:
    """Return the front matter of the README.md that a stage wrote itself.

    Raises
    ------
    InputError
        If there is none.
    """
    try:
        header, problem = read_front_matter((folder / "README.md").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder.name}/README.md: missing; its front matter says how the files are used") from None
    if problem:
        raise InputError(f"{folder.name}/README.md: {problem}")
    return header


def _languages(chain: Chain) -> list[str]:
    """Return the language of prompts and answers, which the corpus chose; English for a model that has met none."""
    corpus = chain.find("corpus")
    prompt = corpus.recipe.get("prompt") if corpus else None
    return [str(prompt.get("language", "en"))] if isinstance(prompt, dict) else ["en"]


def _source_licence(source: dict[str, Any]) -> dict[str, str]:
    """Return the licence keys of a corpus: those of its source, ``unknown`` if the manifest tells none."""
    licence = source.get("licence_id") or "unknown"
    if licence != "other":
        return {"license": licence}
    name = re.sub(r"[^a-z0-9.]+", "-", str(source.get("name", "source")).lower()).strip("-.")
    return {"license": licence, "license_name": f"{name}-terms", "license_link": source.get("url", "")}


def _base_licence(chain: Chain, names: CardNames) -> str:
    """Return the licence that all stages inherit from the base; a given one must not contradict the manifest."""
    told = str((chain.fact("base") or {}).get("licence") or "unknown")
    if names.licence and told not in ("unknown", names.licence):
        raise InputError(f"--licence: {names.licence!r} given, but the manifest of the base says {told!r}")
    return names.licence or told


def tell_weights_licence(chain: Chain, names: CardNames) -> str:
    """Return the licence of the GGUF files of a folder, which a Space carries beside its program; else nothing."""
    carried = any(item.name.endswith(".gguf") for item in chain.manifest.outputs)
    return _base_licence(chain, names) if carried else ""


def _original_base(chain: Chain) -> str | None:
    """Return the Hub id of the model that all began with, if it is one."""
    base = chain.fact("base") or {}
    name = base.get("model_id")
    return name if is_hub_id(name) and base.get("source") != "model folder" else None


def _stage_tags(chain: Chain, kind: str, base_model: str | None) -> list[str]:
    tags = {"adapter": ["lora", "transformers"], "gguf": ["gguf", "llama.cpp"]}.get(kind, [])
    if kind == "adapter" and base_model:
        tags = [*tags, f"base_model:adapter:{base_model}"]
    return [*tags, "pruned"] if chain.find("prune") else tags


def _model_index(chain: Chain, names: CardNames) -> list[dict[str, Any]]:
    """Return the Hub's table of results: numbers of this very folder whose controls passed, none of made-up data."""
    own = [metric for manifest in chain.evaluations for metric in manifest.metrics if metric.name in _RESULTS]
    chosen = chain.choose_reader([metric.reader for metric in own])
    borne_out = [m for m in own if m.reader == chosen and is_supported(chain, m.reader, m.protocol)]
    if not names.dataset or not borne_out:
        return []
    name = str(names.repo_id or chain.folder.name).split("/")[-1]
    return [{"name": name, "results": [_enter(metric, names.dataset) for metric in borne_out]}]


def _enter(metric: Metric, dataset: str) -> dict[str, Any]:
    span = f", 95 % interval {metric.interval[0]:.3f} to {metric.interval[1]:.3f}" if metric.interval else ""
    chance = "" if metric.chance is None else f", chance {metric.chance:.3f}"
    told = f"{metric.reader}, {metric.protocol}, n={metric.n} {metric.unit}{span}{chance}"
    return {
        "task": {"type": "text-generation", "name": "Emotion intended by a film clip, from coded EEG"},
        "dataset": {"type": dataset, "name": f"{dataset}, {metric.protocol}", "split": metric.split},
        "metrics": [{"type": metric.name, "value": metric.value, "name": told}],
    }
