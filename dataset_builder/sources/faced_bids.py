"""FACED as NEMAR publishes it in the BIDS layout (nm000112): the raw recordings with events and ratings in tables.

::

    dataset_description.json  participants.tsv
    sub-NNN/eeg/sub-NNN_task-watchingVideoClips_{eeg.bdf,channels.tsv,events.tsv}

The recordings are those of ``Data/`` in the release, read by the same code. The small tables are read here without
mne-bids, which trusts ``channels.tsv``: its units are "n/a" where the header is corrupt.
"""

import csv
import io
import re
from pathlib import Path
from typing import Literal, Self

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.sources.base import Layout, SourceConfig, SourceInfo
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced_bids_fake import write_bids
from dataset_builder.sources.faced_events import Span
from dataset_builder.sources.faced_quality import DamageConfig, treat_damage
from dataset_builder.sources.faced_raw import cut_clips, fill_from_cut, open_raw
from dataset_builder.sources.faced_tables import CHANNELS, CITATION, POPULATION, SYNTHETIC, is_synthetic
from dataset_builder.sources.ratings import check_scale
from dataset_builder.types import RATINGS, Recording

PEOPLE_TABLE = "participants.tsv"
DESCRIPTION = "dataset_description.json"

#: Missing cells of a BIDS table.
NOT_AVAILABLE = "n/a"

#: Cannot be repaired from this copy alone: it does not say who is concerned.
AGE_NOTE = "age was derived from a de-identified birthday; it is one year too low for 29 of the 123 subjects"

_FOLDER = re.compile(r"sub-(\d{3})")

_REAL = SourceInfo(
    name="faced_bids",
    title="FACED: Finer-grained Affective Computing EEG Dataset (BIDS copy, NEMAR nm000112)",
    synthetic=False,
    licence_id="cc-by-4.0",
    licence_name="CC BY 4.0 as the BIDS mirror states; the authors themselves state none",
    citation=f"{CITATION}. The mirror's {DESCRIPTION} names other authors, by mistake.",
    url="https://nemar.org/dataexplorer/detail?dataset_id=nm000112",
    population=POPULATION,
)


class FacedBidsConfig(DamageConfig):
    """How the BIDS copy of FACED is read."""

    name: Literal["faced_bids"] = "faced_bids"


class FacedBidsSource(Layout):
    """FACED's BIDS copy. See the module for the files.

    Parameters
    ----------
    root : Path
        Folder that holds ``participants.tsv``.
    config : FacedBidsConfig, optional
    preprocessing : PreprocessingConfig, optional
    """

    Config = FacedBidsConfig

    def __init__(
        self,
        root: Path,
        config: SourceConfig | None = None,
        preprocessing: PreprocessingConfig | None = None,
    ) -> None:
        super().__init__(root, config, preprocessing)
        if not self.root.is_dir():
            raise InputError(f"{self.root.name}: no such folder; expected FACED's BIDS layout")
        rows = _read_table(self.root / PEOPLE_TABLE, PEOPLE_TABLE, ("participant_id", "age", "sex"))
        self._people = {row["participant_id"].replace("-", ""): row for row in rows}
        self._synthetic = is_synthetic(self.root)

    @property
    def info(self) -> SourceInfo:
        """Origin, licence, citation, population."""
        return SYNTHETIC.model_copy(update={"name": "faced_bids"}) if self._synthetic else _REAL

    def subjects(self) -> list[str]:
        """Return the pseudonyms of all subjects with data, sorted; ``sub-012`` is called ``sub012`` as elsewhere.

        Raises
        ------
        InputError
            If no subject has data, or one with data is not among the participants.
        """
        folders = [path.parents[1].name for path in self.root.glob("sub-*/eeg/*_eeg.bdf")]
        found = sorted({name.replace("-", "") for name in folders if _FOLDER.fullmatch(name)})
        if not found:
            raise InputError(f"{self.root.name}: holds no sub-*/eeg/*_eeg.bdf")
        if unknown := [name for name in found if name not in self._people]:
            raise InputError(f"{PEOPLE_TABLE}: has no row for {', '.join(unknown[:5])}, who has data")
        return found

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject; see `Source.read`. There are waveforms only, whatever is asked for."""
        data, events, channels = (self._file(subject, part) for part in ("eeg.bdf", "events.tsv", "channels.tsv"))
        name = self._name(data)
        spans, ratings = read_clips(events, self._name(events))
        notes = [AGE_NOTE, *_describe_channels(channels, self._name(channels))]
        file = open_raw(data, name)
        cut = cut_clips(file, spans, self.preprocessing, name)
        blank = self._describe(subject, ratings, file.cohort)
        recording = fill_from_cut(blank, cut, self.preprocessing.sfreq_hz, file.sfreq_hz, notes)
        return treat_damage(recording, self.config, name)

    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""
        return [self._file(subject, part) for part in ("eeg.bdf", "events.tsv", "channels.tsv")]

    def tables(self) -> list[Path]:
        """Return the files that are shared by all subjects."""
        return [path for path in (self.root / PEOPLE_TABLE, self.root / DESCRIPTION) if path.is_file()]

    @classmethod
    def write_fake(cls, root: Path, n_subjects: int = 2, seed: int = 17) -> Self:
        """Write made-up recordings of a few clips each, the first subject's with the corrupt unit field."""
        write_bids(Path(root), n_subjects, seed)
        return cls(Path(root))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _file(self, subject: str, part: str) -> Path:
        if subject not in self._people:
            raise InputError(f"{PEOPLE_TABLE}: has no row for {subject!r}; {len(self._people)} subjects are listed")
        label = f"sub-{subject.removeprefix('sub')}"
        path = self.root / label / "eeg" / f"{label}_task-watchingVideoClips_{part}"
        if not path.is_file():
            state = "is a link to data that were not fetched (datalad get)" if path.is_symlink() else "is not there"
            raise InputError(f"{self._name(path)}: {state}")
        return path

    def _describe(self, subject: str, ratings: np.ndarray, cohort: int) -> Recording:
        """Return what the tables tell of a subject, without any signal."""
        person = self._people[subject]
        age, sex = person["age"], person["sex"]
        if age != NOT_AVAILABLE and not re.fullmatch(r"\d{1,3}(\.0)?", age):
            raise InputError(f"{PEOPLE_TABLE}: age of {subject} is {age[:20]!r}, expected whole years or n/a")
        if sex not in ("F", "M", NOT_AVAILABLE):
            raise InputError(f"{PEOPLE_TABLE}: sex of {subject} is {sex[:20]!r}, expected F, M or n/a")
        return Recording(
            subject=subject,
            channels=CHANNELS,
            clips=tuple(clip.number for clip in CLIPS),
            emotions=tuple(clip.label for clip in CLIPS),
            ratings=ratings,
            age=None if age == NOT_AVAILABLE else round(float(age)),
            sex=None if sex == NOT_AVAILABLE else sex,
            cohort=cohort,
            synthetic=self._synthetic,
        )


