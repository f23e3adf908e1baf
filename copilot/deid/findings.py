"""What is found in a recording's header: what may be shown, and what may identify somebody."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from copilot.gate import cap_age
from dataset_builder.errors import InputError

#: The eighteen identifiers of the Safe Harbor method, 45 CFR 164.514(b)(2)(i), under its letters.
CLASSES: dict[str, str] = {
    "A": "names",
    "B": "places smaller than a state",
    "C": "dates and ages over 89",
    "D": "telephone numbers",
    "E": "fax numbers",
    "F": "e-mail addresses",
    "G": "social security numbers",
    "H": "medical record numbers",
    "I": "health plan numbers",
    "J": "account numbers",
    "K": "certificate and licence numbers",
    "L": "vehicle identifiers",
    "M": "device identifiers and serial numbers",
    "N": "web addresses",
    "O": "IP addresses",
    "P": "biometric identifiers",
    "Q": "full-face photographs and the like",
    "R": "any other identifying text",
}

#: Classes that a text shows by its form, whatever field it stands in; the first that fits.
_FORMS: dict[str, re.Pattern[str]] = {
    "F": re.compile(r"\S+@\S+\.\w"),
    "N": re.compile(r"(?i)\bhttps?://|\bwww\.\w"),
    "O": re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    "G": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "D": re.compile(r"\+\d[\d\s()/-]{6,}\d|\b\d{3}[\s-]\d{3,4}[\s-]\d{3,4}\b"),
}

#: What stands in a field that says nothing.
_EMPTY = {"", "x", "n/a", "unknown", "none", "startdate"}

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


@dataclass(frozen=True)
class HeaderField:
    """One line of a header preview.

    Parameters
    ----------
    name : str
        What the field is, for example ``"Patient"``.
    shown : str
        Text that may be shown.
    masked : bool
        Whether the field holds something that may identify somebody, so that `shown` does not tell it.
    """

    name: str
    shown: str
    masked: bool


@dataclass(frozen=True)
class Finding:
    """Something in a file that may identify somebody.

    Parameters
    ----------
    place : str
        The field, for example ``"technician"``.
    kind : str
        Letter of `CLASSES`.
    text : str
        The value; only ever searched for in what was written, hence no part of the representation.
    """

    place: str
    kind: str
    text: str = field(repr=False)


@dataclass
class Findings:
    """All findings of one file, in the order of reading, and what may be kept about the person.

    Parameters
    ----------
    found : list of Finding
    sex : {"F", "M"} or None
    born, recorded : date or None
        Never written; they give the age and, where asked for, the year of the recording.
    kept_annotations, removed_annotations : int
    """

    found: list[Finding] = field(default_factory=list)
    sex: str | None = None
    born: date | None = field(default=None, repr=False)
    recorded: date | None = field(default=None, repr=False)
    kept_annotations: int = 0
    removed_annotations: int = 0

    def add(self, place: str, kind: str, text: str) -> None:
        """Note a value; texts that say nothing are no findings."""
        text = text.strip()
        if text.lower() not in _EMPTY:
            form = next((letter for letter, pattern in _FORMS.items() if pattern.search(text)), kind)
            self.found.append(Finding(place, form, text))

    @property
    def age(self) -> int | None:
        """Age at the recording in years, every age above 89 as 90; None where a date is unknown or impossible."""
        if self.born is None or self.recorded is None or self.born > self.recorded:
            return None
        had_birthday = (self.recorded.month, self.recorded.day) >= (self.born.month, self.born.day)
        return cap_age(self.recorded.year - self.born.year - (not had_birthday))


@dataclass
class Cleaned:
    """A recording whose header was read and that can be written without what identifies.

    Parameters
    ----------
    title : str
        Format, for example ``"EDF"``.
    facts : dict of str to str
        What may be shown, by name.
    findings : Findings
        Grows while `write` meets annotations.
    write : callable
        ``write(folder, name)`` writes the files ``name.*`` into a folder.
    """

    title: str
    facts: dict[str, str]
    findings: Findings
    write: Callable[[Path, str], None]


def describe_rates(n_channels: int, sfreq_hz: float, length_s: float) -> dict[str, str]:
    """Return the facts that every format has.

    Parameters
    ----------
    n_channels : int
    sfreq_hz : float
    length_s : float
    """
    facts = {"Channels": str(n_channels), "Sampling rate": f"{sfreq_hz:g} Hz"}
    return facts | ({"Duration": f"{length_s:.1f} s"} if length_s >= 0 else {})


def parse_date(text: str) -> date | None:
    """Read ``02-MAR-1951`` or ``1951-03-02``; None where it is no date."""
    parts = re.split(r"[-./]", text.strip().lower())
    if len(parts) != 3:
        return None
    day, month, year = parts if len(parts[0]) < 4 else parts[::-1]
    number = str(_MONTHS.index(month[:3]) + 1) if month[:3] in _MONTHS else month
    try:
        return date(int(year), int(number), int(day))
    except ValueError:
        return None


def decode_text(data: bytes) -> str:
    """Read a text of a header: UTF-8, or else Latin-1, which every byte sequence is."""
    data = data.replace(b"\x00", b" ")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def damaged(suffix: str, what: str) -> InputError:
    """Return the error of a file that cannot be read, without its name or any text of it."""
    return InputError(f"recording ({suffix}): {what}")
