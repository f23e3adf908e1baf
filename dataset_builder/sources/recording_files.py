"""Files that EEG recorders and toolboxes write -> MNE, with 10-10 channel names; no sample is loaded here.

Header texts and file names can hold a person's name, so neither enters a message or a note.
"""

import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.sources.channel_labels import clean_labels
from dataset_builder.sources.fif_check import check_fif
from dataset_builder.sources.length_check import ELSEWHERE, check_brainvision, check_edf, tell_difference
from dataset_builder.sources.mat_check import check_mat
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS, counts_inputs, match_channels

_READERS: dict[str, tuple[str, Callable[..., Any]]] = {
    ".edf": ("EDF", mne.io.read_raw_edf),
    ".bdf": ("BDF", mne.io.read_raw_bdf),
    ".fif": ("FIF", mne.io.read_raw_fif),
    ".set": ("EEGLAB", mne.io.read_raw_eeglab),
    ".vhdr": ("BrainVision", mne.io.read_raw_brainvision),
}

#: File types that are read.
SUFFIXES: tuple[str, ...] = tuple(_READERS)

#: Range that the median channel's SD in 0.05-47 Hz must fall into, µV; far wider than scalp EEG, narrower than a wrong
#: unit.
_PLAUSIBLE_SD_UV = (0.5, 1000.0)

_MAX_NAMES = 12

_NUMBERED = (
    "channels are numbered (such as A1 or E1), which tells no place on the scalp; accepted: 10-10 names such as Fp1, "
    "so rename them by the cap's map first"
)


