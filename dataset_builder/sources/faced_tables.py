"""The tables at the root of FACED's release, and what is known of the data set as a whole."""

import csv
import io
import json
import re
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST
from dataset_builder.sources.base import SourceInfo
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.workbooks import read_first_sheet
from dataset_builder.types import SCALP_CHANNELS

#: Processed order. The release names the last two HEOR and HEOL, but they sat on the mastoids A2 and A1.
CHANNELS: tuple[str, ...] = (*SCALP_CHANNELS, "A2", "A1")

INFO_TABLE = "Recording_info.csv"
CLIP_TABLE = "Stimuli_info.xlsx"

#: A file of this name in the root says that the cohort is made up.
SYNTHETIC_MARK = "SYNTHETIC.md"

#: Header of the information table; the release has a space after "Cohort", other tools strip it.
INFO_COLUMNS = ("sub", "Gender", "Age", "Cohort", "Sample_rate", "Unit")

#: Of the data set, whatever copy of it is read.
CITATION = (
    "Chen J, Wang X, Huang C, Hu X, Shen X, Zhang D (2023). A large finer-grained affective computing EEG dataset. "
    "Scientific Data 10:740. doi:10.1038/s41597-023-02650-w"
)
POPULATION = (
    "Recorded were 123 healthy people aged 17 to 38 in one laboratory in China, who watched 28 film clips; other ages, "
    "patients, other cultures and emotions outside the laboratory are not covered."
)

REAL = SourceInfo(
    name="faced",
    title="FACED: Finer-grained Affective Computing EEG Dataset",
    synthetic=False,
    licence_id="other",
    licence_name="not stated by the authors (its BIDS mirror says CC BY 4.0); attribute, do not redistribute signals",
    citation=CITATION,
    url="https://doi.org/10.7303/syn50614194",
    population=POPULATION,
)

SYNTHETIC = SourceInfo(
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

_ACCEPTED = {
    "sub": (r"sub\d{3}", "sub000 to sub999"),
    "Gender": ("[FM]", "F or M"),
    "Age": (r"\d{1,3}", "whole years"),
    "Cohort": ("[12]", "1 or 2"),
    "Sample_rate": (r"\d{2,5}", "Hz as a whole number"),
}


def read_people(root: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the information table by pseudonym, values checked.

    Raises
    ------
    InputError
        If the folder or the table is missing, or a value is not one of the release's.
    """
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


def check_clips(path: Path) -> None:
    """Compare the clip table, if it is there, with the one that labels are taken from.

    Raises
    ------
    InputError
        If the two differ or the file is no workbook.
    """
    if not path.is_file():
        return
    rows = read_first_sheet(path, CLIP_TABLE)
    found = {row[0]: row for row in rows if isinstance(row[0], int)}
    for clip in CLIPS:
        row = found.get(clip.number, ())
        if len(row) < 6:
            raise InputError(f"{CLIP_TABLE}: has no complete row for clip {clip.number}")
        if row[4:6] != (clip.valence, clip.emotion):
            label = f"{row[4]} {row[5]}"[:40]
            raise InputError(f"{CLIP_TABLE}: clip {clip.number} is {label!r}, expected {clip.valence} {clip.emotion}")


def is_synthetic(root: Path) -> bool:
    """Tell whether the cohort says of itself that it is made up: by its mark or by its manifest."""
    if (root / SYNTHETIC_MARK).exists():
        return True
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the real release has none
        return False
    return isinstance(manifest, dict) and manifest.get("synthetic") is True


def _check_person(person: dict[str, str], line: int) -> None:
    for key, (pattern, accepted) in _ACCEPTED.items():
        if not re.fullmatch(pattern, person[key]):
            raise InputError(f"{INFO_TABLE} line {line}: {key} is {person[key][:20]!r}, expected {accepted}")
