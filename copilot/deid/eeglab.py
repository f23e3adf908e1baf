"""EEGLAB: a structure written anew from known fields; samples stay in the file or in its ``.fdt`` file as they are.

Fields: EEGLAB tutorial, "EEGLAB's data structures". Files of MATLAB 7.3 (HDF5) are refused.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from scipy.io import loadmat, savemat

from copilot.deid.findings import Cleaned, Findings, damaged, describe_rates
from copilot.deid.samples import copy_bytes
from copilot.deid.words import clean_annotation
from dataset_builder.sources.channel_labels import clean_labels
from dataset_builder.sources.mat_check import check_mat

#: Numbers of a channel's place.
_PLACES = ("X", "Y", "Z", "theta", "radius", "sph_theta", "sph_phi", "sph_radius")

#: What channels can be, as readers know it.
_KINDS = {"eeg", "eog", "ecg", "emg", "misc", "stim", "ref", "seeg", "ecog", "bio"}

#: What the field for the reference usually says; ``common`` is written in any case.
_REFERENCES = {"common", "average", "averef", ""}

#: Matrices of a decomposition: numbers that belong to the channels.
_MATRICES = ("icaweights", "icasphere", "icawinv", "icachansind")

#: Where texts stand that say whom or what; others are of class R.
_FIELDS: dict[str, tuple[str, str]] = {
    "setname": ("Name of the set", "A"),
    "filename": ("File name", "A"),
    "datfile": ("File name", "A"),
    "data": ("Name of a side file", "A"),
    "filepath": ("Path", "A"),
    "subject": ("Patient code", "H"),
    "comments": ("Comment", "R"),
    "history": ("History", "R"),
    "group": ("Group", "R"),
    "condition": ("Condition", "R"),
    "session": ("Session", "R"),
    "chaninfo": ("Channel details", "R"),
    "event": ("Annotation", "R"),
    "urevent": ("Annotation", "R"),
}

_SUFFIX = ".set"

#: What MATLAB writes with the time of writing.
_SIGNATURE = b"MATLAB 5.0 MAT-file".ljust(116)


@dataclass(frozen=True)
class _Data:
    """Where the samples are: an array, or a file of 4-byte floats."""

    n_channels: int
    n_times: int
    sfreq_hz: float
    values: np.ndarray | None
    file: Path | None


def clean_eeglab(path: Path, keep: frozenset[str]) -> Cleaned:
    """Read an EEGLAB file; see `copilot.deid.edf.clean_edf`.

    Raises
    ------
    InputError
        If the file is damaged, of MATLAB 7.3 or cut into epochs, or its ``.fdt`` file is missing.
    """
    findings = Findings()
    fields = _load(path)
    data = _find_data(path, fields)
    _note_texts(fields, findings)
    channels = _clean_channels(fields, data.n_channels, findings)
    events = _clean_events(fields, data.n_times, findings, keep)
    matrices = {name: np.asarray(fields[name]) for name in _MATRICES if _is_numeric(fields.get(name))}

    def write(folder: Path, name: str) -> None:
        samples: Any = data.values if data.file is None else f"{name}.fdt"
        if data.file is not None:
            copy_bytes(data.file, folder / f"{name}.fdt", 4 * data.n_channels * data.n_times)
        (folder / f"{name}.set").write_bytes(_render(data, channels, events, matrices, name, samples))

    facts = describe_rates(data.n_channels, data.sfreq_hz, data.n_times / data.sfreq_hz)
    labels = ", ".join(channel["labels"] for channel in channels) or "not known"
    return Cleaned("EEGLAB", facts | {"Channel names": labels, "Units": "uV"}, findings, write)


def _load(path: Path) -> dict[str, Any]:
    check_mat(path, f"recording ({_SUFFIX})")
    values = loadmat(path, simplify_cells=True, appendmat=False)
    fields = values.get("EEG", values)
    fields = fields.get("EEG", fields) if isinstance(fields, dict) else {}
    if not {"nbchan", "pnts", "srate", "data"} <= fields.keys():
        raise damaged(_SUFFIX, "holds no EEGLAB recording")
    return {name: value for name, value in fields.items() if not name.startswith("__")}


def _find_data(path: Path, fields: dict[str, Any]) -> _Data:
    n_channels, n_times, sfreq_hz = int(fields["nbchan"]), int(fields["pnts"]), float(fields["srate"])
    if int(fields.get("trials", 1) or 1) != 1:
        raise damaged(_SUFFIX, "is cut into epochs; accepted: continuous recordings")
    if n_channels < 1 or n_times < 1 or not sfreq_hz > 0:
        raise damaged(_SUFFIX, "states an impossible number of channels, samples or rate")
    data = fields["data"]
    if isinstance(data, str):
        file = _find_side_file(path, data)
        if file is None or file.stat().st_size < 4 * n_channels * n_times:
            raise damaged(_SUFFIX, "its .fdt file is missing beside it or too short")
        return _Data(n_channels, n_times, sfreq_hz, None, file)
    if not _is_numeric(data) or np.size(data) != n_channels * n_times:
        raise damaged(_SUFFIX, "its samples do not fit its number of channels")
    return _Data(n_channels, n_times, sfreq_hz, np.asarray(data).reshape(n_channels, n_times), None)


def _find_side_file(path: Path, stated: str) -> Path | None:
    candidates = (path.parent / PureWindowsPath(stated).name, path.with_suffix(".fdt"))
    return next((file for file in candidates if file.suffix.lower() == ".fdt" and file.is_file()), None)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "fiu" and np.size(value) > 0


def _list_structs(value: Any) -> list[dict[str, Any]]:
    """Return a structure array as a list, whatever its length."""
    if isinstance(value, dict):
        columns = list(value.values())
        if columns and all(isinstance(column, (list, np.ndarray)) and np.ndim(column) for column in columns):
            return [dict(zip(value, row, strict=False)) for row in zip(*columns, strict=False)]
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, (list, np.ndarray)) else []


def _note_texts(fields: dict[str, Any], findings: Findings) -> None:
    """Note every text in fields that are not written; a field's own name may be free text too."""
    for name, value in fields.items():
        if name in ("chanlocs", "event") or (name == "ref" and str(value).lower() in _REFERENCES):
            continue
        place, kind = _FIELDS.get(name, ("Further field", "R"))
        for text in _walk(value):
            findings.add(place, kind, text)


