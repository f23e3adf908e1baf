"""Prediction sets and abstaining whose thresholds come from training people, so that a newcomer needs no labels.

Training rows of a supervised codec are written by siblings that never saw the person, see
`dataset_builder.codecs.fitted.Fitted`. So what a reader says of them is what it says of new people, as far as both are
drawn alike. Devices are not: each sampling rate that enough training people share has thresholds of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset_builder.manifest import Metric
from dataset_builder.seeds import make_rng
from model_recipes.evaluation.bootstrap import bootstrap_interval, bootstrap_mean
from model_recipes.evaluation.calibration import ANSWERED, NOMINAL, TIE_BREAK
from model_recipes.evaluation.controls import Rows

#: Fewest people from whom a threshold is taken, and whose device gets one of its own: fewer carry no promise of nine
#: sets in ten.
_FEWEST_PEOPLE = 9


@dataclass(frozen=True)
class Thresholds:
    """From which probability on a label is taken into a set, and an answer given.

    Parameters
    ----------
    take : dict of str to float
        By device; under an empty name for everybody else.
    answer : dict of str to float
        As `take`.
    n_rows, n_people : int
        Training rows and people behind them.
    """

    take: dict[str, float]
    answer: dict[str, float]
    n_rows: int
    n_people: int

    def pick(self, devices: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return both thresholds of each trial, shape (n_trials,)."""
        found = [[values.get(name, values[""]) for name in devices] for values in (self.take, self.answer)]
        return np.array(found[0]), np.array(found[1])


def name_device(row: dict[str, Any]) -> str:
    """Return the sampling rate of a row's device in words; empty if unknown."""
    return f"{row['device_sfreq_hz']:g} Hz" if row.get("device_sfreq_hz") else ""


def fit_thresholds(
    scores: np.ndarray, truth: np.ndarray, rows: Rows, seed: int, nominal: float = NOMINAL
) -> Thresholds:
    """Set thresholds on training rows.

    Prediction sets for a trial of a new person (`find_person_threshold`) within each device (Vovk et al. 2005,
    "Mondrian" predictors), and the quantile that leaves the least sure rows out.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
        Probabilities of training rows whose codes were cross-fitted.
    truth : ndarray of shape (n_rows,), int
    rows : sequence of rows
    seed : int
        Decides between equal probabilities.
    """
    scores = break_ties(scores, seed, "training")
    devices, people = np.array([name_device(row) for row in rows]), np.array([row["subject"] for row in rows])
    shared = [name for name in np.unique(devices) if name and len(set(people[devices == name])) >= _FEWEST_PEOPLE]
    parts = {"": np.ones(len(rows), dtype=bool)} | {str(name): devices == name for name in shared}
    return Thresholds(
        take={name: find_person_threshold(scores[part], truth[part], people[part]) for name, part in parts.items()},
        answer={name: float(np.quantile(scores[part].max(axis=1), 1 - ANSWERED)) for name, part in parts.items()},
        n_rows=len(rows),
        n_people=len(set(people.tolist())),
    )


