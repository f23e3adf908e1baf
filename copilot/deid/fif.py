"""FIF: known tags copied byte for byte, channels, bad channels and annotations rewritten, all else left out.

Projectors, compensation and points on the head's surface are among what is left out. Saving through a reader would
round the samples again and write the address of this machine's network card as the file's identity.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mne.io.constants import FIFF

from copilot.deid.fif_notes import NO_DATE, RAW_BLOCKS, clean_notes, list_texts, read_list, read_time
from copilot.deid.fif_tags import Tag, list_tags, make_tag
from copilot.deid.findings import Cleaned, Findings, damaged, decode_text, describe_rates
from dataset_builder.sources.channel_labels import clean_labels

_INFO, _DIG = FIFF.FIFFB_MEAS_INFO, FIFF.FIFFB_ISOTRAK
_BADS, _NOTES, _NAMES = FIFF.FIFFB_MNE_BAD_CHANNELS, FIFF.FIFFB_MNE_ANNOTATIONS, FIFF.FIFFB_CH_INFO

#: Blocks that are kept; whatever lies in another is left out.
_BLOCKS = {FIFF.FIFFB_ROOT, FIFF.FIFFB_MEAS, _INFO, _DIG, *RAW_BLOCKS}

#: Tags that are kept as they are, by block: numbers, all of them.
_KEPT: dict[int, set[int]] = {
    _INFO: {
        FIFF.FIFF_NCHAN,
        FIFF.FIFF_SFREQ,
        FIFF.FIFF_LOWPASS,
        FIFF.FIFF_HIGHPASS,
        FIFF.FIFF_LINE_FREQ,
        FIFF.FIFF_DATA_PACK,
        FIFF.FIFF_MNE_CUSTOM_REF,
        FIFF.FIFF_COORD_TRANS,
    },
    **dict.fromkeys(
        RAW_BLOCKS, {FIFF.FIFF_FIRST_SAMPLE, FIFF.FIFF_DATA_SKIP, FIFF.FIFF_DATA_SKIP_SAMP, FIFF.FIFF_DATA_BUFFER}
    ),
}

_SIZES = {FIFF.FIFFT_SHORT: 2, FIFF.FIFFT_DAU_PACK16: 2, FIFF.FIFFT_INT: 4, FIFF.FIFFT_FLOAT: 4, FIFF.FIFFT_DOUBLE: 8}

#: Left-out tags that say whom or what; any other text is of class R.
_PLACES: dict[int, tuple[str, str]] = {
    FIFF.FIFF_SUBJ_FIRST_NAME: ("Patient", "A"),
    FIFF.FIFF_SUBJ_MIDDLE_NAME: ("Patient", "A"),
    FIFF.FIFF_SUBJ_LAST_NAME: ("Patient", "A"),
    FIFF.FIFF_SUBJ_HIS_ID: ("Patient code", "H"),
    FIFF.FIFF_SUBJ_ID: ("Patient code", "H"),
    FIFF.FIFF_SUBJ_BIRTH_DAY: ("Birth date", "C"),
    FIFF.FIFF_MEAS_DATE: ("Start date", "C"),
    FIFF.FIFF_EXPERIMENTER: ("Technician", "A"),
    FIFF.FIFF_PROJ_NAME: ("Project", "R"),
    FIFF.FIFF_DESCRIPTION: ("Description", "R"),
    FIFF.FIFF_FILE_ID: ("Identity of the recorder", "M"),
    FIFF.FIFF_BLOCK_ID: ("Identity of the recorder", "M"),
    FIFF.FIFF_PARENT_BLOCK_ID: ("Identity of the recorder", "M"),
    FIFF.FIFF_PARENT_FILE_ID: ("Identity of the recorder", "M"),
}

_DEVICE_BLOCKS = {FIFF.FIFFB_DEVICE, FIFF.FIFFB_HELIUM}

#: Where a channel's name stands in its description, and how long it may be with its final zero.
_NAME_AT, _NAME_BYTES = 80, 16


@dataclass
class _Recording:
    """What is needed of a file to write it anew."""

    tags: list[Tag]
    labels: list[str]
    bads: list[str]
    notes: bytes
    sfreq_hz: float
    n_times: int


def clean_fif(path: Path, keep: frozenset[str]) -> Cleaned:
    """Read the tags of a FIF file; see `copilot.deid.edf.clean_edf`.

    Raises
    ------
    InputError
        If the file is damaged, holds no raw data, or is one part of several.
    """
    findings = Findings()
    with path.open("rb") as stream:
        recording = _read(stream, path.stat().st_size, findings, keep)

    def write(folder: Path, name: str) -> None:
        with path.open("rb") as source, (folder / f"{name}.fif").open("wb") as target:
            target.writelines(_write_tags(source, recording))

    facts = describe_rates(len(recording.labels), recording.sfreq_hz, recording.n_times / recording.sfreq_hz)
    return Cleaned("FIF", facts | {"Channel names": ", ".join(recording.labels), "Units": "V"}, findings, write)


def _read(stream: BinaryIO, size: int, findings: Findings, keep: frozenset[str]) -> _Recording:
    tags = list(list_tags(stream, size))
    if any(tag.block == FIFF.FIFFB_REF for tag in tags):
        raise damaged(".fif", "is one part of several; save them as one file first")
    raw = [tag for tag in tags if tag.block in RAW_BLOCKS and tag.kind == FIFF.FIFF_DATA_BUFFER]
    numbers = {
        tag.kind: tag.read(stream)
        for tag in tags
        if tag.block == _INFO and tag.size == 4 and tag.kind in (FIFF.FIFF_NCHAN, FIFF.FIFF_SFREQ)
    }
    if any(tag.block == FIFF.FIFFB_MNE_EPOCHS for tag in tags):
        raise damaged(".fif", "is cut into epochs; accepted: continuous recordings")
    if not raw or len(numbers) != 2 or any(tag.type not in _SIZES for tag in raw):
        raise damaged(".fif", "holds no raw recording")
    n_channels, sfreq_hz = struct.unpack(">if", numbers[FIFF.FIFF_NCHAN] + numbers[FIFF.FIFF_SFREQ])
    short, names = _read_names(stream, tags)
    if len(names) != n_channels or not n_channels or not sfreq_hz > 0:
        raise damaged(".fif", f"describes {len(names)} of {n_channels} channels")
    labels = [label if len(label) < _NAME_BYTES else f"ch{i + 1}" for i, label in enumerate(clean_labels(names))]
    for name, label in zip(names, labels, strict=True):
        if name != label:
            findings.add("Channel name", "R", name)
    marked = set(read_list(stream, tags, _BADS))  # by the short names
    bads = [label for *both, label in zip(short, names, labels, strict=True) if marked & set(both)]
    n_times = sum(tag.size // _SIZES[tag.type] for tag in raw) // n_channels
    notes = clean_notes(stream, tags, findings, keep, (sfreq_hz, n_times))
    for tag in tags:
        _note_left_out(stream, tag, findings)
    return _Recording(tags, labels, bads, notes, sfreq_hz, n_times)


def _read_names(stream: BinaryIO, tags: list[Tag]) -> tuple[list[str], list[str]]:
    """Return the names in the channels' descriptions, and the long ones that newer files have besides."""
    found = [tag.read(stream) for tag in tags if tag.block == _INFO and tag.kind == FIFF.FIFF_CH_INFO]
    short = [decode_text(data[_NAME_AT:].split(b"\x00")[0]).strip() for data in found]
    long = [tag for tag in tags if tag.block == _NAMES and tag.kind == FIFF.FIFF_CH_DACQ_NAME]
    full = [decode_text(tag.read(stream)).strip() for tag in long] if len(long) == len(short) else short
    return short, full


