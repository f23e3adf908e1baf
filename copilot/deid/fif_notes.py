"""Annotations and dates of FIF files: known texts only, and times that mean the same without a date."""

import json
import struct
from typing import BinaryIO

import numpy as np
from mne.io.constants import FIFF

from copilot.deid.fif_tags import Tag, make_tag
from copilot.deid.findings import Findings, decode_text
from copilot.deid.words import clean_annotation

RAW_BLOCKS = (FIFF.FIFFB_RAW_DATA, FIFF.FIFFB_CONTINUOUS_DATA, FIFF.FIFFB_IAS_RAW_DATA)

#: Seconds and microseconds that stand for an unknown date.
NO_DATE = (0, 2**31 - 1)

_NOTES = FIFF.FIFFB_MNE_ANNOTATIONS

#: Onsets and ends.
_TIMES = (FIFF.FIFF_MNE_BASELINE_MIN, FIFF.FIFF_MNE_BASELINE_MAX)


def read_list(stream: BinaryIO, tags: list[Tag], block: int) -> list[str]:
    """Return the names or comments that a block lists; within a name MNE writes a colon as ``{COLON}``."""
    kinds = (FIFF.FIFF_MNE_CH_NAME_LIST, FIFF.FIFF_COMMENT)
    texts = [decode_text(tag.read(stream)) for tag in tags if tag.block == block and tag.kind in kinds]
    return [name.replace("{COLON}", ":") for text in texts for name in text.split(":")] if any(texts) else []


def clean_notes(
    stream: BinaryIO, tags: list[Tag], findings: Findings, keep: frozenset[str], span: tuple[float, int]
) -> bytes:
    """Return the block of annotations with known texts only, without dates and without channel names.

    Parameters
    ----------
    stream : file object
    tags : list of Tag
        All of the file.
    findings : Findings
        Gets what is dropped, and the counts.
    keep : frozenset of str
        Texts that may stay besides the known ones.
    span : tuple of float and int
        Sampling frequency in Hz, and number of samples; annotations beyond are dropped, for an onset can be any number.
    """
    own = {tag.kind: tag for tag in tags if tag.block == _NOTES}
    texts = read_list(stream, tags, _NOTES)
    starts, ends = (_read_floats(stream, own.get(kind)) for kind in _TIMES)
    if not len(texts) == len(starts) == len(ends):
        starts = ends = np.full(len(texts), np.nan)
    first_s = _find_first(stream, tags) / span[0]
    shift_s = _find_shift(stream, tags, first_s)
    starts, ends = starts + shift_s, ends + shift_s
    fits = (starts >= -1) & (starts <= ends) & (ends <= first_s + span[1] / span[0] + 1)
    cleaned = [clean_annotation(text, keep) if fit else None for text, fit in zip(texts, fits, strict=True)]
    chosen = [index for index, text in enumerate(cleaned) if text is not None]
    for text, kept in zip(texts, cleaned, strict=True):
        if kept is None:
            findings.add("Annotation", "R", text)
    findings.kept_annotations, findings.removed_annotations = len(chosen), len(texts) - len(chosen)
    if not chosen:
        return b""
    return _render([str(cleaned[index]) for index in chosen], starts[chosen], ends[chosen])


def _render(texts: list[str], starts: np.ndarray, ends: np.ndarray) -> bytes:
    block = struct.pack(">i", _NOTES)
    parts = [make_tag(FIFF.FIFF_BLOCK_START, FIFF.FIFFT_INT, block)]
    for kind, values in zip(_TIMES, (starts, ends), strict=True):
        parts.append(make_tag(kind, FIFF.FIFFT_FLOAT, values.astype(">f4").tobytes()))
    joined = ":".join(text.replace(":", "{COLON}") for text in texts)
    parts.append(make_tag(FIFF.FIFF_COMMENT, FIFF.FIFFT_STRING, joined.encode("utf-8")))
    return b"".join([*parts, make_tag(FIFF.FIFF_BLOCK_END, FIFF.FIFFT_INT, block)])


def _read_floats(stream: BinaryIO, tag: Tag | None) -> np.ndarray:
    if tag is None or tag.type not in (FIFF.FIFFT_FLOAT, FIFF.FIFFT_DOUBLE):
        return np.empty(0)
    return np.frombuffer(tag.read(stream), ">f4" if tag.type == FIFF.FIFFT_FLOAT else ">f8").astype(float)


def _find_first(stream: BinaryIO, tags: list[Tag]) -> int:
    """Return the number of the first sample."""
    first = next((tag for tag in tags if tag.kind == FIFF.FIFF_FIRST_SAMPLE and tag.block in RAW_BLOCKS), None)
    return struct.unpack(">i", first.read(stream))[0] if first and first.size == 4 else 0


def _find_shift(stream: BinaryIO, tags: list[Tag], first_s: float) -> float:
    """Return what is added to the onsets, in seconds, so that they mean the same without dates."""
    dates = [tag for tag in tags if tag.kind == FIFF.FIFF_MEAS_DATE]
    recorded = read_time(stream, [tag for tag in dates if tag.block == FIFF.FIFFB_MEAS_INFO])
    noted = read_time(stream, [tag for tag in dates if tag.block == _NOTES])
    if recorded is None:
        return 0.0
    return first_s if noted is None else noted - recorded


def read_time(stream: BinaryIO, tags: list[Tag]) -> float | None:
    """Return seconds since 1970 of a date: integers of seconds and microseconds, or floats of the same."""
    if not tags:
        return None
    data = tags[0].read(stream)
    if tags[0].type == FIFF.FIFFT_INT:
        values = np.frombuffer(data, ">i4").astype(float)
    else:
        values = _read_floats(stream, tags[0])
    if not len(values) or tuple(values) == NO_DATE:
        return None
    return float(values[0]) + (float(values[1]) * 1e-6 if len(values) > 1 else 0.0)


def list_texts(text: str) -> list[str]:
    """Return the texts within JSON, or the text."""
    try:
        values = [json.loads(text)]
    except ValueError:
        return [text]
    found = []
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            found.append(value)
    return found
