"""BrainVision: header and marker files written anew from known entries, samples copied byte for byte.

Core Data Format 1.0 (Brain Products, CC0): two text files in the form of INI files and one with binary samples.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from copilot.deid.findings import Cleaned, Findings, damaged, decode_text, describe_rates
from copilot.deid.samples import copy_bytes
from copilot.deid.words import clean_annotation, clean_unit
from dataset_builder.sources.channel_labels import clean_label, clean_labels
from dataset_builder.sources.length_check import SAMPLE_BYTES, check_frames

_NUMBER = re.compile(r"[-+]?\d{1,12}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?")

#: Kinds of markers; any other text there is free.
_MARKERS = "New Segment,Stimulus,Response,Comment,SyncStatus,Event,Optic,Time 0,Bad Interval,Toggle,Pulse Artifact"

#: Entries of the header whose text is only counted as removed when it is none of the technical ones.
_TECHNICAL = {
    "codepage",
    "datafile",
    "markerfile",
    "dataformat",
    "dataorientation",
    "datatype",
    "numberofchannels",
    "samplinginterval",
    "binaryformat",
    "datapoints",
    "segmentationtype",
    "averaged",
    "averagedsegments",
}


@dataclass(frozen=True)
class _Header:
    data: Path
    n_channels: int
    interval_us: str
    orientation: str
    binary_format: str
    channels: list[list[str]]
    coordinates: dict[int, str]
    markers: list[str]

    @property
    def frame_bytes(self) -> int:
        return self.n_channels * SAMPLE_BYTES[self.binary_format]


def clean_brainvision(path: Path, keep: frozenset[str]) -> Cleaned:
    """Read a BrainVision header file and its markers; see `copilot.deid.edf.clean_edf`.

    Raises
    ------
    InputError
        If a file is damaged or missing, or samples are written as text.
    """
    findings = Findings()
    header = _read(path, findings, keep)
    n_times = header.data.stat().st_size // header.frame_bytes

    def write(folder: Path, name: str) -> None:
        (folder / f"{name}.vhdr").write_bytes(_render_header(header, name, n_times))
        (folder / f"{name}.vmrk").write_bytes(_render_markers(header, name))
        copy_bytes(header.data, folder / f"{name}.eeg", n_times * header.frame_bytes)

    sfreq_hz = 1e6 / float(header.interval_us)
    facts = describe_rates(header.n_channels, sfreq_hz, n_times / sfreq_hz)
    labels, units = [row[0] for row in header.channels], sorted({row[3] or "uV" for row in header.channels})
    facts |= {"Channel names": ", ".join(labels), "Units": ", ".join(units)}
    return Cleaned("BrainVision", facts, findings, write)


def _read(path: Path, findings: Findings, keep: frozenset[str]) -> _Header:
    sections, comment = _parse(path)
    common, binary = sections.get("common infos", {}), sections.get("binary infos", {})
    count, interval = common.get("numberofchannels", ""), common.get("samplinginterval", "")
    orientation = common.get("dataorientation", "").upper()
    if not re.fullmatch(r"[1-9]\d{0,3}", count) or not _NUMBER.fullmatch(interval) or not float(interval) > 0:
        raise damaged(".vhdr", "states no number of channels or no sampling interval")
    if common.get("dataformat", "").upper() != "BINARY" or binary.get("binaryformat", "").upper() not in SAMPLE_BYTES:
        raise damaged(".vhdr", f"samples are in no binary format; accepted: {', '.join(SAMPLE_BYTES)}")
    if orientation not in ("MULTIPLEXED", "VECTORIZED"):
        raise damaged(".vhdr", "DataOrientation is neither MULTIPLEXED nor VECTORIZED")
    _note_texts(sections, findings)
    channels = _clean_channels(sections.get("channel infos", {}), int(count), findings)
    _note_comment(comment, [interval, *(row[2] for row in channels)], findings)
    data = _find_companion(path, common.get("datafile", ""), (".eeg", ".dat"))
    if data is None:
        raise damaged(".vhdr", "a file that belongs to it is missing beside it")
    frame_bytes = int(count) * SAMPLE_BYTES[binary["binaryformat"].upper()]
    size = data.stat().st_size
    if problem := check_frames(size, frame_bytes, common.get("datapoints", ""), float(interval) / 1e6):
        raise damaged(".vhdr", problem)
    markers = _find_companion(path, common.get("markerfile", ""), (".vmrk",)) if "markerfile" in common else None
    return _Header(
        data=data,
        n_channels=int(count),
        interval_us=interval,
        orientation=orientation,
        binary_format=binary["binaryformat"].upper(),
        channels=channels,
        coordinates=_clean_coordinates(sections.get("coordinates", {}), int(count)),
        markers=_clean_markers(markers, findings, keep, size // frame_bytes) if markers else [],
    )


def _parse(path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return entries by section, keys in small letters, and the lines that are none."""
    text = decode_text(path.read_bytes())
    sections: dict[str, dict[str, str]] = {}
    rest: list[str] = []
    current, commenting = "", False
    for line in (line.strip() for line in text.splitlines()[1:]):
        key, equals, value = line.partition("=")
        if (match := re.fullmatch(r"\[(.*)\]", line)) and not commenting:
            current = match.group(1).strip().lower()
            commenting = current == "comment"
        elif not line or line.startswith("; ") and set(line) <= set("; -="):
            continue
        elif equals and current and not commenting and not line.startswith(";"):
            sections.setdefault(current, {})[key.strip().lower()] = value.strip()
        else:
            rest.append(line)
    return sections, rest


