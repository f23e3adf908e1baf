"""The evaluate stage: how often readers are right about people, and clips, that training never met.

Two protocols stand side by side because they say different things: on clips that the training subjects watched, much of
a score is recognising the film; only unseen clips tell something about emotion.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from dataset_builder.codecs import Codec
from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, read_manifest
from dataset_builder.prompts import Style, load_style
from dataset_builder.seeds import make_rng
from dataset_builder.sources.base import Source
from dataset_builder.stage import Stage, find_finished, fingerprint_files, open_stage
from model_recipes.evaluation.claims import unseen_by_codec
from model_recipes.evaluation.package import Package, find_base, name_model
from model_recipes.evaluation.plain_models import check_plain, describe_model_files, is_plain, note_unknown
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.evaluation.readers import Reader
from model_recipes.evaluation.recipe import EvaluateRecipe
from model_recipes.evaluation.report import write_report
from model_recipes.evaluation.source_controls import learn_svm, read_noise
from model_recipes.evaluation.trials import (
    SEEN_SUBJECTS,
    UNSEEN_CLIPS,
    UNSEEN_SUBJECTS,
    CodeReader,
    Trials,
    measure_reader,
)
from model_recipes.exporting.gguf_file import read_copilot_gguf
from model_recipes.lineage import check_training
from model_recipes.rows import load_rows

__all__ = ["EvaluateRecipe", "evaluate_models"]

#: What is said where trials set the scale of the others.
NOT_SCORED = "the first {} trials of each person set the scale and are not scored"

OpenReader = Callable[[], AbstractContextManager[Reader]]


def evaluate_models(
    recipe: EvaluateRecipe,
    corpus_dir: str | Path,
    model_paths: Sequence[str | Path],
    out_dir: str | Path,
    n_threads: int | None = None,
    source: Source | None = None,
) -> Manifest:
    """Evaluate models beside linear probes.

    Parameters
    ----------
    recipe : EvaluateRecipe
    corpus_dir : str or Path
    model_paths : sequence of str or Path
        Model folders, adapter folders and GGUF files; ours or anybody's, see `model_recipes.evaluation.plain_models`.
    out_dir : str or Path
        Folder to write: ``report.html``; per reader a confusion matrix (PNG) and all predictions (Parquet), per model
        pictures of its calibration.
    n_threads : int, optional
        Threads of the GGUF engine.
    source : Source, optional
        What the corpus was made from, for the full controls that need recordings: noise of the same spectrum, and the
        field's DE + SVM, which learns from the corpus' training people and is kept as ``svm.safetensors``.

    Returns
    -------
    Manifest
        Its metrics, per reader and protocol: see `model_recipes.evaluation.trials.measure_reader`. Facts: ``verdicts``.

    Raises
    ------
    InputError
        If a model cannot be read, was trained with other prompts or on clips that are to be called unseen, or there is
        no row.
    """
    paths = [Path(path) for path in model_paths]
    parents = [corpus_dir, *_list_parents(paths)]
    bases = [base for path in paths if path.is_dir() and (base := find_base(path)) is not None]
    inputs = [artifact for path in [*paths, *bases] for artifact in describe_model_files(path)]
    source = source if recipe.controls == "full" else None
    key: dict[str, Any] = {
        "parents": parents,
        "inputs": inputs,
        "fingerprint": "" if source is None else _fingerprint(source, load_codec(corpus_dir).reads),
    }
    if finished := find_finished("evaluate", out_dir, recipe, **key):
        return finished
    check_prompts(paths, load_style(corpus_dir))
    notes = [
        note_unknown(path) if is_plain(path) else check_training(path, corpus_dir, recipe.held_out_fold)
        for path in paths
    ]
    split, rows = choose_rows(recipe, corpus_dir)
    with open_stage("evaluate", out_dir, recipe, **key, seed=recipe.seed) as stage:
        stage.notes += [note for note in notes if note]
        stage.facts["made_up_people"] = read_manifest(corpus_dir).synthetic
        trials = _collect_trials(stage, recipe, corpus_dir, rows, split, source)
        if source is not None and (svm := learn_svm(stage, source, trials.train_rows or [], recipe)):
            measure_reader(stage, trials, svm, recipe)
        for open_reader in _list_readers(recipe, corpus_dir, paths, n_threads):
            with open_reader() as reader:
                measure_reader(stage, trials, reader, recipe)
        stage.facts |= {"split": split, "rows": len(rows), "subjects": len({row["subject"] for row in rows})}
        if split != "test" and recipe.split == "auto":
            stage.notes.append("no test subjects: measured on validation subjects, whose loss training watched")
        write_report(stage)
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def choose_rows(recipe: EvaluateRecipe, corpus_dir: str | Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the split's name and its rows.

    Raises
    ------
    InputError
        If no row is there.
    """
    wanted = ["test", "validation"] if recipe.split == "auto" else [recipe.split]
    loaded: list[tuple[str, Dataset]] = [(name, load_split(corpus_dir, name)) for name in wanted]
    split, table = next(((name, rows) for name, rows in loaded if len(rows)), (wanted[-1], None))
    if table is None:
        raise InputError(f"{Path(corpus_dir).name}: holds no row in split {' or '.join(wanted)}")
    return split, limit_rows(recipe, table.to_list(), load_codec(corpus_dir))


