"""FACED (Chen et al. 2023): 123 people who watched 28 film clips, in the release's folder layout.

::

    Recording_info.csv  Stimuli_info.xlsx                     people; clips (checked against `clips.CLIPS`; optional)
    EEG_Features/{DE,PSD}/subNNN.pkl.pkl                      form "features"
    Processed_data/subNNN.pkl                                 form "processed"
    Data/subNNN/{data.bdf,evt.bdf}                            form "raw"
    Data/subNNN/After_remarks.mat                             ratings and the order of clips (optional)

A download may hold any of the forms.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.sources.base import Layout, SourceConfig, SourceInfo
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced_events import list_clips, read_spans
from dataset_builder.sources.faced_quality import DamageConfig, keep_trials, treat_damage
from dataset_builder.sources.faced_raw import cut_clips, fill_from_cut, open_raw
from dataset_builder.sources.faced_tables import (
    CHANNELS,
    CLIP_TABLE,
    INFO_TABLE,
    REAL,
    SYNTHETIC,
    check_clips,
    is_synthetic,
    read_people,
)
from dataset_builder.sources.ratings import Remarks, read_ratings
from dataset_builder.sources.safe_pickle import load_array
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import BANDS, Recording

SFREQ_HZ = 250.0
SIGNAL_SHAPE = (len(CLIPS), len(CHANNELS), 7500)
DE_SHAPE = (len(CLIPS), len(CHANNELS), 30, len(BANDS))

Form = Literal["features", "processed", "raw"]

_PSEUDONYM = re.compile(r"sub\d{3}")

_PATTERNS: dict[Form, tuple[str, ...]] = {
    "features": ("EEG_Features/DE/sub*.pkl", "EEG_Features/PSD/sub*.pkl"),
    "processed": ("Processed_data/sub*.pkl",),
    "raw": ("Data/sub*/data.bdf", "Data/Data/sub*/data.bdf"),
}


class FacedConfig(DamageConfig):
    """How FACED is read.

    Parameters
    ----------
    form : {"auto", "features", "processed", "raw"}
        What is read. "auto" takes the first of the three that is there and holds what the codec reads; with `repair`
        features come last, since only waveforms can be repaired.
    """

    name: Literal["faced"] = "faced"
    form: Literal["auto", "features", "processed", "raw"] = "auto"


class FacedSource(Layout):
    """FACED's release, or a cohort in the same layout. See the module for the files.

    Parameters
    ----------
    root : Path
        Folder that holds ``Recording_info.csv``.
    config : FacedConfig, optional
    preprocessing : PreprocessingConfig, optional
        Used for the raw form only: the other two are released preprocessed.
    """

    Config = FacedConfig

    def __init__(
        self,
        root: Path,
        config: SourceConfig | None = None,
        preprocessing: PreprocessingConfig | None = None,
    ) -> None:
        super().__init__(root, config, preprocessing)
        self._people = read_people(self.root)
        check_clips(self.root / CLIP_TABLE)
        self._synthetic = is_synthetic(self.root)

    @property
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""
        return SYNTHETIC if self._synthetic else REAL

    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted.

        Raises
        ------
        InputError
            If no subject has data, or one with data is not in the information table.
        """
        patterns = [pattern for form in self._forms() for pattern in _PATTERNS[form]]
        paths = [path for pattern in patterns for path in self.root.glob(pattern)]
        names = {path.parent.name if path.name == "data.bdf" else path.name[:6] for path in paths}
        found = sorted(name for name in names if _PSEUDONYM.fullmatch(name))
        if not found:
            raise InputError(f"{self.root.name}: holds no {' and no '.join(patterns)}")
        if unknown := [name for name in found if name not in self._people]:
            raise InputError(f"{INFO_TABLE}: has no row for {', '.join(unknown[:5])}, who has data")
        return found

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject; see `Source.read`."""
        form, path = self._find_data(subject, reads)
        name = self._name(path)
        blank = self._describe(subject)
        match form:
            case "features":
                recording = self._read_features(blank, path, reads)
            case "processed":
                array = load_array(path, SIGNAL_SHAPE, name, finite=False).astype(np.float32)
                recording = _leave_out_incomplete(replace(blank, signal_uv=array, sfreq_hz=SFREQ_HZ), array, name)
            case "raw":
                recording = self._read_raw(blank, path)
        recording = treat_damage(recording, self.config, name)
        return replace(recording, de=None) if reads == "psd" else recording

    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""
        self._person(subject)
        form, path = self._find_data(subject, reads)
        others = [self._session(subject) / "After_remarks.mat"]
        if form == "raw":
            others.append(path.with_name("evt.bdf"))
        if form == "features" and reads == "psd":
            others += self._feature_files(subject, "DE")
        return [path, *(other for other in others if other.is_file())]

    def tables(self) -> list[Path]:
        """Return the files that are shared by all subjects."""
        return [path for path in (self.root / INFO_TABLE, self.root / CLIP_TABLE) if path.is_file()]

    @classmethod
    def write_fake(cls, root: Path, n_subjects: int = 2, seed: int = 17) -> Self:
        """Write a made-up cohort: features for all, waveforms and a raw recording for the first."""
        write_cohort(SynthRecipe(subjects=n_subjects, seed=seed, signals=1, raw=1), root)
        return cls(Path(root))

    def _forms(self) -> tuple[Form, ...]:
        if self.config.form != "auto":
            return (self.config.form,)
        return ("processed", "raw", "features") if self.config.repair else ("features", "processed", "raw")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _person(self, subject: str) -> dict[str, str]:
        if subject not in self._people:
            raise InputError(f"{INFO_TABLE}: has no row for {subject!r}; {len(self._people)} subjects are listed")
        return self._people[subject]

    def _session(self, subject: str) -> Path:
        """Return the folder of a subject's raw files; the archive unpacks to Data/Data."""
        nested = self.root / "Data" / "Data" / subject
        return nested if nested.is_dir() else self.root / "Data" / subject

    def _feature_files(self, subject: str, kind: str) -> list[Path]:
        """Return a subject's file of one kind of feature, if it is there; some tools rename the .pkl.pkl."""
        folder = self.root / "EEG_Features" / kind
        return [path for path in (folder / f"{subject}.pkl.pkl", folder / f"{subject}.pkl") if path.is_file()][:1]

    def _find_data(self, subject: str, reads: str) -> tuple[Form, Path]:
        self._person(subject)
        places: dict[Form, Path] = {
            "features": self.root / "EEG_Features" / reads.upper() / f"{subject}.pkl.pkl",
            "processed": self.root / "Processed_data" / f"{subject}.pkl",
            "raw": self._session(subject) / "data.bdf",
        }
        forms = [form for form in self._forms() if form != "features" or reads != "signal_uv"]
        for form in forms:
            paths = self._feature_files(subject, reads.upper()) if form == "features" else [places[form]]
            if paths and paths[0].is_file():
                return form, paths[0]
        wanted = "waveforms" if reads == "signal_uv" else "band features or waveforms"
        tried = " or ".join(self._name(places[form]) for form in forms)
        where = f"but {tried} is not there" if forms else f"but source.form is {self.config.form}"
        raise InputError(f"{subject}: {wanted} are needed, {where}")

    def _describe(self, subject: str) -> Recording:
        """Return what the tables tell of a subject, without any signal."""
        person = self._person(subject)
        remarks = self._read_remarks(subject)
        return Recording(
            subject=subject,
            channels=CHANNELS,
            clips=tuple(clip.number for clip in CLIPS),
            emotions=tuple(clip.label for clip in CLIPS),
            ratings=None if remarks is None else remarks.ratings,
            ranks=() if remarks is None else remarks.ranks,
            age=int(person["Age"]),
            sex=person["Gender"],
            cohort=int(person["Cohort"]),
            device_sfreq_hz=float(person["Sample_rate"]),
            synthetic=self._synthetic,
            notes=() if remarks else ("no self-ratings on file",),
        )

    def _read_remarks(self, subject: str) -> Remarks | None:
        path = self._session(subject) / "After_remarks.mat"
        return read_ratings(path, len(CLIPS), self._name(path)) if path.is_file() else None

    def _read_features(self, blank: Recording, path: Path, reads: str) -> Recording:
        """Read DE or PSD; with PSD also DE, if it is there, since only that tells how noisy a trial is."""
        array = load_array(path, DE_SHAPE, self._name(path), finite=False).astype(np.float32)
        if reads == "de":
            return _leave_out_incomplete(replace(blank, de=array), array, self._name(path))
        level = self._feature_files(blank.subject, "DE")
        recording = replace(blank, psd=array)
        if level:
            de = load_array(level[0], DE_SHAPE, self._name(level[0])).astype(np.float32)
            recording = replace(recording, de=de)
        else:
            recording = replace(recording, notes=(*blank.notes, "noise was not judged: relative power has no level"))
        return _leave_out_incomplete(recording, array, self._name(path))

    def _read_raw(self, blank: Recording, path: Path) -> Recording:
        events = path.with_name("evt.bdf")
        if not events.is_file():
            raise InputError(f"{self._name(path)}: evt.bdf with its triggers is not beside it")
        spans, notes = read_spans(events, self._name(events))
        file = open_raw(path, self._name(path))
        cut = cut_clips(file, spans, self.preprocessing, self._name(path))
        if blank.cohort != file.cohort or blank.device_sfreq_hz != file.sfreq_hz:
            notes.append(
                f"{INFO_TABLE} says cohort {blank.cohort} at {blank.device_sfreq_hz:g} Hz, the recording is of cohort "
                f"{file.cohort} at {file.sfreq_hz:g} Hz"
            )
        if blank.ranks and any(blank.ranks[span.clip - 1] != span.rank for span in spans) and len(spans) == len(CLIPS):
            notes.append("the order of clips differs between triggers and ratings; that of the triggers is used")
        return fill_from_cut(blank, cut, self.preprocessing.sfreq_hz, file.sfreq_hz, notes)


def _leave_out_incomplete(recording: Recording, array: np.ndarray, name: str) -> Recording:
    """Leave out the clips without numbers."""
    whole = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if whole.all():
        return recording
    missing = [clip.number for clip, good in zip(CLIPS, whole, strict=True) if not good]
    if not whole.any():
        raise InputError(f"{name}: every clip holds values that are not finite numbers")
    note = f"{list_clips(missing)} left out, with values that are not finite numbers"
    return keep_trials(recording, np.flatnonzero(whole).tolist(), note, "trial holds values that are not finite")
