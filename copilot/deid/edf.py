"""EDF, EDF+, BDF: a new header from known fields, annotations filtered, samples copied byte for byte.

Layout: Kemp and Olivan 2003, Clin Neurophysiol 114:1755 (EDF+); BDF has 3-byte samples and another first byte.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from copilot.deid.findings import Cleaned, Findings, damaged, decode_text, describe_rates, parse_date
from copilot.deid.tal import AnnotationFilter, refuse_annotations
from copilot.deid.words import clean_filter, clean_unit
from dataset_builder.sources.channel_labels import clean_labels
from dataset_builder.sources.length_check import tell_difference

#: Fields of the first 256 bytes.
_MAIN = (8, 80, 80, 8, 8, 8, 44, 8, 8, 4)

#: Fields per signal, each for all signals before the next.
_PER_SIGNAL = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

_VERSIONS = {b"0       ": ("EDF", 2), b"\xffBIOSEMI": ("BDF", 3)}

#: What a patient's and a recording's line say when they say nothing, and the date that stands for none (EDF+).
_PATIENT, _RECORDING, _DATE, _TIME = "X X X X", "Startdate X X X X", "01.01.85", "00.00.00"

#: Which form a file has; other texts there are free.
_KINDS = ("EDF+C", "EDF+D", "BDF+C", "BDF+D", "24BIT")

_MAX_SIGNALS = 4096


@dataclass(frozen=True)
class _Header:
    """A header, checked; lists have one entry per signal."""

    title: str
    width: int
    kind: str
    offset: int
    n_records: int
    record_s: str
    labels: list[str]
    units: list[str]
    ranges: list[list[str]]
    filters: list[str]
    n_samples: list[int]
    text_signals: list[int]

    @property
    def record_bytes(self) -> int:
        return sum(self.n_samples) * self.width


def clean_edf(path: Path, keep: frozenset[str]) -> Cleaned:
    """Read the header of an EDF or BDF file.

    Parameters
    ----------
    path : Path
    keep : frozenset of str
        Annotations that may stay besides the known ones.

    Raises
    ------
    InputError
        If the file is not EDF or BDF, or damaged.
    """
    findings = Findings()
    with path.open("rb") as stream:
        header = _read_header(stream, path.suffix.lower(), findings, path.stat().st_size)

    def write(folder: Path, name: str) -> None:
        with path.open("rb") as source, (folder / f"{name}.{header.title.lower()}").open("wb") as target:
            source.seek(header.offset)
            target.write(_render_header(header))
            target.writelines(_copy_records(source, header, findings, keep))

    return Cleaned(header.title, _tell(header), findings, write)


def _read_header(stream: BinaryIO, suffix: str, findings: Findings, size: int) -> _Header:
    main = _split(stream.read(256), _MAIN, 1)
    if not main or main[0][0] not in _VERSIONS:
        raise damaged(suffix, "is no EDF or BDF file")
    title, width = _VERSIONS[main[0][0]]
    texts = [decode_text(value[0]).strip() for value in main]
    n_signals = _read_count(texts[9], suffix, "number of signals", _MAX_SIGNALS)
    fields = _split(stream.read(256 * n_signals), _PER_SIGNAL, n_signals)
    if not fields:
        raise damaged(suffix, "ends within its header")
    rows = [[decode_text(value).strip() for value in values] for values in fields]
    kind = next((known for known in _KINDS if texts[6].startswith(known)), "24BIT" if width == 3 else "")
    _note_main(texts, kind, findings)
    _note_signals(rows, findings)
    for values in (*rows[3:7], [texts[8]]):
        if not all(_NUMBER.fullmatch(value) for value in values):
            raise damaged(suffix, "a range or the length of a record is no number")
    n_samples = [_read_count(value, suffix, "samples per record", 2**24) for value in rows[8]]
    offset = _read_count(texts[5], suffix, "length of the header", 256 * (_MAX_SIGNALS + 1))
    if offset < 256 * (n_signals + 1) or not sum(n_samples):
        raise damaged(suffix, "its header states an impossible length")
    n_records = (size - offset) // (sum(n_samples) * width)
    stated = int(texts[7]) if re.fullmatch(r"\d+", texts[7]) else n_records
    if n_records < 1:
        raise damaged(suffix, "holds no complete data record")
    # What stands behind the records that are stated can be samples or a text.
    if problem := tell_difference(n_records, stated, float(texts[8]) or 1.0):
        raise damaged(suffix, problem)
    ranges = [list(row) for row in zip(*rows[3:7], strict=True)]
    texts_at = [index for index, label in enumerate(rows[0]) if label == f"{title} Annotations"]
    if sum("annotation" in label.lower() for label in rows[0]) > len(texts_at):
        raise damaged(suffix, f"a signal is called annotations, but not {title} Annotations as readers need it")
    labels = clean_labels(rows[0])
    return _Header(
        title=title,
        width=width,
        kind=kind,
        offset=offset,
        n_records=n_records,
        record_s=texts[8],
        labels=labels,
        units=[clean_unit(unit) for unit in rows[2]],
        ranges=ranges,
        filters=[clean_filter(text) for text in rows[7]],
        n_samples=n_samples,
        text_signals=texts_at,
    )


def _split(data: bytes, widths: tuple[int, ...], count: int) -> list[list[bytes]]:
    """Return the fields of `count` signals by field; empty where data are missing."""
    if len(data) < sum(widths) * count or not count:
        return []
    fields, at = [], 0
    for width in widths:
        fields.append([data[at + width * item : at + width * (item + 1)] for item in range(count)])
        at += width * count
    return fields


def _read_count(text: str, suffix: str, what: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,8}", text) or int(text) > most:
        raise damaged(suffix, f"its {what} is no number from 0 to {most}")
    return int(text)


def _note_main(texts: list[str], kind: str, findings: Findings) -> None:
    patient, recording = texts[1].split(), texts[2].split()
    if len(patient) >= 4 and kind.endswith(("+C", "+D")):
        code, sex, born, *name = patient
        findings.sex = sex if sex in ("F", "M") else None
        findings.born = parse_date(born)
        parts = {"Patient code": ("H", code), "Birth date": ("C", born), "Patient": ("A", " ".join(name))}
        if findings.sex is None:
            parts["Patient's sex, free text"] = ("R", sex)
    else:
        parts = {"Patient": ("A", texts[1])}
    if len(recording) >= 5 and recording[0].lower() == "startdate":
        findings.recorded = parse_date(recording[1])
        parts["Recording date"] = ("C", recording[1])
        parts |= {"Administration code": ("R", recording[2]), "Technician": ("A", recording[3])}
        parts["Equipment"] = ("M", " ".join(recording[4:]))
    else:
        parts["Recording"] = ("R", texts[2])
    if (texts[3], texts[4]) != (_DATE, _TIME):
        parts |= {"Start date": ("C", texts[3]), "Start time": ("C", texts[4])}
        findings.recorded = findings.recorded or _read_short_date(texts[3])
    if texts[6] not in (*_KINDS, ""):
        parts["Reserved field"] = ("R", texts[6].removeprefix(kind))
    for place, (letter, text) in parts.items():
        findings.add(place, letter, text)


def _note_signals(rows: list[list[str]], findings: Findings) -> None:
    labels = clean_labels(rows[0])
    for row, label in zip(zip(*rows, strict=True), labels, strict=True):
        for place, letter, found, kept in (
            ("Channel name", "R", " ".join(row[0].split()), label),
            ("Transducer", "M", row[1], ""),
            ("Unit, free text", "R", row[2], clean_unit(row[2]) and row[2]),
            ("Filters, free text", "R", " ".join(row[7].split()), clean_filter(row[7])),
            ("Reserved field of a channel", "R", row[9], ""),
        ):
            if found != kept:
                findings.add(place, letter, found)


def _read_short_date(text: str) -> date | None:
    """Read ``dd.mm.yy``; years are 1985 to 2084 (EDF+)."""
    if not re.fullmatch(r"\d\d\.\d\d\.\d\d", text):
        return None
    year = int(text[6:])
    return parse_date(f"{text[:5]}.{year + (1900 if year >= 85 else 2000)}")


def _render_header(header: _Header) -> bytes:
    """Return a header of known texts and numbers only; all of it is ASCII."""
    count = len(header.labels)
    version = next(mark for mark, (title, _) in _VERSIONS.items() if title == header.title)
    main = [_PATIENT, _RECORDING, _DATE, _TIME, str(256 * (count + 1)), header.kind]
    main += [str(header.n_records), header.record_s, str(count)]
    empty = [""] * count
    columns = [header.labels, empty, header.units, *map(list, zip(*header.ranges, strict=True)), header.filters]
    columns += [[str(number) for number in header.n_samples], empty]
    parts = [_pad(text, width) for text, width in zip(main, _MAIN[1:], strict=True)]
    parts += [_pad(text, width) for texts, width in zip(columns, _PER_SIGNAL, strict=True) for text in texts]
    return version + b"".join(parts)


def _pad(text: str, width: int) -> bytes:
    return text[:width].ljust(width).encode("ascii")


def _copy_records(source: BinaryIO, header: _Header, findings: Findings, keep: frozenset[str]) -> Iterator[bytes]:
    """Yield the data records; bytes of signals as they are, those of annotations with known texts only."""
    record_s = float(header.record_s)
    continuous = not header.kind.endswith("+D")
    cleaner = AnnotationFilter(findings, keep, header.n_records * record_s if continuous and record_s else None)
    bounds = [0]
    for number in header.n_samples:
        bounds.append(bounds[-1] + number * header.width)
    samples_at = [index for index in range(len(header.labels)) if index not in header.text_signals]
    for number in range(header.n_records):
        record = bytearray(source.read(header.record_bytes))
        for place, index in enumerate(header.text_signals):  # the first states each record's time
            start, stop = bounds[index], bounds[index + 1]
            onset_s = number * record_s if continuous and not place else None
            record[start:stop] = cleaner.clean(bytes(record[start:stop]), onset_s, keeps_time=not place)
        for index in samples_at:
            refuse_annotations(bytes(record[bounds[index] : bounds[index + 1]]))
        yield bytes(record)


def _tell(header: _Header) -> dict[str, str]:
    kept = [index for index in range(len(header.labels)) if index not in header.text_signals]
    most = max((header.n_samples[index] for index in kept), default=0)
    record_s = float(header.record_s)
    rate = most / record_s if record_s else 0.0
    facts = describe_rates(len(kept), rate, header.n_records * record_s)
    units = sorted({header.units[index] or "not known" for index in kept})
    return facts | {"Channel names": ", ".join(header.labels[index] for index in kept), "Units": ", ".join(units)}
