"""Checks of the words of system and user turns: none tells the label."""

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

from dataset_builder.audit.case import Case, Row, refuse, turn
from dataset_builder.sources.clips import CLIPS

_ROLES = ["system", "user", "assistant"]


def check_turns(case: Case) -> int:
    """Refuse a row that is not one system, one user and one assistant turn."""
    wrong = [row for row in case.rows if [turn["role"] for turn in row["messages"]] != _ROLES]
    refuse("turns", f"expected {', '.join(_ROLES)}", wrong)
    return len(case.rows)


def check_system_turns(case: Case) -> int:
    """Refuse a system turn that depends on the row: all of one wording must be equal. It may list every label."""
    first: dict[int, str] = {}
    wrong = [row for row in case.rows if first.setdefault(row["phrasing"], turn(row, "system")) != turn(row, "system")]
    refuse("system turns", "differ from other rows of the same wording", wrong)
    return len(case.rows)


def check_user_words(case: Case) -> int:
    """Refuse label words, film titles and numbered clips in a user turn.

    The code itself is left out: letters of an alphabet may form a word by chance. That it is a code and nothing else is
    checked by reading it back, see `dataset_builder.audit.fields.check_rendering`.
    """
    for row in case.rows:
        if word := find_label_word(_without_code(row)):
            refuse("label words", f"a user turn says {word!r}", [row])
    return len(case.rows)


def find_label_word(text: str) -> str | None:
    """Return the first word of `text` that tells an emotion, a valence, a film or a clip; None if there is none."""
    match = _pattern().search(text)
    return match.group() if match else None


def _without_code(row: Row) -> str:
    # A line end in its place, so that nothing around it joins into a word.
    return turn(row, "user").replace(row["code"].strip() or "\n", "\n")


@cache
def _pattern() -> re.Pattern[str]:
    words = yaml.safe_load(resources.files(__package__).joinpath("words.yaml").read_text(encoding="utf-8"))
    groups: list[dict[str, list[str]]] = [*words["emotions"].values(), words["valence"]]
    english = [word for group in groups for word in group["en"]] + [clip.film.strip() for clip in CLIPS]
    chinese = [word for group in groups for word in group["zh"]] + words["films"]["zh"]
    return re.compile(
        rf"(?<![a-z])(?:{_join(english)})(?![a-z])|{_join(chinese)}|{_numbered(words)}", flags=re.IGNORECASE
    )


def _numbered(words: dict[str, Any]) -> str:
    stimulus, number = words["stimulus"], rf"(?:\d+|(?:{_join(words['numbers']['en'])})(?![a-z]))"
    english = rf"(?<![a-z])(?:{_join(stimulus['en'])})[\s_:#-]*(?:no\.?|number|index|id)?[\s_:#-]*{number}"
    chinese = rf"(?:{_join(stimulus['zh'])})[\s：:#]*(?:编号|序号)?[\s：:#]*\d+|第\s*\d+\s*[段个部]"
    return f"{english}|{chinese}"


def _join(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
