"""Ridge regression on class membership in its dual form, with scores of rows that were left out, and what odds mean."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

#: Between "nothing can be told" and "the best score is always right".
_SHARPNESS = (0.1, 200.0)


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression.

    Parameters
    ----------
    weight : ndarray of shape (n_columns, n_classes), float32
    bias : ndarray of shape (n_classes,), float32
        Share of each class in the training rows.
    held_out : ndarray of shape (n_rows, n_classes), float32
        Scores of the training rows, each from a fit without the row's group.
    """

    weight: np.ndarray
    bias: np.ndarray
    held_out: np.ndarray


def fit_ridge(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, alpha: float) -> Ridge:
    """Regress class membership (0 or 1) on the columns.

    There are far more columns than rows, so the linear system has the size of the rows (Saunders et al. 1998, ICML).
    Scores of left-out groups follow from the one fit: with ``G = (K + a I)^-1`` the residual of group g is
    ``G_gg^-1 (G y)_g``, the block form of the leave-one-out identity (Pahikkala et al. 2006, "Fast n-fold
    cross-validation for regularized least-squares"). The bias stays that of all rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns), float32
        Centred.
    labels : ndarray of shape (n_rows,), int
        0 to n_classes - 1.
    groups : ndarray of shape (n_rows,), int
        What is left out together, for example a person.
    alpha : float
        Penalty, in units of the kernel's mean diagonal.
    """
    classes = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    bias = classes.mean(axis=0)
    kernel = rows @ rows.T
    kernel.flat[:: len(rows) + 1] += max(alpha * np.trace(kernel, dtype=np.float64) / len(rows), 1e-6)
    inverse = cho_solve(cho_factor(kernel, lower=True, overwrite_a=True), np.eye(len(rows), dtype=np.float32))
    dual = inverse @ (classes - bias)
    held_out = np.empty_like(dual)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        held_out[own] = classes[own] - np.linalg.solve(inverse[np.ix_(own, own)], dual[own])
    return Ridge(rows.T @ dual, bias, held_out)


def fit_sharpness(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor with which the softmax of scores is best calibrated: least negative log-likelihood.

    Scores of rows that the fit saw would make it far too large (Guo et al. 2017, ICML, "On calibration of modern neural
    networks").

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Of rows that were left out of the fit.
    labels : ndarray of shape (n_rows,), int
    """
    rows = np.arange(len(labels))
    scores = scores.astype(np.float64)
    found = minimize_scalar(
        lambda factor: -log_softmax(factor * scores)[rows, labels].mean(), bounds=_SHARPNESS, method="bounded"
    )
    return float(found.x)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return log probabilities over the last axis."""
    return np.asarray(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))


def sum_odds(log_probabilities: np.ndarray, owners: np.ndarray, n_owners: int, limit: float) -> np.ndarray:
    """Return the log odds of owners of classes: ``ln p - ln(1 - p)``, with p the sum over the classes of an owner.

    Parameters
    ----------
    log_probabilities : ndarray of shape (n_rows, n_classes)
    owners : ndarray of shape (n_classes,), int
    n_owners : int
    limit : float
        Largest absolute value: an owner of no class or of all has no finite odds.

    Returns
    -------
    ndarray of shape (n_rows, n_owners)
    """
    empty = np.full((len(log_probabilities), 1), -np.inf)
    odds = np.empty((len(log_probabilities), n_owners))
    for owner in range(n_owners):
        own, other = (
            np.logaddexp.reduce(np.concatenate([empty, log_probabilities[:, chosen]], axis=1), axis=1)
            for chosen in (owners == owner, owners != owner)
        )
        odds[:, owner] = np.clip(own - other, -limit, limit)
    return odds
