"""Whether probabilities mean what they say: calibration error, prediction sets and when to say nothing.

All is measured on the people who are evaluated; what has to be set on somebody (a threshold) is set on half of them and
measured on the other half, in both directions and for many divisions. `model_recipes.evaluation.conformal` sets it on
training people instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset_builder.manifest import Metric
from dataset_builder.seeds import make_rng
from model_recipes.evaluation.bootstrap import bootstrap_interval, bootstrap_mean

#: Bins of the calibration error, and how many trials a bin should hold at least.
N_BINS, _PER_BIN = 15, 20

#: Share of prediction sets that shall hold the truth.
NOMINAL = 0.9

#: Share of trials that shall be answered by a reader that may abstain.
ANSWERED = 0.8

#: Divisions of the people into two halves.
_N_DIVISIONS = 50

#: By how much of themselves probabilities are raised at random, so that none are equal.
TIE_BREAK = 1e-6

#: Draws of the answers of a reader whose probabilities are exact.
_N_DRAWS = 200


@dataclass(frozen=True)
class Bins:
    """Trials grouped by how sure the reader was.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Of the highest probability.
    counts : ndarray of shape (n_subjects, n_bins, 3)
        Trials, sum of the highest probabilities and right answers, per subject and bin.
    adaptive : bool
        True when the edges are quantiles, because there are few trials.
    """

    edges: np.ndarray
    counts: np.ndarray
    adaptive: bool

    @property
    def n_bins(self) -> int:
        """How many bins there are."""
        return self.counts.shape[1]


def bin_trials(scores: np.ndarray, truth: np.ndarray, subjects: Sequence[str], *, equal_counts: bool = False) -> Bins:
    """Group trials by the probability of the answer.

    Parameters
    ----------
    scores : ndarray of shape (n_trials, n_labels)
        Probabilities.
    truth : ndarray of shape (n_trials,), int
    subjects : sequence of str
    equal_counts : bool
        Whether bins hold equally many trials instead of having equal width.

    Returns
    -------
    Bins
        Fifteen; with fewer than 20 trials for each, quantiles with at least 20 trials in each bin.
    """
    sure, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    adaptive = equal_counts or len(sure) < N_BINS * _PER_BIN
    if adaptive:
        n_bins = min(N_BINS, max(1, len(sure) // _PER_BIN))
        edges = np.unique(np.quantile(sure, np.linspace(0, 1, n_bins + 1)))
        edges = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1e-9])
    else:
        edges = np.linspace(0, 1, N_BINS + 1)
    places = np.clip(np.searchsorted(edges, sure, side="right") - 1, 0, len(edges) - 2)
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    counts = np.zeros((len(names), len(edges) - 1, 3))
    np.add.at(counts, (owners, places), np.stack([np.ones_like(sure), sure, right], axis=1))
    return Bins(edges, counts, adaptive)


def calibration_error(counts: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of binned counts of shape (..., n_bins, 3), see `Bins`.

    The mean over trials of the distance between how sure the reader was and how often it was right, bin by bin (Guo et
    al. 2017, ICML).
    """
    return np.abs(counts[..., 1] - counts[..., 2]).sum(axis=-1) / counts[..., 0].sum(axis=-1)


def expect_error(scores: np.ndarray, bins: Bins, seed: int) -> float:
    """Return the calibration error that a reader with these probabilities would show if every one of them were exact.

    A distance is never below zero, so with few trials even perfect probabilities miss by some hundredths: the mean over
    answers drawn with the very probabilities that were stated.
    """
    sure = scores.max(axis=1)
    places = np.clip(np.searchsorted(bins.edges, sure, side="right") - 1, 0, bins.n_bins - 1)
    drawn = make_rng(seed, "calibration").random((_N_DRAWS, len(sure))) < sure
    gaps = np.stack([(drawn - sure)[:, places == place].sum(axis=1) for place in range(bins.n_bins)])
    return float(np.abs(gaps).sum(axis=0).mean() / len(sure))


def measure_calibration(
    scores: np.ndarray, truth: np.ndarray, subjects: Sequence[str], *, seed: int, **where: Any
) -> list[Metric]:
    """Measure calibration error, prediction sets and abstaining of one reader.

    Parameters
    ----------
    scores : ndarray of shape (n_trials, n_labels)
    truth : ndarray of shape (n_trials,), int
    subjects : sequence of str
    seed : int
    **where : str
        ``split``, ``protocol`` and ``reader`` of each metric.

    Returns
    -------
    list of Metric
        ``calibration_error``, ``calibration_error_adaptive`` (bins of equal counts), ``calibration_error_expected``
        (what exact probabilities would show); with four or more subjects ``conformal_coverage``,
        ``conformal_set_size``, ``abstaining_answered`` and ``abstaining_accuracy`` as well. Coverage is promised where
        people are exchangeable: drawn from one population, not a new clinic or device after another.
    """
    bins, even = bin_trials(scores, truth, subjects), bin_trials(scores, truth, subjects, equal_counts=True)
    expected = Metric(
        name="calibration_error_expected",
        value=expect_error(scores, bins, seed),
        n=len(truth),
        unit="trials",
        method=f"calibration error of a reader whose probabilities are exact, same bins; mean of {_N_DRAWS} draws",
        **where,
    )
    errors = [
        _describe_error("calibration_error", bins, "equal counts" if bins.adaptive else "equal width", seed, where),
        _describe_error("calibration_error_adaptive", even, "equal counts", seed, where),
        expected,
    ]
    return errors + _measure_thresholds(scores, truth, subjects, seed, where)


