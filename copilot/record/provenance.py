"""What is known of the model that answered: from its GGUF file, and from evaluations beside it."""

from importlib import metadata
from pathlib import Path

from copilot.record.types import Provenance
from dataset_builder.codecs.base import Codec
from dataset_builder.manifest import MANIFEST, Metric, read_manifest
from model_recipes.exporting.gguf_file import CopilotGguf
from model_recipes.runtime.model_digest import hash_model

#: Metrics that tell a reader how often the estimate is right.
_ACCURACY = ("balanced_accuracy", "accuracy")

#: Packages that compute a record.
_SOFTWARE = ("eeg-emotion-copilot", "mne", "numpy", "scipy", "xllamacpp")


def describe_model(model: CopilotGguf, path: Path) -> Provenance:
    """Return the provenance section of a record.

    Parameters
    ----------
    model : CopilotGguf
        From `model_recipes.exporting.gguf_file.read_copilot_gguf`.
    path : Path
        The same file; evaluations in the folders beside its own are looked through for its digest.

    Returns
    -------
    Provenance
        Unknown names are empty; without a measured accuracy `metrics` is empty, which a record says aloud.
    """
    digest = hash_model(path)
    return Provenance(
        model=model.name,
        gguf_sha256=digest,
        quantisation=model.file_type,
        codec=_describe_codec(model.codec),
        corpus=model.corpus,
        base=str(model.facts.get("base", "")),
        synthetic_training=model.synthetic,
        metrics=_find_accuracy(model, path, digest),
        software=_list_software(),
    )


def _describe_codec(codec: Codec) -> str:
    """Return the codec's name and options on one line: ``band_power (levels 10, space regions, windows 1)``."""
    options = codec.config.model_dump(mode="json", exclude={"name"}) | {"normalization": codec.normalization}
    return f"{codec.name} ({', '.join(f'{key} {value}' for key, value in sorted(options.items()))})"


def _find_accuracy(model: CopilotGguf, path: Path, digest: str) -> list[Metric]:
    """Return what an evaluation beside the model's folder measured on this very file."""
    readers = {f"language model {model.file_type}", f"language model {model.file_type} ({path.stem})"}
    metrics: list[Metric] = []
    if not (path.parent / MANIFEST).is_file():
        return metrics  # a file on its own: what lies around its folder is none of our business
    for found in sorted(path.absolute().parent.parent.glob(f"*/{MANIFEST}")):
        if digest in found.read_text(encoding="utf-8", errors="replace"):
            manifest = read_manifest(found.parent)
            measured_it = any(item.sha256 == digest for item in manifest.inputs)
            metrics += [m for m in manifest.metrics if measured_it and m.name in _ACCURACY and m.reader in readers]
    return metrics


def _list_software() -> dict[str, str]:
    versions = {}
    for name in _SOFTWARE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
