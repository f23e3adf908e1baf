"""Segments: windows cut into equal parts, each a trial of its own in which nothing of the others is left."""

from dataclasses import replace
from typing import Any

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.types import Recording


def measure_seconds(recording: Recording) -> float | None:
    """Return how long the trials of a recording are, s; None where no array is there."""
    if recording.signal_uv is not None and recording.sfreq_hz:
        return recording.signal_uv.shape[-1] / recording.sfreq_hz
    features = next((array for array in (recording.de, recording.psd) if array is not None), None)
    return None if features is None else float(features.shape[2])


def cut_segments(recording: Recording, segment_s: int) -> Recording:
    """Cut every trial of a recording into segments that take its place, in order.

    All arrays are cut before anything is computed from them, so band power of a segment of waveforms ends where the
    segment ends. Released features were filtered over their whole trial: there a filter's length, about a second and a
    half, reaches over each cut.

    Parameters
    ----------
    recording : Recording
    segment_s : int
        Length of a segment, s.

    Returns
    -------
    Recording
        The very recording if its trials are as long as a segment. Else n_trials x n_parts trials with ``starts_s``;
        clip, emotion, rank and ratings are those of the trial.

    Raises
    ------
    InputError
        If trials are no whole number of segments.
    """
    found = measure_seconds(recording)
    if found is None or round(found, 3) == segment_s:
        return recording
    parts = int(found // segment_s)
    if parts < 1 or round(found, 3) != parts * segment_s:
        raise InputError(
            f"{recording.subject}: trials are {found:g} s long; accepted: {segment_s} s or a multiple of it "
            "(codec.seconds)"
        )
    starts = tuple(float(part * segment_s) for _ in range(len(recording)) for part in range(parts))
    return replace(
        recording,
        clips=_repeat(recording.clips, parts),
        emotions=_repeat(recording.emotions, parts),
        ranks=_repeat(recording.ranks, parts),
        facial=_repeat(recording.facial, parts),
        ratings=None if recording.ratings is None else np.repeat(recording.ratings, parts, axis=0),
        signal_uv=_cut_array(recording.signal_uv, parts, 2),
        de=_cut_array(recording.de, parts, 2),
        psd=_cut_array(recording.psd, parts, 2),
        starts_s=starts,
    )


def rank_segments(recording: Recording) -> np.ndarray:
    """Return the order in which segments were shown, shape (n_trials,), int16, 1-based; 0 where it is unknown.

    Whole trials have the order of their ranks, though not their numbers.
    """
    ranks = np.array([rank or 0 for rank in recording.ranks or [0] * len(recording)])
    starts = np.array(recording.starts_s or [0.0] * len(recording))
    order = sorted({pair for pair in zip(ranks.tolist(), starts.tolist(), strict=True) if pair[0] > 0})
    places = {pair: place for place, pair in enumerate(order, start=1)}
    found = [places.get(pair, 0) for pair in zip(ranks.tolist(), starts.tolist(), strict=True)]
    return np.array(found, dtype=np.int16)


def _repeat(values: tuple[Any, ...], parts: int) -> tuple[Any, ...]:
    return tuple(value for value in values for _ in range(parts))


def _cut_array(array: np.ndarray | None, parts: int, axis: int) -> np.ndarray | None:
    """Return the parts of a time axis as further trials, shape (n_trials x parts, ...)."""
    if array is None:
        return None
    pieces = np.stack(np.split(array, parts, axis=axis), axis=1)
    return pieces.reshape(-1, *pieces.shape[2:])