def find_threshold(scores: np.ndarray, truth: np.ndarray, nominal: float = NOMINAL) -> float:
    """Return the probability from which a label belongs to the prediction set.

    Split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019, JASA 114:223): the probability of the true label,
    taken as its quantile over calibration trials with the correction for a finite number.

    Parameters
    ----------
    scores : ndarray of shape (n_trials, n_labels)
    truth : ndarray of shape (n_trials,), int
    nominal : float
        Share of sets that shall hold the truth.

    Returns
    -------
    float
        Zero, which takes all labels in, where there are too few trials for the promise.
    """
    mine = np.sort(scores[np.arange(len(truth)), truth])
    left_out = int(np.floor((len(mine) + 1) * (1 - nominal) + 1e-9))
    return float(mine[left_out - 1]) if left_out else 0.0


def trace_abstaining(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return share answered and accuracy among the answered, the surest trials first, each of shape (n_trials,)."""
    order = np.argsort(-scores.max(axis=1), kind="stable")
    right = (scores.argmax(axis=1) == truth)[order]
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(right) / answered


def _describe_error(name: str, bins: Bins, how: str, seed: int, where: dict[str, Any]) -> Metric:
    return Metric(
        name=name,
        value=float(calibration_error(bins.counts.sum(axis=0))),
        n=int(bins.counts[..., 0].sum()),
        unit="trials",
        interval=bootstrap_interval(bins.counts, calibration_error, seed),
        method=f"expected calibration error, {bins.n_bins} bins of {how}; 95 % bootstrap over subjects, biased "
        "upwards for a distance",
        **where,
    )


def _measure_thresholds(
    scores: np.ndarray, truth: np.ndarray, subjects: Sequence[str], seed: int, where: dict[str, Any]
) -> list[Metric]:
    """Set thresholds on half of the people and measure on the others; a trial counts with its mean over divisions."""
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    if len(names) < 4:
        return []
    sums, sure, right = np.zeros((4, len(truth))), scores.max(axis=1), scores.argmax(axis=1) == truth
    rng = make_rng(seed, "conformal")
    # Probabilities that letters state are often equal, and all that equal the threshold would be taken in: more than
    # was promised. Differences too small to matter decide among them (Vovk et al. 2005, smoothed predictors).
    scores = scores * (1 + TIE_BREAK * rng.random(scores.shape))
    for _ in range(_N_DIVISIONS):
        first = np.isin(owners, rng.permutation(len(names))[: len(names) // 2])
        for half, other in ((first, ~first), (~first, first)):
            sets = scores[other] >= find_threshold(scores[half], truth[half])
            answered = sure[other] >= np.quantile(sure[half], 1 - ANSWERED)
            held = sets[np.arange(int(other.sum())), truth[other]]
            sums[:, other] += held, sets.sum(axis=1), answered, answered & right[other]
    means = sums / _N_DIVISIONS
    halves = (
        f"threshold set on half of {len(names)} subjects, measured on the others, {_N_DIVISIONS} divisions, both ways"
    )
    common: dict[str, Any] = {"n": len(truth), "unit": "trials", **where}
    named = (
        ("conformal_coverage", means[0], None, f"share of prediction sets that hold the truth, nominal {NOMINAL:g}"),
        ("conformal_set_size", means[1], None, f"labels in a prediction set of nominal coverage {NOMINAL:g}"),
        ("abstaining_answered", means[2], None, f"share answered by a rule that shall answer {ANSWERED:g}"),
    )
    metrics = []
    for name, values, chance, method in named:
        value, interval = bootstrap_mean(values, subjects, seed)
        found = Metric(name=name, value=value, interval=interval, chance=chance, method=f"{method}; {halves}", **common)
        metrics.append(found)
    pairs = np.stack([np.bincount(owners, weights=means[3]), np.bincount(owners, weights=means[2])], axis=1)
    metrics.append(
        Metric(
            name="abstaining_accuracy",
            value=float(_ratio(pairs.sum(axis=0))),
            interval=bootstrap_interval(pairs, _ratio, seed),
            method=f"accuracy of what is answered by a rule that shall answer the surest {ANSWERED:g}; {halves}",
            **common,
        )
    )
    return metrics


def _ratio(pairs: np.ndarray) -> np.ndarray:
    return pairs[..., 0] / np.maximum(pairs[..., 1], 1e-12)
