"""Uploaded files -> what is known of a recording; the files are gone again when it is in memory."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mne
import numpy as np

from copilot.deid import HeaderField, preview_header
from copilot.record_stage import describe_inputs
from dataset_builder.errors import InputError
from dataset_builder.manifest import Artifact
from dataset_builder.quality import find_clipped, find_line_noise
from dataset_builder.sources.montage import match_channels
from dataset_builder.sources.recording_files import SUFFIXES, list_names, open_recording, quietly, select_channels
from dataset_builder.sources.recordings import read_recording
from dataset_builder.types import Recording

#: Files that lie beside a header file: suffix -> suffix under which a reader looks for it.
_COMPANIONS = {".eeg": ".eeg", ".dat": ".eeg", ".vmrk": ".vmrk", ".fdt": ".fdt"}

#: Everything that a file dialog should offer.
ACCEPTED: tuple[str, ...] = (*SUFFIXES, *_COMPANIONS)

#: Lines of BrainVision's text files that name the other files.
_NAMED_FILES = re.compile(rb"(?mi)^(DataFile|MarkerFile)\s*=[^\r\n]*")
_OWN_NAMES = {b"datafile": b"recording.eeg", b"markerfile": b"recording.vmrk"}

#: How much of the unfiltered signal is looked at for hum and clipping, s.
_LOOKED_AT_S = 120.0

_MAINS_HZ = (50.0, 60.0)


@dataclass(frozen=True)
class ChannelName:
    """A channel of the file; `place` is its 10-10 name, or empty where it is left out."""

    in_file: str
    place: str


@dataclass(frozen=True)
class Unfiltered:
    """What only the unfiltered signal shows, by 10-10 name.

    Parameters
    ----------
    hum : dict of str to float
        Channel -> mains frequency in Hz.
    clipped : frozenset of str
        Channels that stand at the end of their range.
    """

    hum: dict[str, float]
    clipped: frozenset[str]


@dataclass(frozen=True)
class Intake:
    """A recording that was read, without any file.

    Parameters
    ----------
    header : tuple of HeaderField
        What the header says, identifiers masked.
    files : tuple of Artifact
        The files by content, the recording first.
    channels : tuple of ChannelName
        In the file's order.
    unfiltered : Unfiltered
    recording : Recording
    """

    header: tuple[HeaderField, ...]
    files: tuple[Artifact, ...]
    channels: tuple[ChannelName, ...]
    unfiltered: Unfiltered
    recording: Recording


def take_files(paths: Sequence[Path], folder: Path, *, synthetic: bool = False) -> Intake:
    """Read an uploaded recording and remove its files.

    Parameters
    ----------
    paths : sequence of Path
        One recording and the files that belong to it. All are moved away, also when reading fails.
    folder : Path
        Private folder to work in; what is written there is removed.
    synthetic : bool
        The recording is made up.

    Returns
    -------
    Intake

    Raises
    ------
    InputError
        If the files are not one recording that can be read. The message names no file.
    """
    work = folder / "recording"
    try:
        work.mkdir(mode=0o700, exist_ok=True)
        header_file = _gather(paths, work)
        files = describe_inputs(header_file)
        _forget_names(header_file)
        header = preview_header(header_file)
        recording = read_recording(header_file)
        channels, unfiltered = _look_at_file(header_file)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for path in paths:
            path.unlink(missing_ok=True)
    recording = replace(recording, synthetic=recording.synthetic or synthetic)
    return Intake(tuple(header), tuple(files), channels, unfiltered, recording)


def _gather(paths: Sequence[Path], work: Path) -> Path:
    """Move files together under names that tell nothing; return the header file."""
    headers = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if len(headers) != 1:
        found = f"{len(headers)} recordings" if headers else "no recording"
        raise InputError(f"upload: {found} among {len(paths)} files; accepted: one of {', '.join(SUFFIXES)}")
    header_file = work / f"recording{headers[0].suffix.lower()}"
    for path in paths:
        suffix = path.suffix.lower()
        if path is not headers[0] and suffix not in _COMPANIONS:
            raise InputError(f"upload: a file of type {suffix or 'unknown'} belongs to no recording")
        target = header_file if path is headers[0] else work / f"recording{_COMPANIONS[suffix]}"
        if target.exists():
            raise InputError("upload: files of more than one recording; upload them one after the other")
        shutil.move(path, target)
    return header_file


def _forget_names(header_file: Path) -> None:
    """Let BrainVision's text files name each other as they are called now."""
    if header_file.suffix != ".vhdr":
        return
    for path in (header_file, header_file.with_suffix(".vmrk")):
        if path.is_file():
            text = path.read_bytes()
            path.write_bytes(_NAMED_FILES.sub(lambda m: m[1] + b"=" + _OWN_NAMES[m[1].lower()], text))


def _look_at_file(header_file: Path) -> tuple[tuple[ChannelName, ...], Unfiltered]:
    """Return how channels are called, and what filtering would hide."""
    name = f"recording ({header_file.suffix})"
    raw, _ = open_recording(header_file, name)
    kinds = raw.get_channel_types()
    used = match_channels([n for n, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"]).used
    channels = tuple(ChannelName(list_names([name]), used.get(name, "")) for name in raw.ch_names)
    raw, _ = select_channels(raw, name)
    return channels, _look_at_signal(raw)


def _look_at_signal(raw: mne.io.BaseRaw) -> Unfiltered:
    sfreq_hz = float(raw.info["sfreq"])
    signal = np.asarray(quietly(raw.get_data, stop=min(raw.n_times, round(_LOOKED_AT_S * sfreq_hz))))
    hum: dict[str, float] = {}
    for line_hz in _MAINS_HZ:
        found = find_line_noise(signal, sfreq_hz, line_hz)
        hum |= {name: line_hz for name, bad in zip(raw.ch_names, found, strict=True) if bad}
    clipped = frozenset(name for name, bad in zip(raw.ch_names, find_clipped(signal), strict=True) if bad)
    return Unfiltered(hum, clipped)