def open_recording(path: Path, name: str) -> tuple[mne.io.BaseRaw, list[str]]:
    """Open a file without loading its samples. MNE's own messages hold paths, so only their kind is told.

    Parameters
    ----------
    path : Path
    name : str
        How messages call the file.

    Returns
    -------
    raw : mne.io.BaseRaw
    notes : list of str

    Raises
    ------
    InputError
        If the file is missing, of another type or cannot be read.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    try:
        return _read(path, suffix, name), []
    except _NotUtf8Error:
        return _read(path, suffix, name, encoding="latin1"), ["annotations are not UTF-8; read as Latin-1"]


def select_channels(raw: mne.io.BaseRaw, name: str) -> tuple[mne.io.BaseRaw, list[str]]:
    """Keep, in place, the EEG channels with a scalp place or on the mastoids, under their 10-10 names.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    name : str
        How messages call the file.

    Returns
    -------
    raw : mne.io.BaseRaw
    notes : list of str
        Which channels were left out, and whether the file was cut and joined.

    Raises
    ------
    InputError
        If fewer than 8 scalp channels are found.
    """
    total = len(raw.ch_names)
    try:
        kinds = raw.get_channel_types()
    except (KeyError, ValueError):
        raise InputError(f"{name}: its header has a channel of no known kind") from None
    montage = match_channels([channel for channel, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"])
    scalp = [standard for standard in montage.used.values() if standard not in MASTOIDS]
    if len(scalp) < MIN_SCALP_CHANNELS:
        if counts_inputs(raw.ch_names):
            raise InputError(f"{name}: {_NUMBERED}")
        bipolar = f", {len(montage.bipolar)} are bipolar" if montage.bipolar else ""
        raise InputError(
            f"{name}: {len(scalp)} of {total} channels are EEG with a 10-10 name such as Fp1{bipolar}; "
            f"at least {MIN_SCALP_CHANNELS} are needed"
        )
    notes = _note_ignored(raw.ch_names, kinds, montage.used)
    cuts = sum(str(text).lower().startswith(("boundary", "edge")) for text in raw.annotations.description)
    if cuts:
        notes.append(f"the recording was cut and joined at {cuts} places; windows may run across them")
    raw.set_annotations(None)  # a channel that is left out may be named in one
    # By number: MNE strips names that it is asked for, and a header's may end in spaces.
    quietly(raw.pick, [raw.ch_names.index(channel) for channel in montage.used])
    # Through names that no file has: "T3" may become "T7" while an ignored "T7" was there before.
    raw.rename_channels({channel: f"\x00{index}" for index, channel in enumerate(montage.used)})
    raw.rename_channels({f"\x00{index}": place for index, place in enumerate(montage.used.values())})
    return raw, notes


def find_unit_scale(signal_uv: np.ndarray, name: str) -> tuple[float, list[str]]:
    """Tell volts from microvolts by the size of a filtered signal; refuse what is neither.

    Some recorders write a unit that readers do not know (FACED's raw files have ``?V`` for ``µV``), and numbers meant
    as microvolts arrive as volts.

    Parameters
    ----------
    signal_uv : ndarray of shape (n_channels, n_times)
        After the band-pass; microvolts if the file's unit is right.
    name : str
        How messages call the file.

    Returns
    -------
    factor : float
        Makes microvolts of the numbers; 1 where nothing is wrong.
    notes : list of str

    Raises
    ------
    InputError
        If no factor of a million gives scalp EEG.
    """
    low, high = _PLAUSIBLE_SD_UV
    median = float(np.median(signal_uv.std(axis=1)))
    for factor, told in ((1.0, ""), (1e-6, "microvolts marked as volts"), (1e6, "volts marked as microvolts")):
        if low <= median * factor <= high:
            return factor, [f"amplitudes look like {told}; scaled by {factor:g}"] if told else []
    raise InputError(
        f"{name}: unit looks wrong, the median channel's SD is {median:.3g} µV; expected {low:g} to {high:g} µV"
    )


def list_names(names: list[str]) -> str:
    """Return names for a note, made harmless: a header can hold any text."""
    shown = ["".join(c for c in name if c.isascii() and (c.isalnum() or c in " +-_."))[:12] for name in names]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function of MNE without its warnings: they hold paths and header texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, verbose="ERROR", **options)


def _note_ignored(names: list[str], kinds: list[str], used: Collection[str]) -> list[str]:
    """Tell channels without a scalp place, and those with one that the file declares to be of another kind than EEG.

    A name that no recorder gives may be somebody's; a number by the channel's place stands for it.
    """
    labels = dict(zip(names, clean_labels(names), strict=True))
    ignored = {name: kind for name, kind in zip(names, kinds, strict=True) if name not in used}
    declared = {name: kind.upper() for name, kind in ignored.items() if kind != "eeg" and match_channels([name]).used}
    notes = []
    if unknown := [labels[name] for name in ignored if name not in declared]:
        notes.append(f"{len(unknown)} channels left out, no scalp place known: {list_names(unknown)}")
    for kind in dict.fromkeys(declared.values()):
        found = [labels[name] for name in declared if declared[name] == kind]
        notes.append(f"{len(found)} channels left out, declared as {kind} in the file: {list_names(found)}")
    return notes


class _NotUtf8Error(Exception):
    """EDF annotations in an older encoding than the standard's."""


def _read(path: Path, suffix: str, name: str, **options: Any) -> Any:
    title, reader = _READERS[suffix]
    if suffix in _CHECKS:
        _CHECKS[suffix](path, name)
    try:
        raw = quietly(reader, path, **options)
    except FileNotFoundError:
        raise InputError(f"{name}: a file that belongs to it is missing beside it") from None
    except Exception as error:  # a damaged file raises nearly anything
        if suffix in (".edf", ".bdf") and not options and "latin1" in str(error):  # MNE raises a bare Exception
            raise _NotUtf8Error from None
        if suffix == ".fif" and "No raw data" in str(error):
            raise InputError(f"{name}: holds no raw recording") from None
        if suffix == ".set" and "number of trials" in str(error):  # MNE raises a bare TypeError
            raise InputError(f"{name}: is cut into epochs; accepted: continuous recordings") from None
        raise InputError(f"{name}: cannot be read as {title} ({type(error).__name__})") from None
    folder = os.path.abspath(path.parent)
    if any(os.path.dirname(os.path.abspath(file)) != folder for file in raw.filenames if file is not None):
        raise InputError(f"{name}: {ELSEWHERE}")
    if suffix == ".set" and (problem := _check_fdt(raw)):
        raise InputError(f"{name}: {problem}")
    return raw


def _check_fdt(raw: mne.io.BaseRaw) -> str:
    """Tell whether EEGLAB's file of samples, if there is one, is too short; empty where nothing is wrong."""
    files = [Path(file) for file in raw.filenames if file is not None]
    sizes = [file.stat().st_size for file in files if file.suffix.lower() == ".fdt"]
    held = min([size // (4 * len(raw.ch_names)) for size in sizes], default=raw.n_times)
    return tell_difference(min(held, raw.n_times), raw.n_times, 1 / float(raw.info["sfreq"]))


#: What must hold of a file before MNE, which trusts it, opens it.
_CHECKS: dict[str, Callable[[Path, str], None]] = {
    ".edf": check_edf,
    ".bdf": check_edf,
    ".fif": check_fif,
    ".set": check_mat,
    ".vhdr": check_brainvision,
}
