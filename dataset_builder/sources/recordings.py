"""One recording file -> Recording: EDF, BDF, FIF, EEGLAB or BrainVision, cut into 30-s windows like FACED's trials."""

from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.filters import TARGET_SFREQ_HZ, cut_windows, filter_signal, reference_to_average
from dataset_builder.preprocess import PreprocessingConfig, preprocess_recording
from dataset_builder.quality import find_clipped, find_line_noise
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS
from dataset_builder.sources.recording_files import (
    SUFFIXES,
    find_unit_scale,
    list_names,
    open_recording,
    quietly,
    select_channels,
)
from dataset_builder.types import Recording

#: Most numbers that are loaded at once: 2 GiB, enough for FACED's longest raw file (1.9 h, 32 channels, 1000 Hz).
_MAX_VALUES = 2**28


def read_recording(
    path: str | Path,
    age: int | None = None,
    sex: str | None = None,
    window_s: float = 30.0,
    preprocessing: PreprocessingConfig | None = None,
) -> Recording:
    """Read one recording file.

    Scalp channels and mastoids are matched with the 10-10 system; then 0.05-47 Hz band-pass, 250 Hz, average reference
    and consecutive windows. What was left out or repaired is told in ``notes``. The recording is called
    ``"recording"``: no file name or header text enters it.

    Parameters
    ----------
    path : str or Path
        ``.edf``, ``.bdf``, ``.fif``, ``.set`` (with its ``.fdt``) or ``.vhdr`` (with its ``.eeg`` and ``.vmrk``).
    age : int, optional
        Years, 0 to 120.
    sex : {"F", "M"}, optional
    window_s : float
        Length of a window in seconds.
    preprocessing : PreprocessingConfig, optional
        Treats the windows as a corpus's trials were treated, bad channels and eye movements included; its ``trial_s``
        takes the place of `window_s`. Channels that are flat throughout are left out all the same.

    Returns
    -------
    Recording
        ``signal_uv`` of shape (n_windows, n_channels, 250 * window_s), float32, µV.

    Raises
    ------
    InputError
        If the file cannot be read, has too few EEG channels, is too short or in a wrong unit.
    """
    path = Path(path)
    _check_person(age, sex)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"recording: suffix {suffix!r}, accepted: {', '.join(SUFFIXES)}")
    raw, notes = open_recording(path, f"recording ({suffix})")
    raw, found = select_channels(raw, f"recording ({suffix})")
    signal_uv = _load(raw, f"recording ({suffix})")
    signal_uv, channels, flat = _drop_flat(signal_uv, list(raw.ch_names))
    device_sfreq_hz = float(raw.info["sfreq"])
    notes += found + flat + _describe_input(signal_uv, channels, device_sfreq_hz)
    windows, sfreq_hz, found = _cut(signal_uv, channels, device_sfreq_hz, window_s, preprocessing)
    return Recording(
        subject="recording",
        channels=tuple(channels),
        clips=(None,) * len(windows),
        emotions=(None,) * len(windows),
        signal_uv=windows,
        sfreq_hz=sfreq_hz,
        ranks=tuple(range(1, len(windows) + 1)),
        age=age,
        sex=sex,
        device_sfreq_hz=device_sfreq_hz,
        notes=(*notes, *found),
    )


def _check_person(age: int | None, sex: str | None) -> None:
    if age is not None and not 0 <= age <= 120:
        raise InputError(f"age: {age}, accepted: 0 to 120 years")
    if sex not in (None, "F", "M"):
        raise InputError(f"sex: {sex!r}, accepted: F or M")


def _load(raw: mne.io.BaseRaw, name: str) -> np.ndarray:
    """Return all samples in µV."""
    sfreq_hz = float(raw.info["sfreq"])
    if len(raw.ch_names) * raw.n_times > _MAX_VALUES:
        hours = raw.n_times / sfreq_hz / 3600
        raise InputError(f"{name}: {hours:.1f} h at {sfreq_hz:g} Hz are too much to load; cut out the part of interest")
    if raw.n_times < sfreq_hz:
        raise InputError(f"{name}: {raw.n_times} samples at {sfreq_hz:g} Hz are less than a second")
    try:
        signal = np.asarray(quietly(raw.get_data)) * 1e6
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{name}: its samples cannot be read ({type(error).__name__})") from None
    if not np.isfinite(signal).all():
        raise InputError(f"{name}: holds {np.count_nonzero(~np.isfinite(signal))} values that are not finite numbers")
    return signal


def _drop_flat(signal_uv: np.ndarray, channels: list[str]) -> tuple[np.ndarray, list[str], list[str]]:
    """Leave channels without any signal out before they enter the average reference."""
    alive = np.ptp(signal_uv, axis=1) > 0
    flat = [name for name, good in zip(channels, alive, strict=True) if not good]
    if not flat:
        return signal_uv, channels, []
    kept = [name for name in channels if name not in flat]
    if len([name for name in kept if name not in MASTOIDS]) < MIN_SCALP_CHANNELS:
        raise InputError(f"recording: {len(flat)} of {len(channels)} channels are flat; the recording cannot be used")
    return signal_uv[alive], kept, [f"{len(flat)} flat channels left out: {list_names(flat)}"]


def _describe_input(signal_uv: np.ndarray, channels: list[str], sfreq_hz: float) -> list[str]:
    """Note what filtering will hide: mains hum and clipping."""
    notes = []
    for line_hz in (50.0, 60.0):
        hum = [name for name, bad in zip(channels, find_line_noise(signal_uv, sfreq_hz, line_hz), strict=True) if bad]
        if hum:
            notes.append(f"mains hum at {line_hz:g} Hz before filtering in {len(hum)} channels")
    if clipped := [name for name, bad in zip(channels, find_clipped(signal_uv), strict=True) if bad]:
        notes.append(f"{len(clipped)} channels touch the limit of their range: {list_names(clipped)}")
    return notes


def _cut(
    signal_uv: np.ndarray,
    channels: list[str],
    sfreq_hz: float,
    window_s: float,
    preprocessing: PreprocessingConfig | None,
) -> tuple[np.ndarray, float, list[str]]:
    """Return consecutive windows, their sampling frequency in Hz, and notes."""
    filtered = filter_signal(signal_uv, sfreq_hz)
    scale, notes = find_unit_scale(filtered, "recording")
    length_s = signal_uv.shape[1] / sfreq_hz
    if preprocessing is None:
        windows = cut_windows(reference_to_average(filtered * np.float32(scale)), TARGET_SFREQ_HZ, window_s)
        target_hz = TARGET_SFREQ_HZ
    else:
        window_s, target_hz = preprocessing.trial_s, preprocessing.sfreq_hz
        n_windows = len(cut_windows(filtered, TARGET_SFREQ_HZ, window_s))
        raw = mne.io.RawArray(signal_uv * 1e-6, mne.create_info(channels, sfreq_hz, "eeg"), verbose="ERROR")
        ends_s = [min((index + 1) * window_s, length_s) for index in range(n_windows)]
        windows, found = preprocess_recording(raw, ends_s, preprocessing, show="windows", scale=scale)
        notes += found
    if (rest := length_s - len(windows) * window_s) >= 0.5:
        notes.append(f"the last {rest:.0f} s do not fill a window and were left out")
    return windows, target_hz, notes
