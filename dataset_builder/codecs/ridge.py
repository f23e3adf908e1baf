"""Ridge regression on class membership with scores of rows that were left out, and what odds mean."""

from collections.abc import Sequence
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


def fit_ridge(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, alpha: float, costs: np.ndarray | None = None
) -> Ridge:
    """Regress class membership (0 or 1) on the columns.

    The linear system has the size of the rows or of the columns, whichever are fewer; the result is the same (Saunders
    et al. 1998, ICML). Scores of left-out groups follow from the one fit: with the hat matrix H the residual of group g
    is ``(I - H_gg)^-1 (y - H y)_g``, the block form of the leave-one-out identity (Pahikkala et al. 2006, "Fast n-fold
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
    costs : ndarray of shape (n_columns, n_columns), float32, optional
        Positive semidefinite; what weights cost besides, the trace of ``weight.T @ costs @ weight``.
    """
    classes = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    bias = classes.mean(axis=0)
    penalty = np.float32(max(alpha * np.vdot(rows, rows) / len(rows), 1e-6))
    if costs is None and rows.shape[1] >= len(rows):
        weight, residual = _solve_by_rows(rows, classes - bias, groups, penalty)
    else:
        weight, residual = _solve_by_columns(rows, classes - bias, groups, penalty, costs)
    return Ridge(weight, bias, classes - residual)


def score_left_out(
    rows: np.ndarray, labels: np.ndarray, parts: Sequence[tuple[np.ndarray, np.ndarray]], alpha: float
) -> np.ndarray:
    """Return scores of rows from fits that are told which rows they may see.

    Where people and films are to be left out at once, the rows that are scored are fewer than those that are left out,
    and no identity saves the fits.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns), float32
        Centred.
    labels : ndarray of shape (n_rows,), int
    parts : sequence of (ndarray, ndarray)
        Positions that are learned from, and positions that are scored.
    alpha : float
        As for `fit_ridge`.

    Returns
    -------
    ndarray of shape (n_rows, n_classes), float32
        NaN for rows that no part scores.
    """
    classes = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    bias, kernel = classes.mean(axis=0), rows @ rows.T
    penalty = np.float32(max(alpha * np.trace(kernel, dtype=np.float64) / len(rows), 1e-6))
    scores = np.full_like(classes, np.nan)
    for seen, asked in parts:
        system = kernel[np.ix_(seen, seen)] + penalty * np.eye(len(seen), dtype=np.float32)
        dual = cho_solve(cho_factor(system, lower=True, overwrite_a=True), classes[seen] - bias)
        scores[asked] = kernel[np.ix_(asked, seen)] @ dual + bias
    return scores


def _solve_by_rows(
    rows: np.ndarray, classes: np.ndarray, groups: np.ndarray, penalty: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, and the residuals of left-out groups."""
    kernel = rows @ rows.T
    kernel.flat[:: len(rows) + 1] += penalty
    inverse = cho_solve(cho_factor(kernel, lower=True, overwrite_a=True), np.eye(len(rows), dtype=np.float32))
    dual = inverse @ classes
    residual = np.empty_like(dual)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        residual[own] = np.linalg.solve(inverse[np.ix_(own, own)], dual[own])
    return rows.T @ dual, residual


def _solve_by_columns(
    rows: np.ndarray, classes: np.ndarray, groups: np.ndarray, penalty: np.float32, costs: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same with less work where there are more rows than columns, or columns have costs."""
    system = rows.T @ rows
    if costs is not None:
        system += costs
    system.flat[:: rows.shape[1] + 1] += penalty
    factor = cho_factor(system, lower=True, overwrite_a=True)
    weight = cho_solve(factor, rows.T @ classes)
    residual = classes - rows @ weight
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        kept = np.eye(len(own), dtype=np.float32) - rows[own] @ cho_solve(factor, rows[own].T)
        residual[own] = np.linalg.solve(kept, residual[own])
    return weight, residual


def fit_sharpness(scores: np.ndarray, labels: np.ndarray, owners: np.ndarray | None = None) -> float:
    """Return the factor with which the softmax of scores is best calibrated: least negative log-likelihood.

    Scores of rows that the fit saw would make it far too large (Guo et al. 2017, ICML, "On calibration of modern neural
    networks"). What is to be calibrated is the probability that is told: of an owner, where classes have owners. On
    left-out FACED people the factor that suits 84 segments of clips leaves their emotions' odds too modest.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Of rows that were left out of the fit.
    labels : ndarray of shape (n_rows,), int
        Class of each row.
    owners : ndarray of shape (n_classes,), int, optional
        Whose each class is; every class is its own if not given.
    """
    owners = np.arange(scores.shape[1]) if owners is None else owners
    # Classes of other owners count in the sum over all classes only.
    others = np.where(owners[labels][:, None] == owners, 0.0, -np.inf)
    scores = scores.astype(np.float64)

    def lose(factor: float) -> float:
        return -float(np.logaddexp.reduce(log_softmax(factor * scores) + others, axis=1).mean())

    return float(minimize_scalar(lose, bounds=_SHARPNESS, method="bounded").x)


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
