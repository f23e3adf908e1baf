"""The trials of one evaluation, and all that is measured of one reader on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataset_builder.codecs import Codec
from dataset_builder.manifest import Metric, write_bytes
from dataset_builder.prompts import Style
from dataset_builder.seeds import make_rng
from dataset_builder.stage import Stage
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.bootstrap import bootstrap_mean
from model_recipes.evaluation.calibration import measure_calibration
from model_recipes.evaluation.conformal import Thresholds, fit_thresholds, measure_promises
from model_recipes.evaluation.controls import list_asked_controls, list_plain_controls, name_trial
from model_recipes.evaluation.figures import plot_confusions, plot_trust
from model_recipes.evaluation.metrics import count_confusion, measure_answers, measure_recalls
from model_recipes.evaluation.predictions import make_slug, write_predictions
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.evaluation.readers import GgufReader, HFReader, Reader
from model_recipes.evaluation.recipe import EvaluateRecipe
from model_recipes.evaluation.report import mark_synthetic
from model_recipes.evaluation.text_quality import measure_text, write_answers
from model_recipes.evaluation.verdict import compare_controls, judge

UNSEEN_SUBJECTS = "unseen subjects"
UNSEEN_CLIPS = "unseen subjects and clips"

#: Where the manifests do not tell, or tell otherwise.
GIVEN_SUBJECTS = "subjects not known to be unseen"
SEEN_SUBJECTS = "subjects seen in training"

#: Ending of a reader's name where the answers to the segments of a trial count as one.
WHOLE_TRIALS = " over whole trials"


@dataclass(frozen=True)
class Trials:
    """What all readers of one evaluation are asked.

    Parameters
    ----------
    rows : list of dict
        Rows of the corpus' form.
    split : str
        Name of the split in metrics.
    protocols : dict of str to ndarray of int
        Protocol -> its trials; none empty.
    codec, style
        How a row's prompt was rendered.
    train_rows : list of dict, or None
        What probes and demographics may learn from.
    noise_rows : list of dict, or None
        The same trials with noise of the person's spectrum in place of the EEG.
    """

    rows: list[dict[str, Any]]
    split: str
    protocols: dict[str, np.ndarray]
    codec: Codec
    style: Style
    train_rows: list[dict[str, Any]] | None = None
    noise_rows: list[dict[str, Any]] | None = field(default=None, repr=False)

    def pick(self, trials: np.ndarray) -> tuple[list[str], list[str]]:
        """Return emotions and subjects of some trials."""
        emotions, subjects = ([self.rows[i][key] for i in trials.tolist()] for key in ("emotion", "subject"))
        return emotions, subjects


class CodeReader:
    """Answers with the probabilities that a code states by itself: what a perfect reader of it would say.

    Parameters
    ----------
    codec : Codec
    """

    name = "the code itself"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def score(self, rows: Sequence[Any]) -> np.ndarray:
        """Return nine probabilities per row; see `model_recipes.evaluation.readers.Reader`."""
        found = [self.codec.read_probabilities(self.codec.from_text(row["code"])) for row in rows]
        return np.array(found, dtype=float)

    @classmethod
    def fits(cls, codec: Codec, rows: Sequence[Any]) -> bool:
        """Tell whether codes of this codec state probabilities."""
        return codec.read_probabilities(codec.from_text(rows[0]["code"])) is not None


def measure_reader(stage: Stage, trials: Trials, reader: Reader, recipe: EvaluateRecipe) -> None:
    """Measure one reader; metrics, verdicts, pictures and predictions end in the stage.

    Of a language model more is told than of probes: recall by emotion, calibration, controls with a verdict, and, where
    the recipe asks for it, free answers.
    """
    scores = reader.score(trials.rows)
    thresholds = _set_thresholds(trials, reader, recipe)
    for protocol, chosen in trials.protocols.items():
        where = {"split": trials.split, "protocol": protocol, "reader": reader.name}
        emotions, subjects = trials.pick(chosen)
        stage.metrics += measure_answers(scores[chosen], emotions, subjects, seed=recipe.seed, **where)
        stage.metrics += measure_whole_trials(trials, scores, chosen, recipe.seed, where)
        truth = np.array([EMOTIONS.index(emotion) for emotion in emotions])
        if isinstance(reader, HFReader | GgufReader | CodeReader):
            stage.metrics += measure_calibration(scores[chosen], truth, subjects, seed=recipe.seed, **where)
        if thresholds is not None:
            mine = [trials.rows[i] for i in chosen.tolist()]
            stage.metrics += measure_promises(thresholds, scores[chosen], truth, mine, recipe.seed, **where)
        if isinstance(reader, HFReader | GgufReader):
            stage.metrics += measure_recalls(scores[chosen], emotions, subjects, seed=recipe.seed, **where)
            if recipe.controls != "off":
                _measure_controls(stage, trials, reader, scores, chosen, recipe, where)
            if recipe.generated_rows:
                stage.metrics += _measure_text(trials, reader, scores, chosen, recipe, where)
        elif isinstance(reader, LinearProbe) and not isinstance(reader.model.classes_[0], str):
            stage.metrics += _measure_clips(trials, reader, chosen, recipe.seed, where)
    _write_files(stage, reader, trials, scores)


def measure_whole_trials(
    trials: Trials, scores: np.ndarray, chosen: np.ndarray, seed: int, where: dict[str, Any]
) -> list[Metric]:
    """Return what the answers to segments come to per trial; nothing where rows are whole trials.

    The log probabilities of a trial's segments are averaged. Were they added, as for independent observations, the
    likeliest label would be the same and far too sure of itself.
    """
    names = [name_trial(trials.rows[i]) for i in chosen.tolist()]
    firsts, owners = np.unique(names, return_index=True, return_inverse=True)[1:]
    if len(firsts) == len(names):
        return []
    logs = np.log(np.maximum(scores[chosen], np.finfo(float).tiny))
    sums = np.zeros((len(firsts), logs.shape[1]))
    np.add.at(sums, owners, logs)
    means = np.exp(sums / np.bincount(owners)[:, None])
    emotions, subjects = trials.pick(chosen[firsts])
    told = where | {"reader": f"{where['reader']}{WHOLE_TRIALS}"}
    return measure_answers(means / means.sum(axis=1, keepdims=True), emotions, subjects, seed=seed, **told)


def draw_trials(trials: np.ndarray, n: int, seed: int, title: str) -> np.ndarray:
    """Return at most `n` of some trials, drawn at random, in their order."""
    if len(trials) <= n:
        return trials
    return np.sort(make_rng(seed, "evaluate", title).choice(trials, n, replace=False))


def _measure_controls(
    stage: Stage,
    trials: Trials,
    reader: HFReader | GgufReader,
    scores: np.ndarray,
    chosen: np.ndarray,
    recipe: EvaluateRecipe,
    where: dict[str, str],
) -> None:
    controls = list_plain_controls(trials.rows, scores, trials.train_rows, chosen)
    full = recipe.controls == "full"
    asked = draw_trials(chosen, recipe.control_rows, recipe.seed, "controls")
    options = (trials.codec, trials.style, asked, trials.noise_rows, recipe.seed, full)
    controls += list_asked_controls(reader, trials.rows, *options)
    comparisons, metrics = compare_controls(trials.rows, scores, controls, recipe.seed, where)
    stage.metrics += metrics
    unseen = where["protocol"] == UNSEEN_CLIPS
    stage.facts.setdefault("verdicts", []).append(judge(comparisons, where, unseen))


def _set_thresholds(trials: Trials, reader: Reader, recipe: EvaluateRecipe) -> Thresholds | None:
    """Set thresholds on training rows; None where their codes knew their people, or nothing is asked for."""
    limit = recipe.reference_rows
    if not limit or not trials.train_rows or not trials.codec.supervised:
        return None
    if isinstance(reader, CodeReader):
        limit = len(trials.train_rows)  # costs nothing
    elif not isinstance(reader, HFReader | GgufReader):
        return None
    chosen = draw_trials(np.arange(len(trials.train_rows)), limit, recipe.seed, "reference")
    rows = [trials.train_rows[i] for i in chosen.tolist()]
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    return fit_thresholds(reader.score(rows), truth, rows, recipe.seed)


def _measure_text(
    trials: Trials,
    reader: HFReader | GgufReader,
    scores: np.ndarray,
    chosen: np.ndarray,
    recipe: EvaluateRecipe,
    where: dict[str, str],
) -> list[Metric]:
    asked = draw_trials(chosen, recipe.generated_rows, recipe.seed, "text")
    rows = [trials.rows[i] for i in asked.tolist()]
    return measure_text(write_answers(reader, rows), rows, scores[asked], trials.style, recipe.seed, **where)


def _measure_clips(
    trials: Trials, probe: LinearProbe, chosen: np.ndarray, seed: int, where: dict[str, Any]
) -> list[Metric]:
    """Return how often a clip recogniser names the very clip; nothing where it was not taught the clips."""
    rows = [trials.rows[i] for i in chosen.tolist()]
    clips = set(probe.model.classes_.tolist())
    if not all(row["clip"] in clips for row in rows):
        return []
    right = probe.model.predict(probe.read_values(rows)) == np.array([row["clip"] for row in rows])
    value, interval = bootstrap_mean(right.astype(float), [row["subject"] for row in rows], seed)
    method = f"share of trials whose very clip is named, of {len(clips)}; 95 % bootstrap over subjects"
    found: dict[str, Any] = {
        "name": "clip_accuracy",
        "value": value,
        "n": len(rows),
        "unit": "trials",
        "interval": interval,
    }
    return [Metric(**found, chance=1 / len(clips), method=method, **where)]


def _write_files(stage: Stage, reader: Reader, trials: Trials, scores: np.ndarray) -> None:
    slug, rows = make_slug(reader.name), trials.rows
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    mark = mark_synthetic(stage)
    parts = {name: (scores[part], truth[part]) for name, part in trials.protocols.items()}
    counts = {
        name: count_confusion(right, said.argmax(axis=1), [""] * len(right), len(EMOTIONS))[0]
        for name, (said, right) in parts.items()
    }
    write_bytes(stage.folder / f"confusion-{slug}.png", plot_confusions(counts, f"{reader.name}{mark}"))
    if isinstance(reader, HFReader | GgufReader):
        write_bytes(stage.folder / f"trust-{slug}.png", plot_trust(parts, f"{reader.name}{mark}"))
    write_predictions(stage.folder, reader.name, rows, trials.protocols, scores)
