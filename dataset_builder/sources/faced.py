"""FACED (Chen et al. 2023): 123 people who watched 28 film clips, in the release's folder layout.

Read are ``Recording_info.csv``, ``Stimuli_info.xlsx`` (checked against `clips.CLIPS`; may be absent), the ratings in
``Data/subNNN/After_remarks.mat`` (may be absent), and per subject ``EEG_Features/DE/subNNN.pkl.pkl`` or
``Processed_data/subNNN.pkl``. A download may hold either of the two or both.
"""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
from openpyxl import load_workbook

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, describe_file
from dataset_builder.sources.base import DroppedRecording, Source, SourceInfo
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.ratings import read_ratings
from dataset_builder.sources.safe_pickle import load_array
from dataset_builder.types import BANDS, SCALP_CHANNELS, Recording

#: Processed order. The release names the last two HEOR and HEOL, but they sat on the mastoids A2 and A1.
CHANNELS: tuple[str, ...] = (*SCALP_CHANNELS, "A2", "A1")
SFREQ_HZ = 250.0
SIGNAL_SHAPE = (len(CLIPS), len(CHANNELS), 7500)
DE_SHAPE = (len(CLIPS), len(CHANNELS), 30, len(BANDS))

INFO_TABLE = "Recording_info.csv"
CLIP_TABLE = "Stimuli_info.xlsx"

#: A file of this name in the root says that the cohort is made up.
SYNTHETIC_MARK = "SYNTHETIC.md"

#: Header of the information table; the release has a space after "Cohort", other tools strip it.
INFO_COLUMNS = ("sub", "Gender", "Age", "Cohort", "Sample_rate", "Unit")

#: A recording whose median channel exceeds these is no scalp EEG. Gamma power above 5.3 nats is a gamma-band SD above
#: 50 µV; in FACED every subject's median channel lies below 3.7 nats (10 µV) but sub023's, at 9.7 nats (4 mV): one bad
#: mastoid went into all channels with the average reference. Waveforms of scalp EEG stay far below an SD of 500 µV.
MAX_GAMMA_DE = 5.3
MAX_SIGNAL_SD_UV = 500.0

_PSEUDONYM = re.compile(r"sub\d{3}")

_REAL = SourceInfo(
    name="faced",
    title="FACED: Finer-grained Affective Computing EEG Dataset",
    synthetic=False,
    licence_id="other",
    licence_name="not stated by the authors (its BIDS mirror says CC BY 4.0); attribute, do not redistribute signals",
    citation="Chen J, Wang X, Huang C, Hu X, Shen X, Zhang D (2023). A large finer-grained affective computing EEG "
    "dataset. Scientific Data 10:740. doi:10.1038/s41597-023-02650-w",
    url="https://doi.org/10.7303/syn50614194",
    population="Recorded were 123 healthy people aged 17 to 38 in one laboratory in China, who watched 28 film clips; "
    "other ages, patients, other cultures and emotions outside the laboratory are not covered.",
)

_SYNTHETIC = SourceInfo(
    name="faced",
    title="Synthetic cohort in FACED's layout",
    synthetic=True,
    licence_id="apache-2.0",
    licence_name="Apache-2.0",
    citation="Made by eeg-copilot synth. Population statistics follow Chen et al. (2023), Scientific Data 10:740, "
    "doi:10.1038/s41597-023-02650-w.",
    url="https://doi.org/10.1038/s41597-023-02650-w",
    population="Nobody was recorded: all subjects are made up and say nothing about people.",
)