def _note_texts(sections: dict[str, dict[str, str]], findings: Findings) -> None:
    """Note entries that are not written: those of unknown sections and names, and the names of files."""
    known = ("common infos", "binary infos", "channel infos", "coordinates")
    for section, entries in sections.items():
        for key, value in entries.items():
            if key in ("datafile", "markerfile"):
                findings.add("Name of a side file", "A", value.rpartition(".")[0] if "." in value else value)
            elif section not in known or (section in known[:2] and key not in _TECHNICAL):
                findings.add("Further entry", "R", value)


def _note_comment(lines: list[str], numbers: list[str], findings: Findings) -> None:
    """Note lines of comments, but for the decimal numbers in them that the new header states as well.

    Recorders repeat the interval and every channel's resolution there.
    """
    kept = {number for number in numbers if "." in number}
    for line in lines:
        findings.add("Comment", "R", " ".join(word for word in line.split() if word not in kept))


def _find_companion(path: Path, stated: str, suffixes: tuple[str, ...]) -> Path | None:
    """Return the file that a header names, which lies beside it, or the one that is called like the header."""
    name = PurePosixPath(stated.replace("\\", "/").replace("$b", path.stem)).name
    candidates = [path.parent / name] if name else []
    candidates += [path.with_suffix(suffix) for suffix in suffixes]
    return next((candidate for candidate in candidates if candidate.is_file() and candidate != path), None)


def _clean_channels(entries: dict[str, str], count: int, findings: Findings) -> list[list[str]]:
    """Return name, reference, resolution and unit per channel."""
    rows = [(entries.get(f"ch{index + 1}", "").split(",") + [""] * 4)[:4] for index in range(count)]
    names = [row[0].replace("\\1", ",") for row in rows]
    cleaned = []
    for index, (row, label) in enumerate(zip(rows, clean_labels(names), strict=True)):
        reference = row[1].strip()
        kept = reference if reference and clean_label(reference, index) == reference else ""
        unit, resolution = clean_unit(row[3]), row[2].strip()
        for place, found, left in (
            ("Channel name", names[index].strip(), label),
            ("Reference, free text", reference, kept),
            ("Unit, free text", row[3].strip(), unit and row[3].strip()),
        ):
            if found != left:
                findings.add(place, "R", found)
        if resolution and not _NUMBER.fullmatch(resolution):
            raise damaged(".vhdr", "a channel's resolution is no number")
        cleaned.append([label.replace(",", "\\1"), kept, resolution, unit])
    return cleaned


