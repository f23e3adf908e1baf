"""``recordings``: a folder of one's own recordings and a table with one line per trial.

Columns of the table (`recording_table`): ``file, subject, label, onset_s``; optional ``duration_s`` or ``end_s``,
``clip``, ``rank``, ``age``, ``sex``, ``rating_joy`` and the other ratings, and facial features under any name that the
recipe lists. Files are EDF, BDF, FIF, EEGLAB, BrainVision, or NumPy arrays of shape (n_channels, n_times) in µV whose
``sfreq_hz`` and ``channels`` stand in the table or in a JSON file of the same name.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.filters import check_rate, filter_signal
from dataset_builder.preprocess import PreprocessingConfig, preprocess_recording
from dataset_builder.sources.array_files import open_array
from dataset_builder.sources.base import Layout, SourceInfo
from dataset_builder.sources.faced_tables import is_synthetic
from dataset_builder.sources.folder_config import LABELS_ARE, FolderConfig
from dataset_builder.sources.folder_fake import FAKE_FACIAL, write_folder
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS
from dataset_builder.sources.recording_files import (
    SUFFIXES,
    find_unit_scale,
    list_names,
    open_recording,
    quietly,
    select_channels,
)
from dataset_builder.sources.recording_table import check_clips, read_table
from dataset_builder.sources.table_rows import TableRow, rank_rows, tabulate_ratings
from dataset_builder.types import SCALP_CHANNELS, Recording

#: Files that some formats keep their samples and markers in, beside the one that the table names.
_COMPANIONS = {".set": (".fdt",), ".vhdr": (".eeg", ".vmrk", ".dat"), ".npy": (".json",)}

#: A trial that ends this far after the last sample is still cut, seconds: onsets are often rounded.
_END_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class _OpenFile:
    """One file of a subject, no sample loaded, and its lines of the table."""

    raw: mne.io.BaseRaw
    name: str
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]

    @property
    def sfreq_hz(self) -> float:
        return float(self.raw.info["sfreq"])

    @property
    def length_s(self) -> float:
        return self.raw.n_times / self.sfreq_hz


class RecordingsSource(Layout):
    """A folder of recordings with a table. See the module for both.

    Parameters
    ----------
    root : Path
        The folder.
    config : FolderConfig, optional
    preprocessing : PreprocessingConfig, optional
    """

    Config = FolderConfig

    def __init__(
        self, root: Path, config: FolderConfig | None = None, preprocessing: PreprocessingConfig | None = None
    ) -> None:
        super().__init__(root, config, preprocessing)
        if not self.root.is_dir():
            raise InputError(f"{self.root.name}: no such folder; expected one with {self.config.table}")
        rows, notes = read_table(self._table, self.config.table, self.config.labels, self.config.facial_features)
        if self.config.labels_are == "evoked":
            check_clips(rows, self.config.table)
        self._notes = tuple(notes)
        self._rows: dict[str, list[TableRow]] = defaultdict(list)
        for row in rows:
            self._rows[row.subject].append(row)

    @property
    def _table(self) -> Path:
        return self.root / self.config.table

    @property
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population: what the recipe states."""
        synthetic = is_synthetic(self.root)
        told = self.config
        population = "Nobody was recorded: all subjects are made up." if synthetic else told.population
        return SourceInfo(
            name="recordings",
            title="Synthetic recordings in a folder" if synthetic else told.title,
            synthetic=synthetic,
            licence_id="apache-2.0" if synthetic else told.licence_id,
            licence_name="Apache-2.0" if synthetic else told.licence_name,
            citation="Made up for tests and trials of this software." if synthetic else told.citation,
            url=told.url,
            population=f"{population} {LABELS_ARE[told.labels_are]}",
        )

    def subjects(self) -> list[str]:
        """Return the pseudonyms of the table, sorted."""
        return sorted(self._rows)

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject; see `Source.read`. All trials have the channels that all of the subject's files have."""
        rows = self._subject_rows(subject)
        files = [self._open(tuple(group)) for group in _group_by_file(rows)]
        channels, notes = _share_channels(files)
        parts: dict[int, np.ndarray] = {}
        for number, file in enumerate(files, start=1):
            signal_uv, found = self._cut(file)
            parts |= {row.line: trial for row, trial in zip(file.rows, signal_uv, strict=True)}
            where = f"file {number} of {len(files)}: " if len(files) > 1 else ""
            notes += [f"{where}{note}" for note in (*file.notes, *found)]
        rates = {file.sfreq_hz for file in files}
        if len(rates) > 1:
            notes.append(f"recorded at different rates: {', '.join(f'{rate:g}' for rate in sorted(rates))} Hz")
        return Recording(
            subject=subject,
            channels=channels,
            clips=tuple(row.clip for row in rows),
            emotions=tuple(row.emotion for row in rows),
            signal_uv=np.stack([parts[row.line] for row in rows]),
            sfreq_hz=self.preprocessing.sfreq_hz,
            ranks=rank_rows(rows, len(files)),
            facial=tuple(row.facial for row in rows) if self.config.facial_features else (),
            ratings=tabulate_ratings(rows),
            age=rows[0].age,
            sex=rows[0].sex,
            device_sfreq_hz=rates.pop() if len(rates) == 1 else None,
            synthetic=is_synthetic(self.root),
            notes=(*self._notes, *_tell_missing(channels), *notes),
        )

    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""
        found = []
        for name in dict.fromkeys(row.file for row in self._subject_rows(subject)):
            path = self.root / name
            beside = [path.with_suffix(suffix) for suffix in _COMPANIONS.get(path.suffix.lower(), ())]
            found += [candidate for candidate in (path, *beside) if candidate.is_file()]
        return found

    def name_file(self, path: Path) -> str:
        """Return the kind of file alone: people name recordings after the recorded. Its digest tells which it was."""
        return f"recording{path.suffix.lower()}"

    def tables(self) -> list[Path]:
        """Return the table."""
        return [self._table]

    @classmethod
    def write_fake(cls, root: Path, n_subjects: int = 2, seed: int = 17) -> "RecordingsSource":
        """Write made-up EDF and array files with a table; see `Layout.write_fake`."""
        write_folder(root, n_subjects, seed)
        return cls(root, FolderConfig(facial_features=list(FAKE_FACIAL)))

    def _subject_rows(self, subject: str) -> list[TableRow]:
        if subject not in self._rows:
            raise InputError(f"{self.config.table}: has no row for {subject!r}; {len(self._rows)} subjects are listed")
        return self._rows[subject]

    def _open(self, rows: tuple[TableRow, ...]) -> _OpenFile:
        path = self.root / rows[0].file
        suffix = path.suffix.lower()
        name = f"{self.config.table} line {rows[0].line}'s file"  # the file's own name may be a person's
        if suffix not in (*SUFFIXES, ".npy"):
            raise InputError(f"{name}: suffix {suffix[:8]!r}, accepted: {', '.join((*SUFFIXES, '.npy'))}")
        raw, notes = (_open_array(path, rows, name), []) if suffix == ".npy" else open_recording(path, name)
        raw, found = select_channels(raw, name)
        file = _OpenFile(raw, name, rows, (*notes, *found))
        _check_rate(file, self.preprocessing)
        return file

    def _cut(self, file: _OpenFile) -> tuple[np.ndarray, list[str]]:
        """Return the file's trials in the order of its lines, and notes."""
        ends_s = [self._end(row, file) for row in file.rows]
        try:
            scale, notes = self._find_scale(file, ends_s[0])
            show = f"trials of {file.rows[0].subject}"
            signal_uv, found = preprocess_recording(file.raw, ends_s, self.preprocessing, show=show, scale=scale)
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(file.name) else f"{file.name}: {text}") from None
        return signal_uv, [*notes, *found]

    def _find_scale(self, file: _OpenFile, end_s: float) -> tuple[float, list[str]]:
        """Tell by the first trial whether the file's unit is right."""
        stop = min(file.raw.n_times, round(end_s * file.sfreq_hz))
        start = max(0, stop - round(self.preprocessing.trial_s * file.sfreq_hz))
        try:
            signal = np.asarray(quietly(file.raw.get_data, start=start, stop=stop)) * 1e6
        except Exception as error:  # a damaged file raises nearly anything
            raise InputError(f"{file.name}: its samples cannot be read ({type(error).__name__})") from None
        if not np.isfinite(signal).all():
            return 1.0, []  # told by `preprocess_recording`
        return find_unit_scale(filter_signal(signal, file.sfreq_hz), file.name)

    def _end(self, row: TableRow, file: _OpenFile) -> float:
        """Return where a trial ends, in seconds; refuse one that is too short or not within its file."""
        line, trial_s = f"{self.config.table} line {row.line}", self.preprocessing.trial_s
        end_s = row.onset_s + trial_s if row.end_s is None else row.end_s
        if row.onset_s >= file.length_s:
            raise InputError(f"{line}: onset_s is {row.onset_s:g}, but its file ends at {file.length_s:.2f} s")
        if end_s > file.length_s + _END_TOLERANCE_S:
            raise InputError(f"{line}: the trial ends at {end_s:g} s, but its file at {file.length_s:.2f} s")
        end_s = min(end_s, file.length_s)
        if end_s - row.onset_s < trial_s - _END_TOLERANCE_S or end_s < trial_s - 1e-6:
            found = f"the trial lasts {end_s - row.onset_s:g} s"
            raise InputError(f"{line}: {found}, the recipe's preprocessing.trial_s needs {trial_s:g} s")
        return end_s


