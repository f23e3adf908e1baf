"""What no answer may say: drugs, doses, certainty, diagnoses, prescriptions, claims of risk (`deny.yaml`)."""

import re
from functools import cache
from importlib import resources

import yaml

from dataset_builder.errors import InputError
from dataset_builder.prompts.library import LANGUAGES

_FILE = "deny.yaml"


def check_denied(text: str, language: str) -> str | None:
    """Look for what an answer may not say.

    Parameters
    ----------
    text : str
        Sentences of an answer, never a prompt: those may quote what an answer must not say.
    language : {"en", "zh"}
        Its patterns are tried first; those of the other languages follow, since a model may slip into them.

    Returns
    -------
    str or None
        The first words found, in lower case, and their kind, such as ``"20 mg (dose)"``; None if nothing is.

    Raises
    ------
    InputError
        If there is no list for the language.
    """
    if language not in LANGUAGES:
        raise InputError(f"deny list: no language {language!r}; accepted: {', '.join(LANGUAGES)}")
    for name in sorted(LANGUAGES, key=lambda other: other != language):
        for kind, pattern in _load_patterns(name).items():
            if hit := pattern.search(text):
                return f"{hit.group().lower()} ({kind})"
    return None


@cache
def _load_patterns(language: str) -> dict[str, re.Pattern[str]]:
    """Return kind -> one pattern of all its entries."""
    listed = yaml.safe_load(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))[language]
    edge = r"(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])" if language == "en" else "(?:{})"
    return {kind: re.compile(edge.format("|".join(entries)), re.IGNORECASE) for kind, entries in listed.items()}
