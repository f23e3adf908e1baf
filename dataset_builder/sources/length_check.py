"""Whether EDF, BDF and BrainVision files are what they are called and hold what their headers state, told before MNE.

MNE reads what is there of a file that was cut off and only warns. What cannot be told here is left to it. A header is
that of Kemp and Olivan 2003, Clin Neurophysiol 114:1755, or of the BrainVision Core Data Format 1.0.
"""

import re
from pathlib import Path

from dataset_builder.errors import InputError

#: First bytes of a file -> bytes of a sample.
_EDF_VERSIONS = {b"0": 2, b"\xffBIOSEMI": 3}

#: Name of a format of samples -> bytes of one.
SAMPLE_BYTES = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}

_BRAINVISION = re.compile(r"Brain ?Vision\b.*\bHeader", re.IGNORECASE)

#: What a BrainVision header says of the files that belong to it.
_COMPANION = re.compile(r"^\s*(?:DataFile|MarkerFile)\s*[=:](.*)$", re.IGNORECASE | re.MULTILINE)

_COUNT = re.compile(r"^\s*NumberOfChannels\s*[=:]\s*(\d{1,18})", re.IGNORECASE | re.MULTILINE)

_MAX_CHANNELS = 4096

#: Of a header that names files which could be anybody's.
ELSEWHERE = "names a file in another folder; accepted: files that lie beside it"


def check_edf(path: Path, name: str) -> None:
    """Refuse an EDF or BDF file that is none, or that holds fewer records than its header states.

    Parameters
    ----------
    path : Path
        A file that is there.
    name : str
        How messages call it.

    Raises
    ------
    InputError
        Tells what is wrong. A number of records of -1, as while recording, is none that is stated.
    """
    try:
        with path.open("rb") as stream:
            main = stream.read(256)
            n_signals = _read_number(main[252:256])
            fields = stream.read(256 * n_signals)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    width = _EDF_VERSIONS.get(main[:8].rstrip(b" \x00"), 0)
    if len(main) < 256 or not width:
        raise InputError(f"{name}: is no EDF or BDF file")
    if len(fields) < 256 * n_signals:
        raise InputError(f"{name}: ends within its header")
    counts = fields[216 * n_signals : 224 * n_signals]
    n_samples = sum(_read_number(counts[at : at + 8]) for at in range(0, len(counts), 8))
    if not n_samples:
        return
    held = (size - _read_number(main[184:192])) // (n_samples * width)
    if held < 1:
        raise InputError(f"{name}: holds no complete data record")
    stated = _read_number(main[236:244])
    if held < stated and (problem := tell_difference(held, stated, _read_seconds(main[244:252]))):
        raise InputError(f"{name}: {problem}")


def check_brainvision(path: Path, name: str) -> None:
    """Refuse a BrainVision header that is none, names files elsewhere, or has other samples than it states.

    Parameters
    ----------
    path : Path
        A file that is there.
    name : str
        How messages call it.

    Raises
    ------
    InputError
        Tells what is wrong.
    """
    try:
        text = _decode(path.read_bytes()).partition("[Comment]")[0]
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    if not _BRAINVISION.search(text.partition("\n")[0]):
        raise InputError(f"{name}: is no BrainVision header")
    if any(mark in value for value in _COMPANION.findall(text) for mark in ("/", "\\")):
        raise InputError(f"{name}: {ELSEWHERE}")
    n_channels = max([int(digits) for digits in _COUNT.findall(text)], default=0)
    if n_channels > _MAX_CHANNELS:
        raise InputError(f"{name}: {n_channels} channels; accepted: at most {_MAX_CHANNELS}")
    data = path.parent / _find(text, "DataFile", r"[^\r\n]*").strip().replace("$b", path.stem)
    frame_bytes = n_channels * SAMPLE_BYTES.get(_find(text, "BinaryFormat", r"\w+").upper(), 0)
    if frame_bytes and data.is_file():
        stated = _find(text, "DataPoints", r"\d+")
        interval_us = _find(text, "SamplingInterval", r"[\d.]+").encode()
        if problem := check_frames(data.stat().st_size, frame_bytes, stated, _read_seconds(interval_us) / 1e6):
            raise InputError(f"{name}: {problem}")


def check_frames(size: int, frame_bytes: int, stated: str, interval_s: float) -> str:
    """Tell what is wrong with the length of a BrainVision file of samples.

    Parameters
    ----------
    size : int
        Of the file, bytes.
    frame_bytes : int
        Of one sample of every channel.
    stated : str
        Samples per channel as the header states them; empty where it does not.
    interval_s : float
        Between two samples.

    Returns
    -------
    str
        Empty where nothing is wrong.
    """
    if size % frame_bytes:
        return "its samples end before the last channel; accepted: complete files"
    known = re.fullmatch(r"\d{1,18}", stated)
    return tell_difference(size // frame_bytes, int(stated), interval_s) if known else ""


def tell_difference(held: int, stated: int, unit_s: float) -> str:
    """Tell by how much a file's length is not the one that its header states.

    Parameters
    ----------
    held, stated : int
        Records or samples.
    unit_s : float
        Length of one.

    Returns
    -------
    str
        Empty where both are the same.
    """
    if held == stated:
        return ""
    return f"its header states {stated * unit_s:g} s, the file holds {held * unit_s:g} s; accepted: complete files"


def _read_number(field: bytes) -> int:
    """Return a count of a header; 0 where it states none."""
    text = field.strip(b" \x00")
    return int(text) if text.isdigit() else 0


def _read_seconds(field: bytes) -> float:
    """Return a length; 1, as MNE takes it, where none is stated."""
    try:
        return float(field) or 1.0
    except ValueError:
        return 1.0


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _find(text: str, key: str, value: str) -> str:
    """Return what a header says under a key; empty where it says nothing."""
    match = re.search(rf"^\s*{key}\s*[=:][ \t]*({value})", text, re.IGNORECASE | re.MULTILINE)
    return match[1] if match else ""