def find_person_threshold(scores: np.ndarray, truth: np.ndarray, people: np.ndarray, nominal: float = NOMINAL) -> float:
    """Return the probability from which a label belongs to the prediction set of a person who was never seen.

    People, not trials, are exchangeable, and each counts once, however many rows there are. The threshold is a quantile
    of what the true labels got. Which one: each person is left out in turn, and the smallest quantile of the others is
    taken that covers the left-out people nominally on average. So new people are covered nominally, as nearly as K
    people can tell. The guarantee for the worst case (Lee, Barber and Willett 2023, arXiv:2306.06342) sets a weight of
    1 / (K + 1) aside for the new one, which covers people who are alike too often: 0.945 for 0.9 with 20 of them.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
    truth : ndarray of shape (n_rows,), int
    people : ndarray of shape (n_rows,), str
    nominal : float
        Share of sets that shall hold the truth.

    Returns
    -------
    float
        Zero, which takes all labels in, where there are too few people for the promise.
    """
    mine = scores[np.arange(len(truth)), truth]
    order = np.argsort(-mine)
    names, owners, counts = np.unique(people[order], return_inverse=True, return_counts=True)
    if len(names) < _FEWEST_PEOPLE:
        return 0.0
    rows = np.zeros((len(names), len(mine)))
    rows[owners, np.arange(len(mine))] = 1 / counts[owners]
    covered = rows.cumsum(axis=1)  # of each person by a threshold at each row, the most probable first
    pooled = covered.mean(axis=0)
    others = (covered.sum(axis=0) - covered) / (len(names) - 1)
    places = [np.searchsorted(own, pooled - 1e-9).clip(max=len(mine) - 1) for own in others]
    left_out = np.mean([own[place] for own, place in zip(covered, places, strict=True)], axis=0)
    enough = np.flatnonzero(left_out >= nominal - 1e-9)
    return float(mine[order[enough[0]]]) if len(enough) else 0.0


def break_ties(scores: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """Return probabilities of which hardly any are equal, as letters state them; see `TIE_BREAK`."""
    return np.asarray(scores * (1 + TIE_BREAK * make_rng(seed, "conformal", stream).random(scores.shape)))


def measure_promises(
    thresholds: Thresholds, scores: np.ndarray, truth: np.ndarray, rows: Rows, seed: int, **where: Any
) -> list[Metric]:
    """Measure on other people what the thresholds promise.

    Parameters
    ----------
    thresholds : Thresholds
    scores : ndarray of shape (n_trials, n_labels)
    truth : ndarray of shape (n_trials,), int
    rows : sequence of rows
        The trials.
    seed : int
    **where : str
        ``split``, ``protocol`` and ``reader`` of each metric.

    Returns
    -------
    list of Metric
        ``promised_coverage``, ``promised_set_size``, ``promised_answered`` and ``promised_accuracy``.
    """
    scores, subjects = break_ties(scores, seed, "measured"), [row["subject"] for row in rows]
    take, answer = thresholds.pick([name_device(row) for row in rows])
    sets, answered = scores >= take[:, None], (scores.max(axis=1) >= answer).astype(float)
    right = answered * (scores.argmax(axis=1) == truth)
    told = f"thresholds set on {thresholds.n_rows} rows of {thresholds.n_people} training people, by device"
    metrics = []
    for name, values, method in (
        (
            "promised_coverage",
            sets[np.arange(len(truth)), truth],
            f"share of sets that hold the truth, nominal {NOMINAL:g}",
        ),
        ("promised_set_size", sets.sum(axis=1), f"labels in a set of nominal coverage {NOMINAL:g}"),
        ("promised_answered", answered, f"share answered by a rule that shall answer {ANSWERED:g}"),
    ):
        value, interval = bootstrap_mean(values.astype(float), subjects, seed)
        metrics.append(_describe(name, value, interval, len(truth), f"{method}; {told}", where))
    owners = np.unique(subjects, return_inverse=True)[1]
    pairs = np.stack([np.bincount(owners, weights=right), np.bincount(owners, weights=answered)], axis=1)
    span = bootstrap_interval(pairs, _share, seed)
    method = f"accuracy of what is answered by a rule that shall answer the surest {ANSWERED:g}; {told}"
    metrics.append(_describe("promised_accuracy", float(_share(pairs.sum(axis=0))), span, len(truth), method, where))
    return metrics


def _describe(name: str, value: float, interval: list[float], n: int, method: str, where: dict[str, Any]) -> Metric:
    return Metric(name=name, value=value, interval=interval, n=n, unit="trials", method=method, **where)


def _share(pairs: np.ndarray) -> np.ndarray:
    return np.asarray(pairs[..., 0] / np.maximum(pairs[..., 1], 1e-12))