def limit_rows(recipe: EvaluateRecipe, rows: list[dict[str, Any]], codec: Codec) -> list[dict[str, Any]]:
    """Return at most as many rows as the recipe allows, drawn at random, in their order.

    Trials that set the person's scale are not scored: what is read of them knows the trials that came after.

    Raises
    ------
    InputError
        If no others are there.
    """
    if codec.calibration_trials:
        rows = [row for row in rows if row["rank"] > codec.calibration_trials]
        if not rows:
            raise InputError(
                f"no trial is left to score: the first {codec.calibration_trials} of a person set the scale"
            )
    if recipe.max_rows is None or recipe.max_rows >= len(rows):
        return rows
    chosen = make_rng(recipe.seed, "evaluate", "rows").choice(len(rows), recipe.max_rows, replace=False)
    return [rows[i] for i in sorted(chosen)]


def divide_protocols(
    rows: Sequence[dict[str, Any]], unseen_fold: int | None, corpus_dir: str | Path
) -> dict[str, np.ndarray]:
    """Return the trials of each protocol; one without a trial is left out.

    A corpus may share people between its splits: whoever stands in train is never called unseen.
    """
    trained = set(load_split(corpus_dir, "train")["subject"])
    new = {False: UNSEEN_SUBJECTS, True: UNSEEN_CLIPS}
    names = np.array(
        [
            SEEN_SUBJECTS
            if row["subject"] in trained
            else new[unseen_fold is not None and row["clip_fold"] == unseen_fold]
            for row in rows
        ]
    )
    return {name: np.flatnonzero(names == name) for name in (*new.values(), SEEN_SUBJECTS) if name in names}


def check_prompts(paths: Sequence[Path], style: Style) -> None:
    """Refuse a GGUF file that says it was trained with prompts of another style or language than the corpus has.

    Raises
    ------
    InputError
    """
    wanted = f"{style.config.style} ({style.config.language})"
    for path in (path for path in paths if path.is_file() and not is_plain(path)):
        prompt = read_copilot_gguf(path).prompt
        if (found := f"{prompt.style} ({prompt.language})") != wanted:
            raise InputError(f"{path.name}: was trained with prompts {found}; the corpus has {wanted}")


def name_readers(paths: Sequence[Path]) -> list[str]:
    """Return a name per model: ``language model``, and a GGUF file's type; with its folder where two would be equal.

    As many folders above it are named as tell it apart; the same model given again is numbered.
    """
    kinds = [name_model(path) for path in paths]
    places = [Path(os.path.abspath(path.with_suffix("") if path.is_file() else path)) for path in paths]
    names = [
        kind if kinds.count(kind) == 1 else f"{kind} ({_tell_apart(place, places)})"
        for kind, place in zip(kinds, places, strict=True)
    ]
    return [f"{name} {names[:i].count(name) + 1}" if name in names[:i] else name for i, name in enumerate(names)]


def _tell_apart(place: Path, places: Sequence[Path]) -> str:
    """Return the fewest last parts of a path that no other path ends with."""
    others = [other.parts for other in places if other != place]
    tails = (place.parts[-n:] for n in range(1, len(place.parts)))
    apart = (tail for tail in tails if all(other[-len(tail) :] != tail for other in others))
    return "/".join(next(apart, place.parts[-1:]))


def _collect_trials(
    stage: Stage,
    recipe: EvaluateRecipe,
    corpus_dir: str | Path,
    rows: list[dict[str, Any]],
    split: str,
    source: Source | None,
) -> Trials:
    codec, style, fold = load_codec(corpus_dir), load_style(corpus_dir), recipe.held_out_fold
    if fold is not None and not unseen_by_codec(codec, corpus_dir, fold):
        stage.notes.append(
            f"the codec learned from the labels of clip fold {fold}: its clips are counted as seen in training"
        )
        fold = None
    if codec.calibration_trials:
        stage.notes.append(NOT_SCORED.format(codec.calibration_trials))
    train = load_rows(corpus_dir, "train", recipe.held_out_fold).to_list()
    noise = None if source is None else read_noise(source, codec, style, rows, recipe.seed)
    return Trials(rows, split, divide_protocols(rows, fold, corpus_dir), codec, style, train, noise)


def _list_parents(paths: Sequence[Path]) -> list[Path]:
    """Return the stages of models: a model folder itself, and the folder of a GGUF file if it is a stage."""
    for path in paths:
        if not path.is_dir() and (path.suffix != ".gguf" or not path.exists()):
            raise InputError(f"{path.name}: no such model; accepted: a model folder, an adapter or a .gguf file")
        check_plain(path)
    folders = [path if path.is_dir() else path.parent for path in paths]
    return [folder for folder in dict.fromkeys(folders) if (folder / MANIFEST).is_file()]


def _list_readers(
    recipe: EvaluateRecipe, corpus_dir: str | Path, paths: Sequence[Path], n_threads: int | None
) -> list[OpenReader]:
    """Return how to open each reader; only one is in memory at a time."""
    probes: list[OpenReader] = [partial(_open_probe, target, recipe, corpus_dir) for target in recipe.probes]
    codec = load_codec(corpus_dir)
    if codec.supervised:
        probes.insert(0, lambda: nullcontext(CodeReader(codec)))
    names = zip(paths, name_readers(paths), strict=True)
    style = load_style(corpus_dir)
    packages = [(Package(path, codec, style, find_base(path) if path.is_dir() else None), name) for path, name in names]
    return probes + [partial(package.open_reader, n_threads, name) for package, name in packages]


@contextmanager
def _open_probe(target: str, recipe: EvaluateRecipe, corpus_dir: str | Path) -> Iterator[Reader]:
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold).to_list()
    name = {"emotion": "linear probe", "clip": "clip recogniser"}[target]
    yield LinearProbe(load_codec(corpus_dir), rows, target=target, name=name)


def _fingerprint(source: Source, reads: str) -> str:
    """Return what tells one state of the recordings from another."""
    files = [path for name in source.subjects() for path in source.files(name, reads)]
    return fingerprint_files([*source.tables(), *files], source.root)
