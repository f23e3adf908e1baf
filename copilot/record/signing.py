"""Who may sign, and what must be done before: a checklist that is ticked in full, and a hand-off where one is due."""

import re
from collections.abc import Collection
from datetime import datetime
from functools import cache
from importlib import resources

import yaml

from copilot.record.marks import MAX_NAME, MAX_TEXT, Item
from copilot.record.types import Record
from dataset_builder.errors import InputError
from dataset_builder.prompts import Language

_FILE = "checklist.yaml"


@cache
def load_checklist(language: Language = "en") -> dict[str, str]:
    """Return what a person confirms before signing: key -> sentence, in order; the keys are those of every language."""
    listed = yaml.safe_load(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))
    return {key: sentences[language] for key, sentences in listed.items()}


def list_alerts(record: Record) -> list[Item]:
    """Return the entered items whose number asks for a person to act now."""
    return [item for section in record.sections for item in section.items if item.alerts]


def list_obstacles(record: Record, checklist: Collection[str]) -> list[str]:
    """Return why a record cannot be signed; empty when it can.

    Parameters
    ----------
    record : Record
    checklist : collection of str
        Ticked keys of `load_checklist`.
    """
    if record.signed:
        return ["the record is signed already; a change makes an amendment"]
    obstacles = []
    if missing := [key for key in load_checklist() if key not in checklist]:
        obstacles.append(f"the checklist lacks {', '.join(missing)}")
    if (alerts := list_alerts(record)) and record.handoff is None:
        obstacles.append(f"{alerts[0].label} above {alerts[0].alert_above} needs a recorded hand-off: to whom and when")
    return obstacles


def check_name(value: str, what: str, *, needed: bool = True) -> str:
    """Return a name or role without blanks around it.

    Raises
    ------
    InputError
        If it is empty though needed, too long, or holds anything but one line of text. What was typed is not repeated.
    """
    text = value.strip()
    if needed and not text:
        raise InputError(f"{what}: is empty; accepted: 1 to {MAX_NAME} characters")
    if len(text) > MAX_NAME or not text.isprintable():
        raise InputError(f"{what}: found {len(text)} characters; accepted: one line of at most {MAX_NAME}")
    return text


def check_words(value: str, what: str, *, needed: bool = True) -> str:
    """Return what a person wrote without blanks around it; several lines are accepted.

    Raises
    ------
    InputError
        If it is empty though needed, too long, or holds invisible characters.
    """
    text = re.sub(r"\r\n?", "\n", value).strip()
    if needed and not text:
        raise InputError(f"{what}: is empty; accepted: 1 to {MAX_TEXT} characters")
    if len(text) > MAX_TEXT:
        raise InputError(f"{what}: found {len(text)} characters; accepted: at most {MAX_TEXT}")
    if not re.sub(r"[\n\t\u3000]", "", text).isprintable():
        raise InputError(f"{what}: holds characters that cannot be shown; accepted: text, line breaks and tabs")
    return text


def check_moment(when: str | datetime, what: str) -> str:
    """Return a moment as ISO 8601 to the minute, as it was stated.

    Raises
    ------
    InputError
        If it is no date and time.
    """
    try:
        moment = when if isinstance(when, datetime) else _read_moment(when.strip())
    except ValueError:
        raise InputError(f"{what}: not a date and time; accepted: such as 2026-05-04T10:30") from None
    return moment.isoformat(timespec="minutes")


def _read_moment(text: str) -> datetime:
    """Read a moment; Python takes a date alone as midnight, and an hour alone as its first minute."""
    if not re.search(r"[Tt ]\d\d:?\d\d", text):
        raise ValueError
    return datetime.fromisoformat(text)