def _note_left_out(stream: BinaryIO, tag: Tag, findings: Findings) -> None:
    """Note what a tag says that will not be written."""
    if tag.kind == FIFF.FIFF_MEAS_DATE and (seconds := read_time(stream, [tag])) is not None:
        moment = datetime.fromtimestamp(max(0.0, min(seconds, 4e9)), UTC)
        findings.recorded = findings.recorded or moment.date()
        findings.add("Start date", "C", moment.isoformat())
    elif tag.kind == FIFF.FIFF_SUBJ_SEX and tag.size == 4:
        findings.sex = {1: "M", 2: "F"}.get(struct.unpack(">i", tag.read(stream))[0])
    elif tag.kind == FIFF.FIFF_SUBJ_BIRTH_DAY and tag.size == 4:
        day = struct.unpack(">i", tag.read(stream))[0]
        if 2_400_000 < day < 2_500_000:  # Julian; 1970-01-01 is 2440588
            findings.born = datetime.fromtimestamp((day - 2_440_588) * 86400, UTC).date()
        findings.add("Birth date", "C", str(day))
    elif tag.type == FIFF.FIFFT_STRING and tag.block not in (_NAMES, _BADS, _NOTES):
        place, kind = _PLACES.get(tag.kind, ("Text", "M" if set(tag.blocks) & _DEVICE_BLOCKS else "R"))
        findings.add(place, kind, decode_text(tag.read(stream)))
    elif tag.type == FIFF.FIFFT_STRING and tag.block == _NOTES and tag.kind != FIFF.FIFF_COMMENT:
        for text in list_texts(decode_text(tag.read(stream))):
            findings.add("Annotation's details", "R", text)
    elif tag.kind in _PLACES:
        place, kind = _PLACES[tag.kind]
        findings.add(place, kind, tag.read(stream).hex())


