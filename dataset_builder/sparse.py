"""Sparse to dense: channels that a small headset lacks, reconstructed for codecs that were fitted on thirty.

Two ways. Spherical splines (Perrin et al. 1989, Electroencephalogr Clin Neurophysiol 72:184, through MNE) know where
electrodes are and nothing else. The learned way is a ridge regression of the missing channels' band power on that of
the present ones, for whichever channels are missing: all of these regressions follow from one covariance matrix, that
of the training subjects' seconds about each person's own mean.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load, save

from dataset_builder import bands
from dataset_builder.artifacts import interpolate_channels, make_info
from dataset_builder.codecs.base import Codec, Features
from dataset_builder.errors import InputError
from dataset_builder.sources.montage import MASTOIDS
from dataset_builder.types import BANDS, SCALP_CHANNELS, Recording

Method = Literal["spline", "learned"]

#: From fewer channels nothing is reconstructed.
MIN_PRESENT = 4

#: Penalty in units of the mean variance of a present channel's band power. Not sensitive: on FACED 0.001 to 0.1 follow
#: the missing channels equally well.
_PENALTY = 0.01

#: With fewer people a covariance matrix is theirs and not the population's.
_MIN_PEOPLE = 2

#: Before the names of its arrays among a codec's own.
_PREFIX = "reconstruction."

_N_VALUES = len(SCALP_CHANNELS) * len(BANDS)


@dataclass(frozen=True)
class Reconstruction:
    """A way to fill missing scalp channels.

    Parameters
    ----------
    method : {"spline", "learned"}
    state : dict of str to ndarray
        For ``learned``: ``mean`` of shape (30, 5), nats, over people, and ``covariance`` of shape (150, 150), nats²,
        within people, channels outer and bands inner, float32. Empty for ``spline``.
    """

    method: Method
    state: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def fill(self, recording: Recording) -> Recording:
        """Return a recording that has all 30 scalp channels, in the order of `SCALP_CHANNELS`.

        Splines are applied to the signal where there is one, so that everything computed from it follows, else to the
        band features; the learned way reads and returns band features alone.

        Parameters
        ----------
        recording : Recording

        Returns
        -------
        Recording
            The very recording if nothing is missing. Channels beyond the 30 are left out; a note tells what was done.

        Raises
        ------
        InputError
            If fewer than `MIN_PRESENT` channels are there.
        """
        missing = list_missing(recording.channels)
        if not missing:
            return recording
        notes = (*recording.notes, self.tell(recording.channels))
        whole: dict[str, Any] = {"channels": SCALP_CHANNELS, "notes": notes, "psd": None}
        if self.method == "spline" and recording.signal_uv is not None:
            matrix = make_spline_matrix(recording.channels)
            return replace(recording, **whole, signal_uv=(matrix @ recording.signal_uv).astype(np.float32), de=None)
        levels = np.stack([bands.trial_de(trial) for trial in recording])
        filled = self.fill_levels(levels.swapaxes(1, 2), recording.channels).swapaxes(1, 2)
        return replace(recording, **whole, signal_uv=None, sfreq_hz=None, de=filled)

    def fill_levels(self, levels: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Return log band power of all scalp channels.

        Parameters
        ----------
        levels : ndarray of shape (..., n_channels, 5), nats
        channels : sequence of str

        Returns
        -------
        ndarray of shape (..., 30, 5), float32, nats
            Measured channels as they were.

        Raises
        ------
        InputError
            See `fill`.
        """
        if self.method == "spline":
            return np.einsum("mc,...cb->...mb", make_spline_matrix(tuple(channels)), levels).astype(np.float32)
        places = [channels.index(name) for name in SCALP_CHANNELS if name in channels]
        present = [place for place, name in enumerate(SCALP_CHANNELS) if name in channels]
        _check_present(len(present))
        columns = _find_columns(present)
        mean = self.state["mean"].astype(np.float64).ravel()
        measured = levels[..., places, :].reshape(*levels.shape[:-2], -1)
        filled = mean + (measured - mean[columns]) @ self._weights(columns)
        filled[..., columns] = measured
        return filled.reshape(*levels.shape[:-2], len(SCALP_CHANNELS), len(BANDS)).astype(np.float32)

    def tell(self, channels: Sequence[str]) -> str:
        """Return the note that says how many channels are not measured."""
        how = "spherical splines" if self.method == "spline" else "a regression learned from the training subjects"
        return f"{len(list_missing(channels))} of {len(SCALP_CHANNELS)} scalp channels are reconstructed by {how}"

    def _weights(self, columns: np.ndarray) -> np.ndarray:
        """Return the ridge weights, shape (n_present values, 150)."""
        covariance = self.state["covariance"].astype(np.float64)
        known = covariance[np.ix_(columns, columns)]
        penalty = _PENALTY * float(np.diag(known).mean())
        return np.asarray(np.linalg.solve(known + penalty * np.eye(len(columns)), covariance[columns]))


def list_missing(channels: Sequence[str]) -> list[str]:
    """Return which of the 30 scalp channels are not among `channels`."""
    return [name for name in SCALP_CHANNELS if name not in channels]


