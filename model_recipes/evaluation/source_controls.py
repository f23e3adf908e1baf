"""Controls that need the people's recordings and not only their codes: noise of the same spectrum, the field's SVM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest, write_bytes
from dataset_builder.noise import NoiseSource
from dataset_builder.prompts import Style
from dataset_builder.score_rows import read_people
from dataset_builder.sources.base import Source
from dataset_builder.stage import Stage
from model_recipes.evaluation.recipe import EvaluateRecipe
from model_recipes.evaluation.svm import SVM_FILE, FieldSvm, FieldWeights, fit_svm


def read_noise(
    source: Source, codec: Codec, style: Style, rows: Sequence[dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Return the same rows with noise of the person's spectrum in place of the EEG."""
    people = sorted({row["subject"] for row in rows})
    made = read_people(NoiseSource(source, seed), codec, style, people, seed, title="noise").rows
    by_id = {row["row_id"]: row for row in made}
    return [by_id[row["row_id"]] for row in rows]


def learn_svm(
    stage: Stage, source: Source, train_rows: Sequence[dict[str, Any]], recipe: EvaluateRecipe
) -> FieldSvm | None:
    """Fit the field's SVM on the people of training rows and keep it in the stage; None with a note if that cannot be.

    Parameters
    ----------
    stage : Stage
    source : Source
    train_rows : sequence of rows
        Without those of clips that are to be new.
    recipe : EvaluateRecipe
    """
    people = sorted({row["subject"] for row in train_rows})
    folds = {row["clip"]: row["clip_fold"] for row in train_rows if row["clip"] is not None}
    unseen = frozenset() if recipe.held_out_fold is None else frozenset({recipe.held_out_fold})
    try:
        weights = fit_svm(source, people, folds, unseen, recipe.svm_every, recipe.seed)
    except InputError as error:
        stage.notes.append(f"left out: {error}")
        return None
    write_bytes(stage.folder / SVM_FILE, weights.dump())
    stage.notes.append(
        f"DE + SVM learned from {weights.n_people} training people, {weights.tell_seconds()}; it votes per trial "
        "and its penalty is fixed"
    )
    return FieldSvm(source, weights)


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
