"""What a model was trained on, found through manifests or the keys of a GGUF file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, hash_file, read_manifest
from model_recipes.exporting.gguf_file import read_copilot_gguf

#: Stages in which a model learns labels.
_TRAINED = ("adapter", "reader")


@dataclass(frozen=True)
class Training:
    """How an adapter or a reader was trained.

    Parameters
    ----------
    held_out_fold : int or None
        Clips of this fold were kept from it; None if none was.
    corpus_sha256 : str or None
        Digest of its corpus' manifest.
    """

    held_out_fold: int | None
    corpus_sha256: str | None


def walk_parents(folder: str | Path) -> Iterator[Manifest]:
    """Yield the manifest of a stage and of all stages before it that are still what it was made from."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    yield manifest
    for parent in manifest.parents:
        path = folder / parent.folder / MANIFEST
        if path.is_file() and hash_file(path) == parent.sha256:
            yield from walk_parents(path.parent)


def find_training(path: str | Path) -> Training | None:
    """Return how the adapter or reader in a model was trained, or None if there is none or it cannot be found any more.

    Parameters
    ----------
    path : str or Path
        Finished model folder, or GGUF file.
    """
    path = Path(path)
    if path.is_file():
        facts = read_copilot_gguf(path).facts
        known = "held_out_fold" in facts
        return Training(facts["held_out_fold"], facts.get("corpus_manifest_sha256")) if known else None
    trained = next((manifest for manifest in walk_parents(path) if manifest.stage in _TRAINED), None)
    if trained is None:
        return None
    corpus = next((parent.sha256 for parent in trained.parents if parent.stage == "corpus"), None)
    return Training(trained.recipe.get("held_out_fold"), corpus)


def check_training(path: str | Path, corpus_dir: str | Path, held_out_fold: int | None) -> str:
    """Make sure that clips called unseen were not trained on.

    Returns
    -------
    str
        What a reader of the results must know; empty if all is as it should be.

    Raises
    ------
    InputError
        If the adapter was trained on clips that are about to be called unseen.
    """
    name, training = Path(path).name, find_training(path)
    if training is None:
        return f"{name}: no trained adapter is known of it"
    if held_out_fold is not None and training.held_out_fold != held_out_fold:
        raise InputError(
            f"{name}: trained with held_out_fold {training.held_out_fold}; evaluation asks for {held_out_fold}"
        )
    if training.corpus_sha256 != hash_file(Path(corpus_dir) / MANIFEST):
        return f"{name}: trained on another corpus, or an earlier build of this one; subjects may overlap"
    return ""