def fit_reconstruction(people: Iterable[np.ndarray]) -> Reconstruction:
    """Learn from training subjects how channels go together.

    Parameters
    ----------
    people : iterable of ndarray of shape (n_trials, 30, n_seconds, 5), nats
        Differential entropy of each training subject, channels in the order of `SCALP_CHANNELS`; seconds in which one
        is NaN are left out. Nobody else's may be among them.

    Returns
    -------
    Reconstruction

    Raises
    ------
    InputError
        If fewer than two people are given, or channels are missing.
    """
    means, total, count = [], np.zeros((_N_VALUES, _N_VALUES)), 0
    for levels in people:
        if levels.ndim != 4 or (levels.shape[1], levels.shape[3]) != (len(SCALP_CHANNELS), len(BANDS)):
            raise InputError(f"reconstruction: learned from all {len(SCALP_CHANNELS)} scalp channels in 5 bands only")
        rows = levels.swapaxes(1, 2).reshape(-1, _N_VALUES).astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            continue  # a person who lacks a channel himself
        means.append(rows.mean(axis=0))
        total += (rows - means[-1]).T @ (rows - means[-1])
        count += len(rows) - 1
    if len(means) < _MIN_PEOPLE:
        raise InputError(f"reconstruction: {len(means)} training subjects; at least {_MIN_PEOPLE} are needed")
    state = {"mean": np.mean(means, axis=0).reshape(len(SCALP_CHANNELS), len(BANDS)), "covariance": total / count}
    return Reconstruction("learned", {name: array.astype(np.float32) for name, array in state.items()})


@lru_cache(maxsize=16)
def make_spline_matrix(channels: tuple[str, ...]) -> np.ndarray:
    """Return the matrix that makes 30 scalp channels of those that are there.

    Splines are linear in the data: interpolating unit vectors gives their matrix. Any channel with a standard place
    helps, mastoids aside, for no scalp lies between them and the rest.

    Parameters
    ----------
    channels : tuple of str
        10-10 names.

    Returns
    -------
    ndarray of shape (30, n_channels), float64
        Rows of measured channels are unit vectors.

    Raises
    ------
    InputError
        If fewer than `MIN_PRESENT` channels are there.
    """
    sources = [name for name in channels if name not in MASTOIDS]
    _check_present(len(sources))
    missing = list_missing(channels)
    units = np.concatenate([np.eye(len(sources)), np.zeros((len(missing), len(sources)))])
    bad = np.arange(len(units)) >= len(sources)
    filled = interpolate_channels(units, make_info([*sources, *missing], 250.0), bad)
    matrix = np.zeros((len(SCALP_CHANNELS), len(channels)))
    columns = [channels.index(name) for name in sources]
    for row, name in enumerate(SCALP_CHANNELS):
        matrix[row, columns] = filled[[*sources, *missing].index(name)]
    return matrix


def fill_before(codec: Codec, reconstruction: Reconstruction) -> Codec:
    """Return the codec that reconstructs missing channels before it reads a recording.

    What judges the signal still sees what was measured: only the code is made from the filled recording.

    Parameters
    ----------
    codec : Codec
        Fitted.
    reconstruction : Reconstruction

    Raises
    ------
    InputError
        If the codec reads something that the reconstruction cannot give.
    """
    if reconstruction.method == "learned" and codec.reads != "de":
        raise InputError(f"codec {codec.name}: reads {codec.reads}; the learned reconstruction gives de, use splines")
    of_type: Any = type(codec)

    class Filled(of_type):  # type: ignore[misc]
        """The same codec on filled recordings."""

        def extract(self, recording: Recording) -> Features:
            features: Features = super().extract(reconstruction.fill(recording))
            return features

    filled: Codec = Filled(codec.config, codec.state)
    return filled


def attach_reconstruction(codec: Codec, reconstruction: Reconstruction) -> Codec:
    """Return the codec with a learned reconstruction among its fitted arrays, so that it is saved with them."""
    arrays = {f"{_PREFIX}{name}": array for name, array in reconstruction.state.items()}
    return type(codec)(codec.config, codec.state | arrays)


def find_reconstruction(codec: Codec, method: Method) -> Reconstruction:
    """Return splines, or what `attach_reconstruction` gave to the codec.

    Raises
    ------
    InputError
        If the learned way is asked for and the codec does not carry it.
    """
    if method == "spline":
        return Reconstruction("spline")
    arrays = {n.removeprefix(_PREFIX): array for n, array in codec.state.items() if n.startswith(_PREFIX)}
    if not arrays:
        raise InputError(
            "reconstruction: the model's codec carries no learned one (corpus recipe: reconstruct: true); accepted: "
            "spline"
        )
    return Reconstruction("learned", arrays)


def dump_reconstruction(reconstruction: Reconstruction) -> bytes:
    """Return a reconstruction as safetensors bytes; equal ones give equal bytes."""
    state = {name: np.ascontiguousarray(array) for name, array in reconstruction.state.items()}
    return save(state, metadata={"reconstruction": json.dumps({"method": reconstruction.method, "format": 1})})


def restore_reconstruction(data: bytes) -> Reconstruction:
    """Rebuild a reconstruction from `dump_reconstruction` bytes.

    Raises
    ------
    InputError
        If the bytes are not such a file.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        told, state = json.loads(header["reconstruction"]), load(data)
        shapes = {name: array.shape for name, array in state.items()}
    except Exception as error:  # safetensors raises its own Rust-side classes
        raise InputError(f"reconstruction file: cannot be read ({type(error).__name__})") from None
    expected = {"mean": (len(SCALP_CHANNELS), len(BANDS)), "covariance": (_N_VALUES, _N_VALUES)}
    if (told.get("method"), shapes) not in (("spline", {}), ("learned", expected)):
        raise InputError("reconstruction file: is not one that this version wrote")
    return Reconstruction(told["method"], state)


def _check_present(count: int) -> None:
    if count < MIN_PRESENT:
        raise InputError(f"recording: {count} scalp channels; at least {MIN_PRESENT} are needed to reconstruct others")


def _find_columns(places: Sequence[int]) -> np.ndarray:
    """Return which of the 150 values belong to channels."""
    return (np.asarray(places)[:, None] * len(BANDS) + np.arange(len(BANDS))).ravel()
