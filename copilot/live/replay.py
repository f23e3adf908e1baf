"""A recording file played as a stream, for trials and tests."""

import time
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np

from copilot.live.lsl import load_layer
from dataset_builder.errors import InputError
from dataset_builder.sources.recording_files import open_recording, quietly, select_channels

#: Time between two chunks, seconds.
_CHUNK_S = 0.1

#: Until the last chunk has left, before the outlet goes, seconds.
_GOODBYE_S = 1.0

#: What other programs see unless told otherwise; never a file's name.
STREAM_NAME = "eeg-copilot-replay"


def open_replay(path: str | Path) -> mne.io.BaseRaw:
    """Open a recording for `play_recording`.

    Parameters
    ----------
    path : str or Path
        EDF, BDF, FIF, EEGLAB or BrainVision file.

    Raises
    ------
    InputError
        If it cannot be read or has too few EEG channels.
    """
    path = Path(path)
    name = f"recording ({path.suffix.lower()})"
    raw, _ = open_recording(path, name)
    raw, _ = select_channels(raw, name)
    return raw


def play_recording(
    raw: mne.io.BaseRaw,
    *,
    name: str = STREAM_NAME,
    speed: float = 1.0,
    repeat: bool = False,
    wait_s: float = 0.0,
    on_open: Callable[[], object] | None = None,
    on_chunk: Callable[[float], None] | None = None,
) -> float:
    """Send a recording's EEG channels as a stream, in microvolts.

    Time stamps advance by the recording's own sampling interval whatever the speed, so that a faster replay looks like
    a stream whose clock runs fast.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    name : str
        Of the stream.
    speed : float
        Seconds of recording per second.
    repeat : bool
        Begin again at the end.
    wait_s : float
        How long to wait for a listener before the first sample.
    on_open : callable, optional
        Called when the stream's ports are open, before anything is sent.
    on_chunk : callable, optional
        Called with the seconds sent so far.

    Returns
    -------
    float
        Seconds that were sent.

    Raises
    ------
    InputError
        If samples cannot be read.
    """
    lsl = load_layer()
    sfreq_hz = float(raw.info["sfreq"])
    info = lsl.StreamInfo(name, "EEG", len(raw.ch_names), sfreq_hz, "float32", source_id=name)
    info.set_channel_names(list(raw.ch_names))
    info.set_channel_types("eeg")
    info.set_channel_units("microvolts")
    outlet = lsl.StreamOutlet(info, max_buffered=60)
    if on_open is not None:
        on_open()
    if wait_s:
        outlet.wait_for_consumers(timeout=wait_s)
    begun_s, begun, sent = lsl.local_clock(), time.monotonic(), 0
    while True:
        due = round((time.monotonic() - begun) * speed * sfreq_hz)
        while sent < due and (repeat or sent < raw.n_times):
            stop = min(due, sent + raw.n_times - sent % raw.n_times)
            chunk = _read(raw, sent % raw.n_times, sent % raw.n_times + stop - sent)
            if len(chunk) > 1:
                outlet.push_chunk(chunk, begun_s + np.arange(sent, stop) / sfreq_hz)
            else:
                outlet.push_sample(chunk[0], begun_s + sent / sfreq_hz)
            sent = stop
        if on_chunk is not None:
            on_chunk(sent / sfreq_hz)
        if not repeat and sent >= raw.n_times:
            time.sleep(_GOODBYE_S)
            return sent / sfreq_hz
        time.sleep(_CHUNK_S)


def _read(raw: mne.io.BaseRaw, start: int, stop: int) -> np.ndarray:
    """Return samples of shape (n_times, n_channels), float32, µV."""
    try:
        return np.ascontiguousarray(quietly(raw.get_data, start=start, stop=stop).T * 1e6, dtype=np.float32)
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"recording: its samples cannot be read ({type(error).__name__})") from None