def _walk(value: Any) -> Iterator[str]:
    """Yield the texts within a value, names of inner fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _walk(item)
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype.kind in "OUS"):
        for item in value if isinstance(value, (list, tuple)) else value.ravel().tolist():
            yield from _walk(item)


def _clean_channels(fields: dict[str, Any], n_channels: int, findings: Findings) -> list[dict[str, Any]]:
    found = _list_structs(fields.get("chanlocs"))
    if len(found) != n_channels:
        for text in _walk(fields.get("chanlocs")):
            findings.add("Channel details", "R", text)
        return []
    names = [str(channel.get("labels", "")) for channel in found]
    cleaned = []
    for channel, name, label in zip(found, names, clean_labels(names), strict=True):
        kind = channel.get("type")
        kept: dict[str, Any] = {"labels": label}
        kept["type"] = kind if isinstance(kind, str) and kind.lower() in _KINDS else ""
        kept |= {place: _keep_number(channel.get(place)) for place in _PLACES if place in channel}
        if name.strip() != label:
            findings.add("Channel name", "R", name)
        for key, value in channel.items():
            for text in _walk(value) if key not in ("labels", *_PLACES) else ():
                if text != kept["type"]:
                    findings.add("Channel details", "R", text)
        cleaned.append(kept)
    return cleaned


def _keep_number(value: Any) -> Any:
    number = isinstance(value, (int, float, np.integer, np.floating)) and np.isfinite(value)
    return float(value) if number else np.zeros((0, 0))


def _clean_events(
    fields: dict[str, Any], n_times: int, findings: Findings, keep: frozenset[str]
) -> list[dict[str, Any]]:
    """Return type, latency and duration of the events within the recording with known texts or trigger codes."""
    kept = []
    for event in _list_structs(fields.get("event")):
        of_type, latency = event.get("type", ""), _keep_number(event.get("latency"))
        cleaned = _clean_type(of_type, keep)
        for key, value in event.items():
            if key != "type":
                for text in _walk(value):
                    findings.add("Annotation's details", "R", text)
        duration = _keep_number(event.get("duration", 0.0))
        within = isinstance(latency, float) and 0 <= latency <= n_times + 1
        if cleaned is None or not within or (isinstance(duration, float) and not 0 <= duration <= n_times):
            findings.add("Annotation", "R", str(of_type))
            findings.removed_annotations += 1
            continue
        findings.kept_annotations += 1
        kept.append({"type": cleaned, "latency": latency, "duration": duration})
    return kept


def _clean_type(value: Any, keep: frozenset[str]) -> str | float | None:
    if isinstance(value, (int, float, np.integer, np.floating)):
        return float(value) if 0 <= value < 2**16 and float(value).is_integer() else None
    return clean_annotation(value, keep) if isinstance(value, str) else None


def _render(
    data: _Data,
    channels: list[dict[str, Any]],
    events: list[dict[str, Any]],
    matrices: dict[str, np.ndarray],
    name: str,
    samples: Any,
) -> bytes:
    own = {"setname": name, "filename": f"{name}.set", "filepath": "", "datfile": samples if data.file else ""}
    size = {"nbchan": data.n_channels, "trials": 1, "pnts": data.n_times, "srate": data.sfreq_hz}
    span = {"xmin": 0.0, "xmax": (data.n_times - 1) / data.sfreq_hz}
    empty = dict.fromkeys((*_MATRICES, "icaact", "epoch", "urevent", "times"), np.zeros((0, 0)))
    structs = {"chanlocs": _make_structs(channels), "event": _make_structs(events)}
    buffer = io.BytesIO()
    eeg = own | size | span | empty | {"ref": "common", "data": samples} | structs | matrices
    savemat(buffer, {"EEG": eeg}, appendmat=False, oned_as="row")
    return _SIGNATURE + buffer.getvalue()[len(_SIGNATURE) :]


def _make_structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return dictionaries with equal keys as MATLAB's structure array."""
    if not rows:
        return np.zeros((0, 0))
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for index, row in enumerate(rows):
        found[0, index] = tuple(row.get(name, np.zeros((0, 0))) for name in names)
    return found