def _clean_coordinates(entries: dict[str, str], count: int) -> dict[int, str]:
    """Return the places of electrodes that are three numbers."""
    found = {index + 1: entries.get(f"ch{index + 1}", "") for index in range(count)}
    parts = {index: [part.strip() for part in text.split(",")] for index, text in found.items()}
    return {
        index: ",".join(three)
        for index, three in parts.items()
        if len(three) == 3 and all(_NUMBER.fullmatch(part) for part in three)
    }


def _clean_markers(path: Path, findings: Findings, keep: frozenset[str], n_times: int) -> list[str]:
    """Return ``type,description,position,size,channel`` of the markers with known texts within the recording."""
    sections, rest = _parse(path)
    for line in rest:
        findings.add("Comment", "R", line)
    for section, entries in sections.items():
        for key, value in entries.items():
            if section != "marker infos" and key not in ("codepage", "datafile"):
                findings.add("Further entry", "R", value)
    kept = []
    for value in sections.get("marker infos", {}).values():
        kind, text, *numbers = (part.strip() for part in (value + ",,,,").split(",")[:6])
        cleaned = "" if not text else clean_annotation(text.replace("\\1", ","), keep)
        if dated := re.fullmatch(r"(\d{4})(\d\d)(\d\d)\d{12}", numbers[3] if len(numbers) > 3 else ""):
            findings.add("Start date", "C", dated.group())
            findings.recorded = findings.recorded or _read_date(dated)
        elif len(numbers) > 3:
            findings.add("Further entry", "R", numbers[3])
        fits = all(re.fullmatch(r"-?\d{1,10}", number) and int(number) <= n_times + 1 for number in numbers[:3])
        if kind in _MARKERS.split(",") and fits and cleaned is not None:
            kept.append(",".join([kind, cleaned.replace(",", "\\1"), *numbers[:3]]))
            findings.kept_annotations += bool(text)
        else:
            findings.add("Annotation", "R", text if kind in _MARKERS.split(",") else f"{kind} {text}")
            findings.removed_annotations += 1
    return kept


def _read_date(match: re.Match[str]) -> date | None:
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _render_header(header: _Header, name: str, n_times: int) -> bytes:
    lines = ["Brain Vision Data Exchange Header File Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    lines += [f"DataFile={name}.eeg", f"MarkerFile={name}.vmrk", "DataFormat=BINARY"]
    lines += [f"DataOrientation={header.orientation}", f"NumberOfChannels={header.n_channels}"]
    lines += [f"DataPoints={n_times}"] * (header.orientation == "VECTORIZED")
    lines += [f"SamplingInterval={header.interval_us}", "", "[Binary Infos]", f"BinaryFormat={header.binary_format}"]
    lines += ["", "[Channel Infos]"]
    lines += [f"Ch{index}={','.join(row)}" for index, row in enumerate(header.channels, start=1)]
    if header.coordinates:
        lines += ["", "[Coordinates]", *(f"Ch{index}={text}" for index, text in header.coordinates.items())]
    return "\r\n".join([*lines, ""]).encode("utf-8")


def _render_markers(header: _Header, name: str) -> bytes:
    lines = ["Brain Vision Data Exchange Marker File, Version 1.0", "", "[Common Infos]", "Codepage=UTF-8"]
    lines += [f"DataFile={name}.eeg", "", "[Marker Infos]"]
    lines += [f"Mk{number}={marker}" for number, marker in enumerate(header.markers, start=1)]
    return "\r\n".join([*lines, ""]).encode("utf-8")
