"""Controls that need the people's recordings and not only their codes: noise of the same spectrum, the field's SVM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_builder.codecs import Codec
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest
from dataset_builder.noise import NoiseSource
from dataset_builder.prompts import Style
from dataset_builder.score_rows import read_people
from dataset_builder.sources.base import Source
from model_recipes.evaluation.svm import SVM_FILE, FieldWeights


def read_noise(
    source: Source, codec: Codec, style: Style, rows: Sequence[dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Return the same rows with noise of the person's spectrum in place of the EEG."""
    people = sorted({row["subject"] for row in rows})
    made = read_people(NoiseSource(source, seed), codec, style, people, seed, title="noise").rows
    by_id = {row["row_id"]: row for row in made}
    return [by_id[row["row_id"]] for row in rows]


def find_weights(corpus_dir: Path, unseen_folds: frozenset[int]) -> FieldWeights | None:
    """Return what an evaluation beside a corpus learned from the corpus' training people, if there is one.

    Parameters
    ----------
    corpus_dir : Path
    unseen_folds : frozenset of int
        Clips that must not have been learned from.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    wanted = hash_file(corpus_dir / MANIFEST)
    for path in sorted(corpus_dir.parent.glob(f"*/{SVM_FILE}")):
        if not (path.parent / MANIFEST).is_file():
            continue
        if wanted in {parent.sha256 for parent in read_manifest(path.parent).parents}:
            weights = FieldWeights.load(path)
            if unseen_folds <= weights.unseen_folds:
                return weights
    return None
