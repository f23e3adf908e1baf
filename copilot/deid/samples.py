"""Samples: copied in pieces, and compared before and after through an independent reader."""

from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError, StageError
from dataset_builder.sources.recording_files import open_recording, quietly

_CHUNK_BYTES = 2**22

#: Numbers that are compared at once.
_CHUNK_VALUES = 2**22


def copy_bytes(source: Path, target: Path, n_bytes: int) -> None:
    """Copy the first `n_bytes` of a file; what may stand behind the samples is no sample."""
    with source.open("rb") as read, target.open("wb") as written:
        while n_bytes > 0 and (data := read.read(min(_CHUNK_BYTES, n_bytes))):
            written.write(data)
            n_bytes -= len(data)


def compare_signals(before: Path, after: Path) -> bool:
    """Tell whether MNE reads the same samples from two files.

    Parameters
    ----------
    before, after : Path

    Returns
    -------
    bool
        True if every sample of every channel is equal; False if MNE cannot read the first, so that nothing was
        compared.

    Raises
    ------
    StageError
        If the second cannot be read or any sample differs.
    """
    try:
        first, _ = open_recording(before, "recording")
    except InputError:
        return False
    try:
        second, _ = open_recording(after, "recording")
    except InputError as error:
        raise StageError(f"de-identified {error}") from None
    if (len(first.ch_names), first.n_times, first.info["sfreq"]) != (
        len(second.ch_names),
        second.n_times,
        second.info["sfreq"],
    ):
        raise StageError("de-identified recording: differs in channels, rate or length from its source")
    step = max(1, _CHUNK_VALUES // max(1, len(first.ch_names)))
    for start in range(0, first.n_times, step):
        stop = min(start + step, first.n_times)
        if not np.array_equal(_read(first, start, stop), _read(second, start, stop), equal_nan=True):
            raise StageError("de-identified recording: samples differ from those of its source")
    return True


def _read(raw: mne.io.BaseRaw, start: int, stop: int) -> np.ndarray:
    try:
        return np.asarray(quietly(raw.get_data, start=start, stop=stop))
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"recording: its samples cannot be read ({type(error).__name__})") from None