def read_clips(path: Path, name: str) -> tuple[list[Span], np.ndarray]:
    """Read when each clip was shown and how it was rated.

    Parameters
    ----------
    path : Path
        ``*_events.tsv``; rows that are no clips hold "n/a".
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    tuple of (list of Span, ndarray of shape (28, 12), float32, 0 to 7)
        Spans in the order of clip numbers; ratings as in `RATINGS`, NaN where there are none.

    Raises
    ------
    InputError
        If the table lacks a column, a value is not accepted, or no clip is in it.
    """
    needed = ("onset", "duration", "video_index", "emotion_label", *RATINGS)
    rows = [row for row in _read_table(path, name, needed) if row["video_index"] != NOT_AVAILABLE]
    ratings = np.full((len(CLIPS), len(RATINGS)), np.nan, dtype=np.float32)
    shown: dict[int, tuple[float, float]] = {}
    for row in rows:
        clip = _check_clip(row, name)
        if clip in shown:
            raise InputError(f"{name}: clip {clip} is there twice")
        onset_s, duration_s = (_read_number(row[key], key, name) for key in ("onset", "duration"))
        shown[clip] = (onset_s, onset_s + duration_s)
        ratings[clip - 1] = [_read_number(row[item], item, name, missing=np.nan) for item in RATINGS]
    if not shown:
        raise InputError(f"{name}: holds no clip (no row with a video_index)")
    if (known := ratings[np.isfinite(ratings)]).size:
        check_scale(known, name)
    order = sorted(shown, key=lambda clip: shown[clip][0])
    return [Span(clip, order.index(clip) + 1, *shown[clip]) for clip in sorted(shown)], ratings


def _check_clip(row: dict[str, str], name: str) -> int:
    """Return a row's clip number if its label is that of the clip table."""
    number = row["video_index"].removesuffix(".0")
    if not number.isdecimal() or not 1 <= int(number) <= len(CLIPS):
        raise InputError(f"{name}: video_index {row['video_index'][:20]!r}, accepted: 1 to {len(CLIPS)} or n/a")
    clip = CLIPS[int(number) - 1]
    if row["emotion_label"].lower() not in (clip.emotion.lower(), clip.label):
        raise InputError(f"{name}: clip {clip.number} is {row['emotion_label'][:20]!r}, expected {clip.emotion}")
    return clip.number


def _read_number(text: str, column: str, name: str, missing: float | None = None) -> float:
    if text == NOT_AVAILABLE and missing is not None:
        return missing
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}: {column} is {text[:20]!r}, expected a number") from None


def _describe_channels(path: Path, name: str) -> list[str]:
    """Return notes on what the table of channels says of them; units are taken from the recording's header."""
    rows = _read_table(path, name, ("name", "status"))
    bad = [row["name"] for row in rows if row["status"] == "bad"]
    return [f"{len(bad)} channels are marked bad in {path.name.rpartition('_')[2]}"] * bool(bad)


def _read_table(path: Path, name: str, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a TSV by lower-case column name. All but the participants' begin with a byte-order mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{name}: is not there; expected FACED's BIDS layout") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot be read ({type(error).__name__})") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or ()]
    if missing := [column for column in needed if column not in reader.fieldnames]:
        raise InputError(f"{name}: column {', '.join(missing)} is missing")
    return [{key: (row[key] or NOT_AVAILABLE).strip() for key in needed} for row in reader]