class FacedSource(Source):
    """FACED's release, or a cohort in the same layout. See the module for the files.

    Parameters
    ----------
    root : Path
        Folder that holds ``Recording_info.csv``.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(Path(root))
        self._people = _read_people(self.root)
        _check_clips(self.root / CLIP_TABLE)
        self._synthetic = _is_synthetic(self.root)

    @property
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""
        return _SYNTHETIC if self._synthetic else _REAL

    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted.

        Raises
        ------
        InputError
            If no subject has data, or one with data is not in the information table.
        """
        names = {path.name[:6] for pattern in _PATTERNS for path in self.root.glob(pattern)}
        found = sorted(name for name in names if _PSEUDONYM.fullmatch(name))
        if not found:
            raise InputError(f"{self.root.name}: holds no {' and no '.join(_PATTERNS)}")
        if unknown := [name for name in found if name not in self._people]:
            raise InputError(f"{INFO_TABLE}: has no row for {', '.join(unknown[:5])}, who has data")
        return found

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject; see `Source.read`."""
        person = self._person(subject)
        path = self._data_file(subject, reads)
        name = path.relative_to(self.root).as_posix()
        is_signal = path.parent.name == "Processed_data"
        array = load_array(path, SIGNAL_SHAPE if is_signal else DE_SHAPE, name).astype(np.float32)
        _refuse_implausible(array, name, is_signal=is_signal)
        remarks = self._ratings_file(subject)
        rated = remarks.is_file()
        return Recording(
            subject=subject,
            channels=CHANNELS,
            clips=tuple(clip.number for clip in CLIPS),
            emotions=tuple(clip.label for clip in CLIPS),
            signal_uv=array if is_signal else None,
            sfreq_hz=SFREQ_HZ if is_signal else None,
            de=None if is_signal else array,
            ratings=read_ratings(remarks, len(CLIPS), remarks.relative_to(self.root).as_posix()) if rated else None,
            age=int(person["Age"]),
            sex=person["Gender"],
            cohort=int(person["Cohort"]),
            device_sfreq_hz=float(person["Sample_rate"]),
            synthetic=self._synthetic,
            notes=() if rated else ("no self-ratings on file",),
        )

    def inventory(self, subject: str, reads: str = "de") -> list[Artifact]:
        """Return the files that `read` opens for a subject, by content."""
        self._person(subject)
        files = [self._data_file(subject, reads), self._ratings_file(subject)]
        return [describe_file(path, self.root) for path in files if path.is_file()]

    def tables(self) -> list[Artifact]:
        """Return the files shared by all subjects."""
        files = [self.root / INFO_TABLE, self.root / CLIP_TABLE]
        return [describe_file(path, self.root) for path in files if path.is_file()]

    def _person(self, subject: str) -> dict[str, str]:
        if subject not in self._people:
            raise InputError(f"{INFO_TABLE}: has no row for {subject!r}; {len(self._people)} subjects are listed")
        return self._people[subject]

    def _data_file(self, subject: str, reads: str) -> Path:
        signal = self.root / "Processed_data" / f"{subject}.pkl"
        features = self.root / "EEG_Features" / "DE"
        choices = [signal]
        if reads == "de":  # some tools rename the release's .pkl.pkl
            choices = [features / f"{subject}.pkl.pkl", features / f"{subject}.pkl", signal]
        for path in choices:
            if path.is_file():
                return path
        wanted = "waveforms" if reads == "signal_uv" else "band features or waveforms"
        tried = " or ".join(path.relative_to(self.root).as_posix() for path in choices)
        raise InputError(f"{subject}: {wanted} are needed, but {tried} is not there")

    def _ratings_file(self, subject: str) -> Path:
        return self.root / "Data" / subject / "After_remarks.mat"


_PATTERNS = ("EEG_Features/DE/sub*.pkl", "Processed_data/sub*.pkl")


def _read_people(root: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the information table by pseudonym, values checked."""
    if not root.is_dir():
        raise InputError(f"{root.name}: no such folder; expected FACED's release layout")
    try:
        text = (root / INFO_TABLE).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{root.name}: holds no {INFO_TABLE}; expected FACED's release layout") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{INFO_TABLE}: cannot be read ({type(error).__name__})") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    if missing := [name for name in INFO_COLUMNS if name not in reader.fieldnames]:
        raise InputError(f"{INFO_TABLE}: column {', '.join(missing)} is missing; expected {', '.join(INFO_COLUMNS)}")
    people = {}
    for row in reader:
        person = {key: (row[key] or "").strip() for key in INFO_COLUMNS}
        _check_person(person, reader.line_num)
        people[person["sub"]] = person
    return people


def _check_person(person: dict[str, str], line: int) -> None:
    for key, (pattern, accepted) in _ACCEPTED.items():
        if not re.fullmatch(pattern, person[key]):
            raise InputError(f"{INFO_TABLE} line {line}: {key} is {person[key][:20]!r}, expected {accepted}")


_ACCEPTED = {
    "sub": (r"sub\d{3}", "sub000 to sub999"),
    "Gender": ("[FM]", "F or M"),
    "Age": (r"\d{1,3}", "whole years"),
    "Cohort": ("[12]", "1 or 2"),
    "Sample_rate": (r"\d{2,5}", "Hz as a whole number"),
}


def _check_clips(path: Path) -> None:
    """Compare the clip table, if it is there, with the one that labels are taken from."""
    if not path.is_file():
        return
    try:
        rows = list(load_workbook(path, read_only=True, data_only=True).worksheets[0].iter_rows(values_only=True))
    except (OSError, KeyError, ValueError, IndexError, SyntaxError, zipfile.BadZipFile) as error:
        raise InputError(f"{CLIP_TABLE}: cannot be read ({type(error).__name__})") from None
    found = {row[0]: row for row in rows if isinstance(row[0], int)}
    for clip in CLIPS:
        row = found.get(clip.number, ())
        if len(row) < 6:
            raise InputError(f"{CLIP_TABLE}: has no complete row for clip {clip.number}")
        if row[4:6] != (clip.valence, clip.emotion):
            label = f"{row[4]} {row[5]}"[:40]
            raise InputError(f"{CLIP_TABLE}: clip {clip.number} is {label!r}, expected {clip.valence} {clip.emotion}")


def _is_synthetic(root: Path) -> bool:
    """Tell whether the cohort says of itself that it is made up: by its mark or by its manifest."""
    if (root / SYNTHETIC_MARK).exists():
        return True
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the real release has none
        return False
    return isinstance(manifest, dict) and manifest.get("synthetic") is True


def _refuse_implausible(array: np.ndarray, name: str, *, is_signal: bool) -> None:
    reason = "recording is not plausible as scalp EEG"
    if is_signal:
        spread = float(np.median(array.std(axis=-1).mean(axis=0)))
        if spread > MAX_SIGNAL_SD_UV:
            found = f"SD {spread:.0f} µV in the median channel, at most {MAX_SIGNAL_SD_UV:.0f} µV is plausible"
            raise DroppedRecording(f"{name}: damaged recording: {found}", reason)
        return
    gamma = float(np.median(array[..., -1].mean(axis=(0, 2))))
    if gamma > MAX_GAMMA_DE:
        found = f"gamma DE {gamma:.1f} in the median channel, at most {MAX_GAMMA_DE} is plausible"
        raise DroppedRecording(f"{name}: damaged recording: {found}", reason)
