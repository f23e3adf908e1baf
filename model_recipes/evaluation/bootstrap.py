"""Intervals over people: trials of one person are not independent, so whole subjects are drawn (Efron 1979)."""

from collections.abc import Callable, Sequence

import numpy as np

from dataset_builder.seeds import make_rng

#: Repetitions of the bootstrap.
N_BOOTSTRAPS = 2000


def bootstrap_interval(
    counts: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], seed: int, n_bootstraps: int = N_BOOTSTRAPS
) -> list[float]:
    """Return the 95 % percentile interval of a measure over resampled subjects (Efron 1979, Ann Stat 7:1).

    Trials of one person are not independent, so whole subjects are drawn.

    Parameters
    ----------
    counts : ndarray of shape (n_subjects, n, n)
    measure : callable
        One of `MEASURES`.
    seed : int
    n_bootstraps : int
    """
    return _interval(measure(np.tensordot(draw_subjects(len(counts), seed, n_bootstraps), counts, axes=1)))


def bootstrap_difference(
    counts: np.ndarray, others: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[float, list[float]]:
    """Return by how much one reader's measure is above another's on the same trials, with its 95 % interval.

    The same people are drawn for both, so what is common to them cancels out.

    Parameters
    ----------
    counts, others : ndarray of shape (n_subjects, n, n)
        Of the reader and of the one it is compared with; the same subjects in the same order.
    measure : callable
        One of `MEASURES`.
    seed : int
    """
    weights = draw_subjects(len(counts), seed)
    drawn = measure(np.tensordot(weights, counts, axes=1)) - measure(np.tensordot(weights, others, axes=1))
    return float(measure(counts.sum(axis=0)) - measure(others.sum(axis=0))), _interval(drawn)


def bootstrap_mean(values: np.ndarray, subjects: Sequence[str], seed: int) -> tuple[float, list[float]]:
    """Return the mean of one value per trial with its 95 % interval over subjects.

    Parameters
    ----------
    values : ndarray of shape (n_trials,)
    subjects : sequence of str
    seed : int
    """
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    sums = np.stack([np.bincount(owners, weights=values), np.bincount(owners).astype(float)], axis=1)
    drawn = draw_subjects(len(names), seed) @ sums
    return float(np.mean(values)), _interval(drawn[:, 0] / drawn[:, 1])


def draw_subjects(n_subjects: int, seed: int, n_bootstraps: int = N_BOOTSTRAPS) -> np.ndarray:
    """Return how often each subject is drawn in each repetition, shape (n_bootstraps, n_subjects)."""
    rng = make_rng(seed, "bootstrap")
    return rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=n_bootstraps)


def _interval(values: np.ndarray) -> list[float]:
    """Return the 2.5 and 97.5 % quantiles of bootstrapped values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]
