"""Views of band power over a trial: the columns that a supervised code reads, one row a trial."""

from typing import Literal

import numpy as np
from scipy.fft import dct

#: What the classes of a supervised code are: whole clips, segments of clips, emotions.
TargetKind = Literal["clip", "segment", "emotion"]

#: Nats added to a trial's spread over time before dividing by it, so that a flat channel is not blown up.
_FLAT = 0.1

#: Weight of slope and spread over time beside the mean, where the code is to hold for new films.
_MINOR = 0.7


def make_views(power: np.ndarray, target: TargetKind) -> np.ndarray:
    """Lay out what the reader of a target sees.

    A film is recognised by its course: the level of every second, the same without the trial's mean, and that in units
    of the trial's spread over time. A segment of a film is short: the level of every second reads as well alone and
    leaves a third of the columns. A feeling has no course that several films share: the mean, the slope (first cosine
    component) and the spread over time are all.

    Parameters
    ----------
    power : ndarray of shape (n_trials, n_seconds, 30, 5), nats
        NaN where a channel is missing.
    target : {"clip", "segment", "emotion"}

    Returns
    -------
    ndarray of shape (n_trials, 1, n_columns), float32
        3 x 150 x n_seconds columns for clips, 150 x n_seconds for segments, 3 x 150 for emotions; the axis of length 1
        is that of the windows which `dataset_builder.codecs.normalize.scale_to_person` expects.
    """
    course = power - power.mean(axis=1, keepdims=True)
    spread = power.std(axis=1, keepdims=True)
    if target == "clip":
        views = [power, course, course / (spread + _FLAT)]
    elif target == "segment":
        views = [power]
    else:
        views = [power.mean(axis=1), dct(power, axis=1, norm="ortho")[:, 1] / np.sqrt(power.shape[1]), spread[:, 0]]
    columns = np.concatenate([view.reshape(len(power), -1) for view in views], axis=1)
    return columns[:, None].astype(np.float32)


def weigh_columns(n_columns: int, target: TargetKind) -> np.ndarray:
    """Return the weight of each column after standardising, shape (n_columns,), float32."""
    weights = np.ones((3, n_columns // 3), dtype=np.float32)
    if target == "emotion":
        weights[1:] = _MINOR
    return weights.ravel()
