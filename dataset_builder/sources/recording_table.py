"""The table beside a folder of recordings: one line per trial, read as forgiving as is safe and refused with the line.

Tables come from spreadsheets, so byte-order marks, semicolons, decimal commas and older encodings are understood.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.sources.recording_files import list_names
from dataset_builder.sources.table_rows import RATING_PREFIX, RowParser, TableRow
from dataset_builder.types import RATINGS

REQUIRED = ("file", "subject", "label", "onset_s")
OPTIONAL = ("duration_s", "end_s", "clip", "rank", "age", "sex", "sfreq_hz", "channels")

_MAX_BYTES = 50_000_000

_TAB = "\t"


def read_table(
    path: Path, name: str, labels: Mapping[str, str], facial: Sequence[str]
) -> tuple[list[TableRow], list[str]]:
    """Read the table.

    Parameters
    ----------
    path : Path
    name : str
        How messages call the table: relative to the folder.
    labels : mapping of str to str
        The table's own words -> `EMOTIONS`; these themselves are understood as well, in any case.
    facial : sequence of str
        Columns with facial features.

    Returns
    -------
    rows : list of TableRow
        In the table's order.
    notes : list of str

    Raises
    ------
    InputError
        In one line: the table's line, what was found and what is accepted.
    """
    text, notes = _decode(path, name)
    delimiter = max(",;" + _TAB, key=text.partition("\n")[0].count)
    if delimiter != ",":
        notes.append(f"cells of the table are separated by {'a tab' if delimiter == _TAB else repr(delimiter)}")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = _check_header(reader, name, facial)
    unused = [column for column in columns if not _is_used(column, facial)]
    if unused:
        notes.append(f"{len(unused)} columns of the table are not used: {list_names(unused)}")
    parser = RowParser(name, {key.lower(): value for key, value in labels.items()}, facial, delimiter != ",")
    try:
        rows = [parser.parse(line, cells) for line, cells in _iterate(reader, name)]
    except csv.Error as error:
        raise InputError(f"{name} line {reader.line_num}: is no table ({error})") from None
    if not rows:
        raise InputError(f"{name}: holds no row below its header")
    _check_agreement(rows, name)
    return rows, notes


def check_clips(rows: Sequence[TableRow], name: str) -> None:
    """Refuse a stimulus with two labels: what it was meant to evoke is one emotion.

    Parameters
    ----------
    rows : sequence of TableRow
    name : str
        How messages call the table.

    Raises
    ------
    InputError
        Names the two lines.
    """
    first: dict[int, TableRow] = {}
    for row in rows:
        if row.clip is not None and (other := first.setdefault(row.clip, row)).emotion != row.emotion:
            found = f"clip {row.clip} is {row.emotion}, but {other.emotion} in line {other.line}"
            raise InputError(f"{name} line {row.line}: {found}; accepted only with labels_are: self-report")


def _decode(path: Path, name: str) -> tuple[str, list[str]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{name}: larger than {_MAX_BYTES // 10**6} MB, that is no table of trials")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: no such table in the folder; columns needed are {', '.join(REQUIRED)}") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig"), []
    except UnicodeDecodeError:
        if wide:
            raise InputError(f"{name}: cannot be read as UTF-16 text") from None
        return data.decode("latin-1"), ["the table is not UTF-8; read as Latin-1"]


def _check_header(reader: "csv.DictReader[str]", name: str, facial: Sequence[str]) -> list[str]:
    """Normalise the header in place and return its columns."""
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
    except csv.Error as error:
        raise InputError(f"{name} line 1: is no table ({error})") from None
    needed = (*REQUIRED, *(feature.lower() for feature in facial))
    if missing := [column for column in needed if column not in columns]:
        raise InputError(f"{name}: column {', '.join(missing)} is missing; needed are {', '.join(needed)}")
    filled = [column for column in columns if column]
    if repeated := sorted({column for column in filled if filled.count(column) > 1}):
        raise InputError(f"{name}: column {list_names(repeated)} is there twice")
    ratings = [column.removeprefix(RATING_PREFIX) for column in columns if column.startswith(RATING_PREFIX)]
    if unknown := [rating for rating in ratings if rating not in RATINGS]:
        found = RATING_PREFIX + list_names(unknown)
        raise InputError(f"{name}: column {found} is unknown; ratings can be {', '.join(RATINGS)}")
    reader.fieldnames = columns
    return filled


def _is_used(column: str, facial: Sequence[str]) -> bool:
    known = {*REQUIRED, *OPTIONAL, *(feature.lower() for feature in facial)}
    return column in known or column.startswith(RATING_PREFIX)


def _iterate(reader: "csv.DictReader[str]", name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line numbers and stripped cells of the rows that are not empty."""
    for row in reader:
        extra = row.pop(None, None)  # type: ignore[call-overload]  # where DictReader puts cells beyond the header
        cells = {key: (value or "").strip() for key, value in row.items()}
        if extra and any(cell.strip() for cell in extra):
            raise InputError(f"{name} line {reader.line_num}: has more cells than the header has columns")
        if any(cells.values()):
            yield reader.line_num, cells


def _check_agreement(rows: Sequence[TableRow], name: str) -> None:
    """Refuse lines that contradict one another, or say the same twice."""
    people: dict[str, TableRow] = {}
    windows: dict[tuple[str, float], int] = {}
    ranks: dict[tuple[str, int], int] = {}
    for row in rows:
        first = people.setdefault(row.subject, row)
        for fact in ("age", "sex"):
            if getattr(row, fact) != getattr(first, fact):
                found = f"{fact} of {row.subject} is {getattr(row, fact)}, but {getattr(first, fact)}"
                raise InputError(f"{name} line {row.line}: {found} in line {first.line}")
        if (twin := windows.setdefault((row.file, row.onset_s), row.line)) != row.line:
            raise InputError(f"{name} line {row.line}: the same file and onset_s as in line {twin}")
        if row.rank and (twin := ranks.setdefault((row.subject, row.rank), row.line)) != row.line:
            raise InputError(f"{name} line {row.line}: rank {row.rank} of {row.subject} is taken by line {twin}")
    _check_sharing(rows, name)


def _check_sharing(rows: Sequence[TableRow], name: str) -> None:
    """Refuse a stretch of a file that is said to be of two people."""
    latest: dict[str, TableRow] = {}  # of each file, the trial that ends last until here
    for row in sorted(rows, key=lambda row: (row.file, row.onset_s)):
        before = latest.setdefault(row.file, row)
        if before.subject != row.subject and _end(before) > row.onset_s:
            found = f"a stretch of {row.subject}'s file is {before.subject}'s in line {before.line}"
            raise InputError(f"{name} line {row.line}: {found}; accepted: trials of one person each")
        latest[row.file] = max(before, row, key=_end)


def _end(row: TableRow) -> float:
    return math.inf if row.end_s is None else row.end_s
