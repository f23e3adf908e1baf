"""The statement beside de-identified recordings: what was removed, by class, counted and never quoted."""

from collections import Counter

from pydantic import Field

from copilot.deid.findings import CLASSES, Cleaned
from dataset_builder.recipe import StrictModel

#: What a statement is and is not; first in JSON and Markdown.
NOTICE = (
    "Evidence of what was removed, not a certification. EEG itself can tell people apart (class P): who has another "
    "recording of the same person may recognise them, and a rare condition or combination of facts can identify too. "
    "Whether these files may be shared is decided by people who know the data."
)

_METHOD = (
    "Headers are built anew from lists of known channel names, units, filters and event words; all dates and times are "
    "left out; files get numbers in the order of their contents' digests, which tells neither their names nor the "
    "order in which they were given."
)


class FileStatement(StrictModel):
    """What was done to one recording.

    Parameters
    ----------
    name : str
        New name without suffix.
    format : str
    sex : str or None
        ``"F"`` or ``"M"`` if the header said so.
    age : int or str or None
        Years at the recording; ``"90 or older"`` above 89.
    recorded_year : int or None
        Only where asked for.
    removed : dict of str to int
        Letter of `copilot.deid.findings.CLASSES` -> number of texts and values.
    places : dict of str to int
        Kind of field -> number of texts and values.
    annotations_kept, annotations_removed : int
    signals_equal : bool
        Whether every sample was read back equal from source and result by MNE; False if MNE cannot read the source.
    texts_searched : int
        How many of the removed texts were searched for in the new files, as UTF-8, Latin-1 and UTF-16. None was found,
        else there would be no statement.
    """

    name: str
    format: str
    sex: str | None = None
    age: int | str | None = None
    recorded_year: int | None = None
    removed: dict[str, int]
    places: dict[str, int]
    annotations_kept: int
    annotations_removed: int
    signals_equal: bool
    texts_searched: int


class Statement(StrictModel):
    """The statement of one run, see `FileStatement`."""

    notice: str = NOTICE
    method: str = _METHOD
    classes: dict[str, str] = Field(default=CLASSES)
    files: list[FileStatement]


def describe_cleaned(cleaned: Cleaned, name: str, *, keep_year: bool, compared: bool, searched: int) -> FileStatement:
    """Return the statement of one recording after it was written.

    Parameters
    ----------
    cleaned : Cleaned
    name : str
        New name.
    keep_year : bool
        Whether to state the year of the recording.
    compared : bool
        Whether the samples were compared.
    searched : int
        Number of removed texts that were searched for.
    """
    findings = cleaned.findings
    age = findings.age
    return FileStatement(
        name=name,
        format=cleaned.title,
        sex=findings.sex,
        age="90 or older" if age is not None and age > 89 else age,
        recorded_year=findings.recorded.year if keep_year and findings.recorded else None,
        removed=dict(sorted(Counter(["R", *(finding.kind for finding in findings.found)]).items())),
        places=dict(sorted(Counter(["File name", *(finding.place for finding in findings.found)]).items())),
        annotations_kept=findings.kept_annotations,
        annotations_removed=findings.removed_annotations,
        signals_equal=compared,
        texts_searched=searched,
    )


def render_statement(statement: Statement) -> str:
    """Return the statement as Markdown."""
    total = Counter[str]()
    for file in statement.files:
        total.update(file.removed)
    lines = ["# What was removed", "", statement.notice, "", statement.method, ""]
    lines += ["| class | identifiers | removed |", "|---|---|---|"]
    lines += [f"| {letter} | {text} | {total[letter]} |" for letter, text in statement.classes.items()]
    lines += ["", "| file | format | person | annotations kept / removed | samples | texts searched for, found |"]
    lines += ["|---|---|---|---|---|---|", *(_render_file(file) for file in statement.files), ""]
    return "\n".join(lines)


def _render_file(file: FileStatement) -> str:
    age = f"{file.age} years" if isinstance(file.age, int) else file.age
    year = f"recorded in {file.recorded_year}" if file.recorded_year else None
    person = ", ".join(text for text in (file.sex, age, year) if text) or "not stated"
    samples = "all equal" if file.signals_equal else "copied, not compared"
    counts = f"{file.annotations_kept} / {file.annotations_removed}"
    return f"| {file.name} | {file.format} | {person} | {counts} | {samples} | {file.texts_searched}, 0 |"
