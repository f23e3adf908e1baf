"""One recording file -> Recording: EDF, BDF, FIF, EEGLAB or BrainVision, cut into 30-s windows like FACED's trials."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.preprocess import (
    TARGET_SFREQ_HZ,
    cut_windows,
    filter_signal,
    find_clipped,
    find_line_noise,
    reference_to_average,
)
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS, match_channels
from dataset_builder.types import Recording

_READERS: dict[str, tuple[str, Callable[..., Any]]] = {
    ".edf": ("EDF", mne.io.read_raw_edf),
    ".bdf": ("BDF", mne.io.read_raw_bdf),
    ".fif": ("FIF", mne.io.read_raw_fif),
    ".set": ("EEGLAB", mne.io.read_raw_eeglab),
    ".vhdr": ("BrainVision", mne.io.read_raw_brainvision),
}

#: File types that are read.
SUFFIXES: tuple[str, ...] = tuple(_READERS)

#: Most numbers that are loaded at once: 2 GiB, enough for FACED's longest raw file (1.9 h, 32 channels, 1000 Hz).
_MAX_VALUES = 2**28

#: Range that the median channel's SD in 0.05-47 Hz must fall into, µV; far wider than scalp EEG, narrower than a wrong
#: unit.
_PLAUSIBLE_SD_UV = (0.5, 1000.0)

_MAX_NAMES = 12


def read_recording(
    path: str | Path, age: int | None = None, sex: str | None = None, window_s: float = 30.0
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
    raw, notes = _open(path)
    signal_uv, channels, device_sfreq_hz, found = _load_channels(raw, f"recording ({path.suffix.lower()})")
    notes += found
    signal_uv, channels, found = _drop_flat(signal_uv, channels)
    notes += found + _describe_input(signal_uv, channels, device_sfreq_hz)
    filtered, found = _repair_unit(filter_signal(signal_uv, device_sfreq_hz))
    notes += found
    windows = cut_windows(reference_to_average(filtered), TARGET_SFREQ_HZ, window_s)
    if (rest := filtered.shape[1] / TARGET_SFREQ_HZ - len(windows) * window_s) >= 0.5:
        notes.append(f"the last {rest:.0f} s do not fill a window and were left out")
    return Recording(
        subject="recording",
        channels=tuple(channels),
        clips=(None,) * len(windows),
        emotions=(None,) * len(windows),
        signal_uv=windows,
        sfreq_hz=TARGET_SFREQ_HZ,
        age=age,
        sex=sex,
        device_sfreq_hz=device_sfreq_hz,
        notes=tuple(notes),
    )


def _check_person(age: int | None, sex: str | None) -> None:
    if age is not None and not 0 <= age <= 120:
        raise InputError(f"age: {age}, accepted: 0 to 120 years")
    if sex not in (None, "F", "M"):
        raise InputError(f"sex: {sex!r}, accepted: F or M")


def _open(path: Path) -> tuple[Any, list[str]]:
    """Open a file without loading its samples. MNE's own messages hold paths, so only their kind is told."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise InputError(f"recording: suffix {suffix!r}, accepted: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"recording ({suffix}): no such file")
    try:
        return _read(path, suffix), []
    except _NotUtf8Error:
        return _read(path, suffix, encoding="latin1"), ["annotations are not UTF-8; read as Latin-1"]


class _NotUtf8Error(Exception):
    """EDF annotations in an older encoding than the standard's."""


def _read(path: Path, suffix: str, **options: Any) -> Any:
    title, reader = _READERS[suffix]
    try:
        return _quietly(reader, path, **options)
    except FileNotFoundError:
        raise InputError(f"recording ({suffix}): a file that belongs to it is missing beside it") from None
    except Exception as error:  # a damaged file raises nearly anything
        if suffix in (".edf", ".bdf") and not options and "latin1" in str(error):  # MNE raises a bare Exception
            raise _NotUtf8Error from None
        raise InputError(f"recording ({suffix}): cannot be read as {title} ({type(error).__name__})") from None


def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, verbose="ERROR", **options)