def _write_tags(source: BinaryIO, recording: _Recording) -> Iterator[bytes]:
    yield make_tag(FIFF.FIFF_FILE_ID, FIFF.FIFFT_ID_STRUCT, struct.pack(">5i", 65540, 0, 0, *NO_DATE))
    yield make_tag(FIFF.FIFF_DIR_POINTER, FIFF.FIFFT_INT, struct.pack(">i", -1))
    names = iter(recording.labels)
    for tag in recording.tags:
        if not set(tag.blocks) <= _BLOCKS:
            continue
        if tag.kind == FIFF.FIFF_BLOCK_START and tag.block in RAW_BLOCKS:
            yield recording.notes
        if tag.kind in (FIFF.FIFF_BLOCK_START, FIFF.FIFF_BLOCK_END) and tag.blocks:
            if tag.kind == FIFF.FIFF_BLOCK_END and tag.block == _INFO:
                yield _make_bads(recording.bads)
            yield make_tag(tag.kind, FIFF.FIFFT_INT, struct.pack(">i", tag.block))
        elif tag.kind == FIFF.FIFF_CH_INFO and tag.block == _INFO:
            name = next(names).encode("ascii").ljust(_NAME_BYTES, b"\x00")
            yield make_tag(tag.kind, FIFF.FIFFT_CH_INFO_STRUCT, tag.read(source)[:_NAME_AT].ljust(_NAME_AT) + name)
        elif tag.kind in _KEPT.get(tag.block, ()) and tag.type != FIFF.FIFFT_STRING:
            yield make_tag(tag.kind, tag.type, tag.read(source))
        elif tag.kind == FIFF.FIFF_DIG_POINT and tag.block == _DIG and _is_electrode(tag.read(source)):
            yield make_tag(tag.kind, tag.type, tag.read(source)[:20])
    yield make_tag(FIFF.FIFF_NOP, FIFF.FIFFT_VOID, b"", last=True)


def _is_electrode(point: bytes) -> bool:
    """Tell electrodes and fiducials from points on the head's surface, which show the shape of a face."""
    return len(point) >= 20 and struct.unpack(">i", point[:4])[0] in (FIFF.FIFFV_POINT_CARDINAL, FIFF.FIFFV_POINT_EEG)


def _make_bads(bads: list[str]) -> bytes:
    if not bads:
        return b""
    block = struct.pack(">i", _BADS)
    names = ":".join(name.replace(":", "{COLON}") for name in bads).encode("ascii")
    tags = [(FIFF.FIFF_BLOCK_START, FIFF.FIFFT_INT, block), (FIFF.FIFF_MNE_CH_NAME_LIST, FIFF.FIFFT_STRING, names)]
    return b"".join(make_tag(*tag) for tag in (*tags, (FIFF.FIFF_BLOCK_END, FIFF.FIFFT_INT, block)))
