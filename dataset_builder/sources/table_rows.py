"""One line of the table of recordings -> a trial with checked values."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.types import EMOTIONS, RATINGS

RATING_PREFIX = "rating_"

#: Clips and ranks are stored as 16-bit numbers.
_MAX_COUNT = 32_767

#: A pseudonym is a number, alone or behind one or two letters or a word for "participant"; anything else may be a name.
_PSEUDONYM = re.compile(
    r"(?:[a-z]{1,2}|sub|subj|subject|pat|patient|part|participant|proband|person|case|ctrl|control|vol|volunteer)?"
    r"[-_]?\d{1,6}",
    re.IGNORECASE,
)

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}


@dataclass(frozen=True)
class TableRow:
    """One trial, as the table states it.

    Parameters
    ----------
    line : int
        In the table, 1-based; messages name it.
    file : str
        Relative to the folder.
    subject : str
        Pseudonym.
    emotion : str
        One of `EMOTIONS`.
    onset_s, end_s : float
        In seconds after the file's first sample; the end is None where the table states neither end nor duration.
    clip, rank, age, sex, sfreq_hz
        None where not stated.
    channels : tuple of str
        Of an array file; empty where not stated.
    ratings, facial : dict of str to float
        What is filled in.
    """

    line: int
    file: str
    subject: str
    emotion: str
    onset_s: float
    end_s: float | None
    clip: int | None
    rank: int | None
    age: int | None
    sex: str | None
    sfreq_hz: float | None
    channels: tuple[str, ...]
    ratings: dict[str, float]
    facial: dict[str, float]


@dataclass(frozen=True)
class RowParser:
    """Cells -> values; what it refuses, it refuses with the line.

    Parameters
    ----------
    name : str
    labels : dict of str to str
        In lower case -> `EMOTIONS`.
    facial : sequence of str
    decimal_comma : bool
        Whether ``1,5`` can be a number: not where commas separate cells.
    """

    name: str
    labels: dict[str, str]
    facial: Sequence[str]
    decimal_comma: bool

    def parse(self, line: int, cells: dict[str, str]) -> TableRow:
        """Read one line.

        Parameters
        ----------
        line : int
            1-based.
        cells : dict of str to str
            Column -> stripped text; optional columns may be absent.

        Raises
        ------
        InputError
            In one line: what was found and what is accepted.
        """
        onset_s = self._number(line, cells, "onset_s", low=0.0)
        if onset_s is None:
            raise self._refuse(line, "onset_s is empty, expected seconds after the file's first sample")
        ratings = {rating: self._number(line, cells, RATING_PREFIX + rating, 0.0, 7.0) for rating in RATINGS}
        facial = {feature: self._number(line, cells, feature.lower()) for feature in self.facial}
        return TableRow(
            line=line,
            file=self._file(line, cells["file"]),
            subject=self._subject(line, cells["subject"]),
            emotion=self._emotion(line, cells["label"]),
            onset_s=onset_s,
            end_s=self._end(line, cells, onset_s),
            clip=self._count(line, cells, "clip"),
            rank=self._count(line, cells, "rank"),
            age=self._count(line, cells, "age", low=0, high=120),
            sex=self._sex(line, cells.get("sex", "")),
            sfreq_hz=self._number(line, cells, "sfreq_hz", low=1.0),
            channels=tuple(cells.get("channels", "").split()),
            ratings={rating: value for rating, value in ratings.items() if value is not None},
            facial={feature: value for feature, value in facial.items() if value is not None},
        )

    def _refuse(self, line: int, what: str) -> InputError:
        return InputError(f"{self.name} line {line}: {what}")

    def _file(self, line: int, text: str) -> str:
        path = PurePosixPath(text.replace("\\", "/"))
        if not text or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text):
            raise self._refuse(line, "file is empty or outside the folder, expected a path relative to it")
        return path.as_posix()

    def _subject(self, line: int, text: str) -> str:
        if not _PSEUDONYM.fullmatch(text):  # what was found is not told: it may be a name
            raise self._refuse(line, "subject is no pseudonym; accepted: letters and digits such as sub003, P12 or 7")
        return text

    def _emotion(self, line: int, text: str) -> str:
        word = text.lower()
        emotion = self.labels.get(word, word)
        if emotion not in EMOTIONS:
            own = f", or a word that the recipe's labels map to one: {', '.join(self.labels)}" if self.labels else ""
            raise self._refuse(line, f"label is {text[:30]!r}, accepted: {', '.join(EMOTIONS)}{own}")
        return emotion

    def _sex(self, line: int, text: str) -> str | None:
        if text and text.lower() not in _SEXES:
            raise self._refuse(line, f"sex is {text[:10]!r}, accepted: F, M or empty")
        return _SEXES.get(text.lower())

    def _end(self, line: int, cells: dict[str, str], onset_s: float) -> float | None:
        end_s = self._number(line, cells, "end_s")
        duration_s = self._number(line, cells, "duration_s")
        if end_s is None and duration_s is not None:
            end_s = onset_s + duration_s
        elif end_s is not None and duration_s is not None and abs(onset_s + duration_s - end_s) > 0.01:
            raise self._refuse(line, f"end_s is {end_s:g}, but onset_s + duration_s is {onset_s + duration_s:g}")
        if end_s is not None and end_s <= onset_s:
            raise self._refuse(line, f"the trial ends at {end_s:g} s, before or at its onset at {onset_s:g} s")
        return end_s

    def _count(self, line: int, cells: dict[str, str], column: str, low: int = 1, high: int = _MAX_COUNT) -> int | None:
        value = self._number(line, cells, column, low, high)
        if value is not None and value != int(value):
            raise self._refuse(line, f"{column} is {value:g}, expected a whole number")
        return None if value is None else int(value)

    def _number(
        self, line: int, cells: dict[str, str], column: str, low: float = -math.inf, high: float = math.inf
    ) -> float | None:
        text = cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            raise self._refuse(line, f"{column} is {text[:20]!r}, expected a number") from None
        if not (math.isfinite(value) and low <= value <= high):
            bounds = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise self._refuse(line, f"{column} is {text[:20]}, accepted: {bounds}")
        return value


def rank_rows(rows: Sequence[TableRow], n_files: int) -> tuple[int | None, ...]:
    """Return the order of presentation: the table's, or that of the onsets where all trials lie in one file.

    Parameters
    ----------
    rows : sequence of TableRow
        Of one subject.
    n_files : int

    Returns
    -------
    tuple of (int or None), length len(rows)
        1-based.
    """
    stated = tuple(row.rank for row in rows)
    if any(rank is not None for rank in stated) or n_files > 1:
        return stated
    onsets = sorted(row.onset_s for row in rows)
    return tuple(onsets.index(row.onset_s) + 1 for row in rows)


def tabulate_ratings(rows: Sequence[TableRow]) -> np.ndarray | None:
    """Return the ratings as `Recording.ratings` has them: NaN where empty, None where the table has none.

    Returns
    -------
    ndarray of shape (len(rows), 12), float32, 0 to 7, or None
    """
    if not any(row.ratings for row in rows):
        return None
    return np.array([[row.ratings.get(rating, np.nan) for rating in RATINGS] for row in rows], dtype=np.float32)
