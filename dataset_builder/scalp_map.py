"""Maps of a scalp from a few places: where channels lie in a flat head, and what lies between them."""

from __future__ import annotations  # MNE loads a part of itself for every class that an annotation evaluates

from collections.abc import Sequence

import mne
import numpy as np
from numpy.polynomial.legendre import legval

#: Smoothness of the splines and their regularisation. Order 4, with which bad channels are repaired, would smooth the
#: values away or swing far beyond them; with 2 a map misses its channels' values by 0.2 % and stays near their range.
_ORDER, _RIDGE = 2, 1e-5

#: Legendre terms; more change no pixel.
_N_TERMS = 30


def locate_channels(channels: Sequence[str]) -> tuple[list[int], np.ndarray]:
    """Find channels on the head.

    Parameters
    ----------
    channels : sequence of str
        10-10 or 10-05 names.

    Returns
    -------
    rows : list of int
        Of the channels that have a standard position.
    places : ndarray of shape (len(rows), 3)
        Unit vectors from the head's centre in MNE's head coordinates: right, front, up.
    """
    montage = _load_montage()
    rows = [row for row, name in enumerate(channels) if name in montage.ch_names]
    if not rows:
        return rows, np.empty((0, 3))
    info = mne.create_info([channels[row] for row in rows], sfreq=1.0, ch_types="eeg")
    info.set_montage(montage)
    places = np.array([channel["loc"][:3] for channel in info["chs"]])
    return rows, places / np.linalg.norm(places, axis=1, keepdims=True)


def flatten_places(places: np.ndarray) -> np.ndarray:
    """Project places onto a disc, seen from above, nose up, distances from the crown kept.

    Parameters
    ----------
    places : ndarray of shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray of shape (n, 2)
        In units of the distance from the crown to the head's equator, as MNE draws its head.
    """
    distance = np.arccos(np.clip(places[:, 2], -1, 1)) / (np.pi / 2)
    azimuth = np.arctan2(places[:, 1], places[:, 0])
    return np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth)], axis=1)


def make_grid(reach: float, n_pixels: int) -> np.ndarray:
    """Return the places that a square picture of the disc shows, the inverse of `flatten_places`.

    Parameters
    ----------
    reach : float
        Half the width of the square; at most 1.4, where its corners would meet below the head.
    n_pixels : int
        Along one side.

    Returns
    -------
    ndarray of shape (n_pixels ** 2, 3)
        Unit vectors, rows from back to front, each from left to right.
    """
    steps = reach * (2 * (np.arange(n_pixels) + 0.5) / n_pixels - 1)
    right, front = np.meshgrid(steps, steps)
    polar, azimuth = np.hypot(right, front).ravel() * np.pi / 2, np.arctan2(front, right).ravel()
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def make_interpolator(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the matrix that takes values at some places to values at others, by spherical splines.

    Perrin F, Pernier J, Bertrand O, Echallier JF (1989), Spherical splines for scalp potential and current density
    mapping, Electroencephalogr Clin Neurophysiol 72:184-187: ``value(x) = c0 + sum_i c_i g(cos(x, x_i))`` with
    ``sum_i c_i = 0``, here with a small ridge on ``g``.

    Parameters
    ----------
    places : ndarray of shape (n_places, 3)
    wanted : ndarray of shape (n_wanted, 3)

    Returns
    -------
    ndarray of shape (n_wanted, n_places)
        Rows sum to 1.
    """
    n_places = len(places)
    system = np.ones((n_places + 1, n_places + 1))
    system[:-1, :-1] = _bend(places @ places.T) + _RIDGE * np.eye(n_places)
    system[-1, -1] = 0.0
    solved = np.linalg.solve(system, np.eye(n_places + 1)[:, :n_places])
    return _bend(wanted @ places.T) @ solved[:-1] + solved[-1]


def _bend(cosine: np.ndarray) -> np.ndarray:
    """Return ``g``, the bending of a spline at some angle from its centre."""
    terms = np.arange(1, _N_TERMS + 1)
    factors = (2 * terms + 1) / (terms * (terms + 1.0)) ** _ORDER / (4 * np.pi)
    return np.asarray(legval(cosine, [0.0, *factors]))


def _load_montage() -> mne.channels.DigMontage:
    """Return 10-05 positions; MNE renamed the montage in 1.13."""
    name = "colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005"
    return mne.channels.make_standard_montage(name)
