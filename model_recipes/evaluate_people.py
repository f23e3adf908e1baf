"""Evaluate a model on the people of a folder: their EEG through the model's own codec, nothing fitted to them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, describe_file
from dataset_builder.noise import NoiseSource
from dataset_builder.score_rows import ScoredPeople, choose_people, read_people
from dataset_builder.sources import SOURCES
from dataset_builder.sources.base import Source
from dataset_builder.splits import FACED_RANGES, SplitConfig, plan_splits
from dataset_builder.stage import Stage, find_finished, fingerprint_files, open_stage
from model_recipes.evaluate import limit_rows
from model_recipes.evaluate_claims import Exposure, find_exposure, find_trained
from model_recipes.evaluate_package import Package, find_package
from model_recipes.evaluate_recipe import EvaluateRecipe, PeopleRecipe
from model_recipes.evaluate_svm import FieldSvm
from model_recipes.evaluate_trials import (
    GIVEN_SUBJECTS,
    SEEN_SUBJECTS,
    UNSEEN_CLIPS,
    UNSEEN_SUBJECTS,
    CodeReader,
    Trials,
    measure_reader,
)
from model_recipes.evaluation_report import write_report
from model_recipes.probe import LinearProbe
from model_recipes.readers import Reader

#: What ``--protocol`` accepts, and what each name demands.
PROTOCOL_NAMES: dict[str, str] = {
    "auto": "say what the manifests tell",
    "unseen-subjects": "nobody may have been trained on",
    "unseen-subjects-and-clips": "that, and only clips that training never met",
    "faced-80-20-23": "people of FACED's test numbers, else of its validation numbers",
    "10-fold": "people of one block, as in 10-fold:3",
    "leave-one-subject-out": "one person, as in leave-one-subject-out:3",
}


def evaluate_people(
    recipe: EvaluateRecipe,
    model_path: str | Path,
    raw_dir: str | Path,
    out_dir: str | Path,
    *,
    subjects: str | None = None,
    protocol: str = "auto",
    source_name: str = "faced",
    base_dir: str | Path | None = None,
    corpus_dir: str | Path | None = None,
    n_threads: int | None = None,
) -> Manifest:
    """Score people with a finished model.

    What may be called unseen follows from the manifests of the model, its codec and its corpus. Where they cannot be
    reached, nothing is called unseen unless `protocol` claims it, and the notes say who claims it.

    Parameters
    ----------
    recipe : EvaluateRecipe
    model_path : str or Path
        Model folder, adapter folder or GGUF file.
    raw_dir : str or Path
        A folder in FACED's layout, or in that of `source_name`.
    out_dir : str or Path
        Folder to write; see `model_recipes.evaluate.evaluate_models`.
    subjects : str, optional
        See `dataset_builder.score_rows.choose_people`. Default: whom the protocol tests, else everybody.
    protocol : str
        A key of `PROTOCOL_NAMES`, with a fold after a colon where one is needed.
    source_name : str
        A name in `dataset_builder.sources.SOURCES`.
    base_dir : str or Path, optional
        The model under an adapter.
    corpus_dir : str or Path, optional
        Where the model's corpus lies now, for probes and to tell who was trained on.
    n_threads : int, optional
        Threads of the GGUF engine.

    Returns
    -------
    Manifest
        As of `model_recipes.evaluate.evaluate_models`; the files of all people who were read are among its inputs.

    Raises
    ------
    InputError
        If the model or the data cannot be used, nobody is meant, or the protocol asks for what is not so.
    """
    package = find_package(model_path, base_dir, corpus_dir)
    source: Source = SOURCES[source_name](Path(raw_dir))
    split, names = choose_tested(source.subjects(), subjects, protocol)
    full = PeopleRecipe(**recipe.model_dump(), subjects=names, protocol=protocol)
    exposure = find_exposure(package.path, package.codec, corpus_dir)
    key = _make_key(package, source, names, exposure)
    if finished := find_finished("evaluate", out_dir, full, **key):
        return finished
    with open_stage("evaluate", out_dir, full, **key, seed=full.seed) as stage:
        stage.synthetic = stage.synthetic or source.info.synthetic or package.synthetic
        people = read_people(source, package.codec, package.style, names, full.seed)
        trials = collect_trials(stage, full, package, source, people, exposure, split, source_name)
        stage.inputs += [artifact for person in people.facts for artifact in person.files]
        stage.dropped |= people.dropped
        stage.facts |= {"split": split, "rows": len(trials.rows), "protocol": protocol}
        stage.facts |= {"subjects": len({row["subject"] for row in trials.rows}), "source": source.info.name}
        for opened in _open_readers(stage, full, package, source, trials, exposure, n_threads):
            with opened as reader:
                measure_reader(stage, trials, reader, full)
        write_report(stage)
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def choose_tested(known: Sequence[str], subjects: str | None, protocol: str) -> tuple[str, list[str]]:
    """Return the split's name and the people who are scored.

    Raises
    ------
    InputError
        If the protocol is unknown, needs a fold, or people are named whom it trains on.
    """
    name, colon, fold = protocol.partition(":")
    if name not in PROTOCOL_NAMES or (colon and not fold.isdecimal()):
        raise InputError(f"--protocol {protocol!r}: unknown; accepted: {', '.join(PROTOCOL_NAMES)}")
    homes = _find_homes(known, name, fold)
    if homes is None:
        return "people", choose_people(known, subjects or "all")
    split = next((split for split in ("test", "validation") if split in homes.values()), "test")
    tested = [subject for subject, home in homes.items() if home == split]
    if subjects is None:
        if not tested:
            raise InputError(f"--protocol {protocol}: tests nobody who is there; give --subjects")
        return split, sorted(tested)
    chosen = choose_people(known, subjects)
    if wrong := [subject for subject in chosen if homes.get(subject) not in ("test", "validation")]:
        raise InputError(f"--subjects: {_list_few(wrong)} are not tested by protocol {protocol}")
    found = {homes[subject] for subject in chosen}
    return found.pop() if len(found) == 1 else "people", chosen


def collect_trials(
    stage: Stage,
    recipe: PeopleRecipe,
    package: Package,
    source: Source,
    people: ScoredPeople,
    exposure: Exposure,
    split: str,
    source_name: str,
) -> Trials:
    """Return the trials with what may be claimed of them; what a reader must know goes into the stage's notes."""
    used = [person for person in people.facts if person.state == "used"]
    trained = find_trained(used, exposure, (source_name, source.info.synthetic))
    rows = limit_rows(recipe, people.rows)
    stage.notes += list_notes(exposure, trained, [person.subject for person in used], recipe.protocol)
    rows, protocols = divide_claims(rows, exposure, trained, recipe.protocol)
    noise = None
    if recipe.controls == "full":
        alike = NoiseSource(source, recipe.seed)
        names = sorted({row["subject"] for row in rows})
        made = read_people(alike, package.codec, package.style, names, recipe.seed, title="noise").rows
        by_id = {row["row_id"]: row for row in made}
        noise = [by_id[row["row_id"]] for row in rows]
    return Trials(rows, split, protocols, package.codec, package.style, _load_train(exposure), noise)