def _load_channels(raw: Any, name: str) -> tuple[np.ndarray, list[str], float, list[str]]:
    """Return the matched channels in µV, their 10-10 names, the sampling frequency in Hz, and notes."""
    kinds = raw.get_channel_types()
    candidates = [channel for channel, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"]
    montage = match_channels(candidates)
    scalp = [standard for standard in montage.used.values() if standard not in MASTOIDS]
    if len(scalp) < MIN_SCALP_CHANNELS:
        bipolar = f", {len(montage.bipolar)} are bipolar" if montage.bipolar else ""
        raise InputError(
            f"{name}: {len(scalp)} of {len(raw.ch_names)} channels are EEG with a 10-10 name such as Fp1{bipolar}; "
            f"at least {MIN_SCALP_CHANNELS} are needed"
        )
    sfreq_hz = float(raw.info["sfreq"])
    if len(montage.used) * raw.n_times > _MAX_VALUES:
        hours = raw.n_times / sfreq_hz / 3600
        raise InputError(f"{name}: {hours:.1f} h at {sfreq_hz:g} Hz are too much to load; cut out the part of interest")
    try:
        signal = _quietly(raw.get_data, picks=list(montage.used)) * 1e6
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{name}: its samples cannot be read ({type(error).__name__})") from None
    if not np.isfinite(signal).all():
        raise InputError(f"{name}: holds {np.count_nonzero(~np.isfinite(signal))} values that are not finite numbers")
    ignored = [channel for channel in raw.ch_names if channel not in montage.used]
    notes = [f"{len(ignored)} channels left out, no scalp place known: {_list(ignored)}"] if ignored else []
    cuts = sum(str(text).lower().startswith(("boundary", "edge")) for text in raw.annotations.description)
    if cuts:
        notes.append(f"the recording was cut and joined at {cuts} places; windows may run across them")
    return signal, list(montage.used.values()), sfreq_hz, notes


def _drop_flat(signal_uv: np.ndarray, channels: list[str]) -> tuple[np.ndarray, list[str], list[str]]:
    """Leave channels without any signal out before they enter the average reference."""
    alive = np.ptp(signal_uv, axis=1) > 0
    flat = [name for name, good in zip(channels, alive, strict=True) if not good]
    if not flat:
        return signal_uv, channels, []
    kept = [name for name in channels if name not in flat]
    if len([name for name in kept if name not in MASTOIDS]) < MIN_SCALP_CHANNELS:
        raise InputError(f"recording: {len(flat)} of {len(channels)} channels are flat; the recording cannot be used")
    return signal_uv[alive], kept, [f"{len(flat)} flat channels left out: {_list(flat)}"]


def _describe_input(signal_uv: np.ndarray, channels: list[str], sfreq_hz: float) -> list[str]:
    """Note what filtering will hide: mains hum and clipping."""
    notes = []
    for line_hz in (50.0, 60.0):
        hum = [name for name, bad in zip(channels, find_line_noise(signal_uv, sfreq_hz, line_hz), strict=True) if bad]
        if hum:
            notes.append(f"mains hum at {line_hz:g} Hz before filtering in {len(hum)} channels")
    if clipped := [name for name, bad in zip(channels, find_clipped(signal_uv), strict=True) if bad]:
        notes.append(f"{len(clipped)} channels touch the limit of their range: {_list(clipped)}")
    return notes


def _repair_unit(signal_uv: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Undo a factor of a million between volts and microvolts; refuse anything else that is no scalp EEG.

    Some recorders write a unit that readers do not know (FACED's raw files have ``?V`` for ``µV``), and numbers meant
    as microvolts arrive as volts.
    """
    low, high = _PLAUSIBLE_SD_UV
    median = float(np.median(signal_uv.std(axis=1)))
    for factor, told in ((1.0, ""), (1e-6, "microvolts marked as volts"), (1e6, "volts marked as microvolts")):
        if low <= median * factor <= high:
            notes = [f"amplitudes look like {told}; scaled by {factor:g}"] if told else []
            return signal_uv if factor == 1 else signal_uv * np.float32(factor), notes
    raise InputError(
        f"recording: unit looks wrong, the median channel's SD is {median:.3g} µV; expected {low:g} to {high:g} µV"
    )


def _list(names: list[str]) -> str:
    """Return names for a note, made harmless: a header can hold any text."""
    shown = ["".join(c for c in name if c.isascii() and (c.isalnum() or c in " +-_."))[:12] for name in names]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more
