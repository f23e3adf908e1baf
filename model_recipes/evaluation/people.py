"""Evaluate a model on the people of a folder: their EEG through the model's own codec, nothing fitted to them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest
from dataset_builder.score_rows import ScoredPeople, read_people
from dataset_builder.sources import SOURCES
from dataset_builder.sources.base import Source
from dataset_builder.stage import Stage, find_finished, fingerprint_files, open_stage
from model_recipes.evaluate import NOT_SCORED, limit_rows
from model_recipes.evaluation.claims import Exposure, find_exposure, find_trained
from model_recipes.evaluation.package import Package, find_package
from model_recipes.evaluation.plain_models import describe_model_files, is_plain, note_unknown
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.evaluation.protocols import choose_tested, divide_claims, list_notes
from model_recipes.evaluation.readers import Reader
from model_recipes.evaluation.recipe import EvaluateRecipe, PeopleRecipe
from model_recipes.evaluation.report import write_report
from model_recipes.evaluation.source_controls import find_weights, read_noise
from model_recipes.evaluation.svm import FieldSvm, FieldWeights, fit_svm
from model_recipes.evaluation.trials import (
    CodeReader,
    Trials,
    measure_reader,
)


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
        A key of `model_recipes.evaluation.protocols.PROTOCOL_NAMES`, with a fold after a colon where one is needed.
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
        stage.facts["made_up_people"] = source.info.synthetic
        people = read_people(source, package.codec, package.style, names, full.seed)
        if any(row["clip"] is not None and row["clip_fold"] is None for row in people.rows):
            exposure = replace(exposure, unseen_folds=frozenset())  # which clips were held out cannot be told
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
    rows = limit_rows(recipe, people.rows, package.codec)
    if package.codec.calibration_trials:
        stage.notes.append(NOT_SCORED.format(package.codec.calibration_trials))
    unsure = [person.subject for person in used if not exposure.can_tell(person, source.info.name)]
    stage.notes += [note_unknown(package.path)] if is_plain(package.path) else []
    stage.notes += list_notes(exposure, trained, unsure, [person.subject for person in used], recipe.protocol)
    rows, protocols = divide_claims(rows, exposure, trained, unsure, recipe.protocol)
    noise = None
    if recipe.controls == "full":
        noise = read_noise(source, package.codec, package.style, rows, recipe.seed)
    return Trials(rows, split, protocols, package.codec, package.style, _load_train(exposure), noise)


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
        try:
            weights, said = _learn_svm(recipe, source, trials, exposure)
        except InputError as error:
            stage.notes.append(f"left out: {error}")
        else:
            stage.notes.append(f"{said}, {weights.tell_seconds()}; it votes per trial and its penalty is fixed")
            yield nullcontext(FieldSvm(source, weights))
    yield package.open_reader(n_threads)


def _learn_svm(recipe: PeopleRecipe, source: Source, trials: Trials, exposure: Exposure) -> tuple[FieldWeights, str]:
    """Return the field's SVM and from whom it learned: from the model's training people wherever that can be."""
    saved = exposure.corpus_dir and find_weights(exposure.corpus_dir, exposure.unseen_folds)
    if saved:
        return saved, f"DE + SVM learned from {saved.n_people} training people of the model's corpus"
    others = [name for name in source.subjects() if name not in set(recipe.subjects)]
    if exposure.subjects is not None and exposure.source == (source.info.name, source.info.synthetic):
        others = [name for name in others if name in exposure.subjects]
    folds = {row["clip"]: row["clip_fold"] for row in trials.rows if row["clip"] is not None}
    learned = fit_svm(source, others, folds, exposure.unseen_folds, recipe.svm_every, recipe.seed)
    return learned, f"DE + SVM learned from {learned.n_people} other people of this folder"


def _make_key(package: Package, source: Source, names: Sequence[str], exposure: Exposure) -> dict[str, Any]:
    parents = [*package.parents, *([exposure.corpus_dir] if exposure.corpus_dir else [])]
    inputs = describe_model_files(package.path)
    if package.base is not None:
        inputs += describe_model_files(package.base)
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
