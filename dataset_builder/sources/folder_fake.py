"""A made-up folder of recordings: EDF files with old channel names, arrays with a JSON file, and a table."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from edfio import Edf, EdfSignal, Patient
from edfio import Recording as EdfRecording

from dataset_builder.manifest import write_bytes, write_text
from dataset_builder.seeds import make_rng
from dataset_builder.sources.faced_tables import SYNTHETIC_MARK
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS

#: Columns with made-up facial features.
FAKE_FACIAL = ("au04", "au12")

#: Each stimulus lasts a little longer than what is kept of it.
_STIMULUS_S, _GAP_S = 31.0, 2.0
_TRIALS = 3
_SFREQ_HZ = 250

_OLD_NAMES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
_COLUMNS = ("file", "subject", "label", "onset_s", "duration_s", "clip", "age", "sex", "rating_joy", "rating_valence")


def write_folder(root: Path, n_subjects: int, seed: int) -> None:
    """Write recordings of a few trials, the subjects' files of two kinds in turn.

    Parameters
    ----------
    root : Path
    n_subjects : int
    seed : int
    """
    lines = [",".join((*_COLUMNS, *FAKE_FACIAL))]
    for number in range(n_subjects):
        signal_uv = draw_eeg(seed, f"P{number + 1}", SCALP_CHANNELS, _TRIALS * (_STIMULUS_S + _GAP_S) + _GAP_S)
        file = f"eeg/{number + 1:03d}.{'npy' if number % 2 else 'edf'}"
        _write_file(root / file, signal_uv)
        lines += _render_rows(seed, number, file)
    write_text(root / "recordings.csv", "\n".join(lines) + "\n")
    write_text(root / SYNTHETIC_MARK, "# Synthetic data\n\nNobody was recorded: every subject here is made up.\n")


def draw_eeg(seed: int, subject: str, channels: Sequence[str], seconds: float, sfreq_hz: int = _SFREQ_HZ) -> np.ndarray:
    """Draw noise that looks like EEG: a falling spectrum, alpha behind, blinks in front.

    Parameters
    ----------
    seed : int
    subject : str
        Name of the stream.
    channels : sequence of str
        10-10 names.
    seconds : float
    sfreq_hz : int

    Returns
    -------
    ndarray of shape (n_channels, n_times), float64, µV
    """
    rng = make_rng(seed, "fake-eeg", subject)
    n_times = round(seconds * sfreq_hz)
    frequencies = np.fft.rfftfreq(n_times, 1 / sfreq_hz)
    alpha = np.exp(-0.5 * ((frequencies - 10) / 1.5) ** 2)
    behind = np.array([name[0] in "PO" for name in channels])[:, None]
    shape = 1 / np.sqrt(np.maximum(frequencies, 0.5)) + 1.5 * behind * alpha
    own = np.fft.irfft(np.fft.rfft(rng.standard_normal((len(channels), n_times))) * shape, n_times)
    common = np.fft.irfft(np.fft.rfft(rng.standard_normal(n_times)) * shape[0], n_times)
    signal = own / own.std() * 8 + common / common.std() * 4
    for start in range(sfreq_hz, n_times - sfreq_hz, 4 * sfreq_hz):  # a blink about every four seconds
        at = start + int(rng.integers(sfreq_hz))
        course = 90 * np.hanning(round(0.3 * sfreq_hz))[: n_times - at]
        reach = np.array([1.0 if name.startswith("Fp") else 0.15 if name[0] == "F" else 0.0 for name in channels])
        signal[:, at : at + len(course)] += reach[:, None] * course
    return signal


def _write_file(path: Path, signal_uv: np.ndarray) -> None:
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, signal_uv.astype(np.float32))
        write_text(path.with_suffix(".json"), json.dumps({"sfreq_hz": _SFREQ_HZ, "channels": SCALP_CHANNELS}) + "\n")
    else:
        labels = [f"EEG {_OLD_NAMES.get(name, name)}-REF" for name in SCALP_CHANNELS]
        signals = [
            EdfSignal(values, _SFREQ_HZ, label=label, physical_dimension="uV")
            for values, label in zip(signal_uv, labels, strict=True)
        ]
        Edf(signals, patient=Patient(), recording=EdfRecording(equipment_code="synthetic")).write(buffer)
    write_bytes(path, buffer.getvalue())


def _render_rows(seed: int, number: int, file: str) -> list[str]:
    """Return a subject's lines; subjects see different clips, so that together they see one of each emotion."""
    rng = make_rng(seed, "fake-table", number)
    rows = []
    for trial in range(_TRIALS):
        clip = (number * _TRIALS + trial) % len(EMOTIONS)
        onset_s = _GAP_S + trial * (_STIMULUS_S + _GAP_S)
        person = (20 + number % 20, "FM"[number % 2])
        scores = np.round(rng.uniform(0, 7, 2), 1).tolist() + np.round(rng.uniform(0, 5, len(FAKE_FACIAL)), 2).tolist()
        cells = (file, f"P{number + 1}", EMOTIONS[clip], onset_s, _STIMULUS_S, clip + 1, *person, *scores)
        rows.append(",".join(map(str, cells)))
    return rows