def divide_claims(
    rows: list[dict[str, Any]], exposure: Exposure, trained: Sequence[str], protocol: str
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the rows that are scored and the trials of each protocol.

    Raises
    ------
    InputError
        If people or clips are to be called unseen that are not, or of which it cannot be told.
    """
    claimed = protocol != "auto"
    if claimed and trained:
        raise InputError(f"--protocol {protocol}: {_list_few(trained)} were in training")
    fresh = [row["clip_fold"] is not None and row["clip_fold"] in exposure.unseen_folds for row in rows]
    if protocol == "unseen-subjects-and-clips":
        if not any(fresh):
            raise InputError(
                f"--protocol {protocol}: no clip is known to be new to model and codec; train with held_out_fold"
            )
        rows, fresh = [row for row, new in zip(rows, fresh, strict=True) if new], [True] * sum(fresh)
    known = claimed or exposure.subjects is not None
    names = [
        SEEN_SUBJECTS if row["subject"] in trained else _name_claim(known, new)
        for row, new in zip(rows, fresh, strict=True)
    ]
    order = (UNSEEN_SUBJECTS, UNSEEN_CLIPS, GIVEN_SUBJECTS, SEEN_SUBJECTS)
    return rows, {name: np.flatnonzero(np.array(names) == name) for name in order if name in names}


def list_notes(exposure: Exposure, trained: Sequence[str], used: Sequence[str], protocol: str) -> list[str]:
    """Return what must be known of the claims."""
    notes = []
    if exposure.subjects is None:
        who = "that the people are unseen is the caller's claim" if protocol != "auto" else "nobody is called unseen"
        notes.append(f"the model's corpus is not at hand, so it cannot be told who was in training: {who}")
    if trained:
        notes.append(f"{_list_few(trained)} were in training and are counted apart")
    if watched := sorted(set(used) & exposure.validation - set(trained)):
        notes.append(f"{_list_few(watched)} are validation subjects, whose loss training may have watched")
    if not exposure.unseen_folds:
        notes.append("clips seen in training, or not known to be unseen: no number here tells emotion from film")
    return notes


def _name_claim(known: bool, fresh: bool) -> str:
    if not known:
        return GIVEN_SUBJECTS
    return UNSEEN_CLIPS if fresh else UNSEEN_SUBJECTS


def _open_readers(
    stage: Stage,
    recipe: PeopleRecipe,
    package: Package,
    source: Source,
    trials: Trials,
    exposure: Exposure,
    n_threads: int | None,
) -> Iterator[AbstractContextManager[Reader]]:
    """Yield everybody who answers; what cannot be had is noted."""
    if CodeReader.fits(package.codec, trials.rows):
        yield nullcontext(CodeReader(package.codec))
    if trials.train_rows:
        for target in recipe.probes:
            name = {"emotion": "linear probe", "clip": "clip recogniser"}[target]
            yield nullcontext(LinearProbe(package.codec, trials.train_rows, target=target, name=name))
    else:
        stage.notes.append("no linear probe and no clip recogniser: the model's corpus is not at hand (--corpus)")
    if recipe.controls == "full":
        scored = set(recipe.subjects)
        others = [name for name in source.subjects() if name not in scored]
        folds = {row["clip"]: row["clip_fold"] for row in trials.rows if row["clip"] is not None}
        try:
            svm = FieldSvm(source, others, folds, exposure.unseen_folds, recipe.svm_every, recipe.seed)
        except InputError as error:
            stage.notes.append(f"left out: {error}")
        else:
            stage.notes.append(
                f"DE + SVM learned from {svm.n_people} other people of this folder, every {recipe.svm_every}. second; "
                "it votes per trial and its penalty is fixed"
            )
            yield nullcontext(svm)
    yield package.open_reader(n_threads)


def _make_key(package: Package, source: Source, names: Sequence[str], exposure: Exposure) -> dict[str, Any]:
    parents = [*package.parents, *([exposure.corpus_dir] if exposure.corpus_dir else [])]
    inputs = [describe_file(package.path, package.path.parent)] if package.path.is_file() else []
    files = [path for name in names for path in source.files(name, package.codec.reads)]
    return {
        "parents": parents,
        "inputs": inputs,
        "fingerprint": fingerprint_files([*source.tables(), *files], source.root),
    }


def _load_train(exposure: Exposure) -> list[dict[str, Any]] | None:
    if exposure.corpus_dir is None:
        return None
    rows = load_split(exposure.corpus_dir, "train").to_list()
    return [row for row in rows if row["clip_fold"] not in exposure.unseen_folds] or None


def _find_homes(known: Sequence[str], name: str, fold: str) -> dict[str, str] | None:
    """Return the split of each subject under a protocol that divides people; None for the others."""
    if name == "faced-80-20-23":
        # By numbers alone: a folder that holds only the tested people is as good as a whole one.
        spans = FACED_RANGES.items()
        return {
            subject: split
            for subject in known
            for split, (low, high) in spans
            if subject[3:].isdecimal() and low <= int(subject[3:]) <= high
        }
    if name not in ("10-fold", "leave-one-subject-out"):
        return None
    if not fold:
        raise InputError(f"--protocol {name}: needs a fold, as in {name}:3")
    return plan_splits(known, SplitConfig.model_validate({"protocol": name, "fold": int(fold)})).homes


def _list_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
