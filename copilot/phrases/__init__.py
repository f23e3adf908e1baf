"""What programs say, in another language: a phrase book whose keys are the English sentences, as gettext's are.

Gate, readers and record write English, and a record keeps what they wrote, so that its bytes do not depend on who looks
at it. Whoever shows a sentence looks it up here: the English one, with its places, tells which it is, and what stands
in the places is carried over. A sentence that the book does not hold stays English.
"""

import re
from functools import cache, lru_cache
from importlib import resources

import yaml

from dataset_builder.prompts import Language
from dataset_builder.prompts.wordings import load_terms

_PLACE = re.compile(r"\{(\w+)\}")

#: Places in which stands what people wrote; it is carried over as it is.
_PEOPLES = frozenset({"who", "name", "role", "to", "when"})


def say(text: str, language: Language, **values: object) -> str:
    """Return a sentence of ours in a language.

    Parameters
    ----------
    text : str
        A finished sentence, or one with places such as ``{count}``. Never what a person or a model wrote: it could be
        taken for a sentence of ours.
    language : {"en", "zh"}
    **values
        What stands in the places.

    Returns
    -------
    str
    """
    found = None if language == "en" else _look_up(text, language)
    spoken = text if found is None else found
    return spoken.format(**values) if values else spoken


def knows(text: str, language: Language) -> bool:
    """Tell whether the phrase book of a language holds a sentence."""
    return language == "en" or _look_up(text, language) is not None


@cache
def load_phrases(language: Language) -> dict[str, str]:
    """Return the phrase book of a language: English with places -> the language with the same places."""
    text = resources.files(__name__).joinpath(f"{language}.yaml").read_text(encoding="utf-8")
    phrases: dict[str, str] = yaml.safe_load(text)
    terms = load_terms(language)
    return {**phrases, **terms.emotions, **terms.valences}


@lru_cache(maxsize=4096)
def _look_up(text: str, language: Language) -> str | None:
    """Return a sentence in a language with its places filled, or None; of several that fit the most specific one."""
    if (known := load_phrases(language).get(text)) is not None:
        return known
    for pattern, phrase in _list_patterns(language):
        match = pattern.fullmatch(text)
        if match and ("sentence" not in pattern.groupindex or knows(match["sentence"], language)):
            found = match.groupdict()
            return phrase.format(**{k: v if k in _PEOPLES else say(v, language) for k, v in found.items()})
    parts = text.split(", ")
    if len(parts) > 1 and all(knows(part, language) for part in parts):
        return "、".join(say(part, language) for part in parts)
    return None


@cache
def _list_patterns(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """Return sentences with places: first those around another sentence, then those with most letters of their own."""
    phrases = {key: phrase for key, phrase in load_phrases(language).items() if _PLACE.search(key)}
    ordered = sorted(phrases, key=lambda key: ("{sentence}" not in key, -len(_PLACE.sub("", key))))
    return [(_make_pattern(key), phrases[key]) for key in ordered]


def _make_pattern(key: str) -> re.Pattern[str]:
    parts = _PLACE.split(key)  # text and names of places by turns
    written = [f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    return re.compile("".join(written), re.DOTALL)