def _check_rate(file: _OpenFile, config: PreprocessingConfig) -> None:
    """Refuse a file that is sampled too slowly, under the name that messages use."""
    try:
        check_rate(file.sfreq_hz, config.h_freq_hz)
    except InputError as error:
        raise InputError(f"{file.name}: {str(error).removeprefix('recording: ')}") from None


def _group_by_file(rows: Sequence[TableRow]) -> list[list[TableRow]]:
    groups: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        groups[row.file].append(row)
    return list(groups.values())


def _share_channels(files: Sequence[_OpenFile]) -> tuple[tuple[str, ...], list[str]]:
    """Restrict the files, in place, to the channels that all of them have, in the order of the first."""
    shared = [name for name in files[0].raw.ch_names if all(name in file.raw.ch_names for file in files)]
    if len([name for name in shared if name not in MASTOIDS]) < MIN_SCALP_CHANNELS:
        found = f"the files of {files[0].rows[0].subject} share {len(shared)} channels"
        raise InputError(f"{files[0].name}: {found}; at least {MIN_SCALP_CHANNELS} on the scalp are needed")
    dropped = sorted({name for file in files for name in file.raw.ch_names} - set(shared))
    for file in files:
        file.raw.reorder_channels(shared)
    return tuple(shared), [f"{len(dropped)} channels left out, not in every file: {list_names(dropped)}"] * bool(
        dropped
    )


def _tell_missing(channels: Sequence[str]) -> list[str]:
    missing = [name for name in SCALP_CHANNELS if name not in channels]
    return [f"{len(missing)} of 30 scalp channels are not there: {list_names(missing)}"] * bool(missing)


def _open_array(path: Path, rows: Sequence[TableRow], name: str) -> mne.io.BaseRaw:
    sfreq_hz = next((row.sfreq_hz for row in rows if row.sfreq_hz), None)
    channels = next((row.channels for row in rows if row.channels), ())
    return open_array(path, name, sfreq_hz, channels)
