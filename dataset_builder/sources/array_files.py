"""NumPy arrays as recordings; nothing in them is executed."""

import json
from collections.abc import Sequence
from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError

#: Most numbers that are loaded: 2 GiB as float64.
_MAX_VALUES = 2**28


def open_array(path: Path, name: str, sfreq_hz: float | None, channels: Sequence[str]) -> mne.io.BaseRaw:
    """Open an array of shape (n_channels, n_times) in µV.

    Parameters
    ----------
    path : Path
    name : str
        How messages call the file.
    sfreq_hz : float or None
    channels : sequence of str
        Both are read from a JSON file of the same name where they are not given.

    Returns
    -------
    mne.io.BaseRaw

    Raises
    ------
    InputError
        If the file is no such array, or nothing states its channels or sampling frequency.
    """
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises what Python's parser does: TokenError, SyntaxError ...
        raise InputError(f"{name}: cannot be read as a NumPy array ({type(error).__name__})") from None
    sfreq_hz, channels = _describe_array(path, name, sfreq_hz, tuple(channels))
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[0] != len(channels):
        found = f"{array.dtype} array of shape {array.shape}"
        raise InputError(f"{name}: {found}, expected numbers of shape ({len(channels)} channels, n_times) in µV")
    if array.size > _MAX_VALUES:
        raise InputError(f"{name}: {array.size} values are too much to load, at most {_MAX_VALUES}; divide the file")
    info = mne.create_info(list(channels), sfreq_hz, "eeg", verbose="ERROR")
    return mne.io.RawArray(np.asarray(array, dtype=np.float64) * 1e-6, info, verbose="ERROR")


def _describe_array(
    path: Path, name: str, sfreq_hz: float | None, channels: tuple[str, ...]
) -> tuple[float, tuple[str, ...]]:
    """Return sampling frequency and channels, as given or from the JSON file beside the array."""
    if (sidecar := path.with_suffix(".json")).is_file() and not (sfreq_hz and channels):
        try:
            told = json.loads(sidecar.read_text(encoding="utf-8"))
            sfreq_hz, channels = sfreq_hz or float(told["sfreq_hz"]), channels or tuple(map(str, told["channels"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            found = f"the JSON file beside it cannot be used ({type(error).__name__})"
            raise InputError(f"{name}: {found}; expected sfreq_hz and channels") from None
    if not sfreq_hz or not channels:
        raise InputError(f"{name}: sfreq_hz and channels of an array must stand in the table or a JSON file beside it")
    if len(set(channels)) < len(channels):
        raise InputError(f"{name}: channels name one place twice")
    return sfreq_hz, channels
