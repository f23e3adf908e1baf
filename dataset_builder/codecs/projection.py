"""Principal components that training subjects share, and the scores of data in which channels are missing."""

from dataclasses import dataclass

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.types import SCALP_CHANNELS

#: Scores from fewer channels would be mostly the training subjects' average.
MIN_CHANNELS = 15


@dataclass(frozen=True)
class Projection:
    """A fitted basis.

    Parameters
    ----------
    basis : ndarray of shape (n_components, n_features)
        Orthonormal rows, in falling order of variance; the largest loading of each is positive.
    variance : ndarray of shape (n_components,)
        Variance of each score over the training data.
    residual : float
        Mean variance per feature that the basis leaves.
    """

    basis: np.ndarray
    variance: np.ndarray
    residual: float

    def project(self, values: np.ndarray) -> np.ndarray:
        """Return scores of shape (..., n_components).

        With all features there is nothing to estimate. Where some are NaN, in every row the same ones, the scores are
        their expectation under probabilistic PCA given the others (Tipping and Bishop 1999, J R Stat Soc B 61:611).

        Parameters
        ----------
        values : ndarray of shape (..., n_features), centred
        """
        known = ~np.isnan(values).reshape(-1, values.shape[-1]).any(axis=0)
        if known.all():
            return np.asarray(values @ self.basis.T)
        part, noise = self.basis[:, known].astype(np.float64), max(float(self.residual), 1e-9)
        precision = part @ part.T / noise + np.diag(1 / np.maximum(self.variance, 1e-9))
        return np.asarray(values[..., known] @ np.linalg.solve(precision, part / noise).T)


def fit_projection(covariance: np.ndarray, n_components: int) -> Projection:
    """Return the leading principal components of a covariance matrix; signs do not depend on the library."""
    variance, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    basis, variance = vectors.T[::-1], np.maximum(variance[::-1], 0)
    signs = np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)])
    left = variance[n_components:].sum() / len(variance)
    kept = slice(0, n_components)
    return Projection((basis * signs[:, None])[kept].astype(np.float32), variance[kept].astype(np.float32), float(left))


def check_channels(codec: str, present: int) -> None:
    """Refuse a recording with too few scalp channels.

    Raises
    ------
    InputError
    """
    if present < MIN_CHANNELS:
        raise InputError(
            f"codec {codec}: {present} of {len(SCALP_CHANNELS)} scalp channels are in the recording, at least "
            f"{MIN_CHANNELS} are needed; codec band_power with space regions reads fewer"
        )
