"""The library of sentences: every assessment and suggestion that an answer may hold, with its source and its review.

Nothing is made up when an answer is rendered; it is selected here, by emotion, age and sex, always the same way.
"""

import datetime
from collections.abc import Sequence
from importlib import resources
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import Field, field_validator, model_validator

from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel, validate
from dataset_builder.types import EMOTIONS, VALENCE

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

#: Most suggestions that one answer holds.
MAX_SUGGESTIONS = 3

_FILE = "suggestions/library.yaml"


class Source(StrictModel):
    """Where an entry comes from."""

    title: str
    publisher: str
    year: int
    url: str = Field(pattern="^https://")


class Review(StrictModel):
    """Whether a qualified person has read an entry.

    Parameters
    ----------
    state : {"unreviewed", "reviewed"}
    by : str
        The reviewer's role, never a name; needed for ``"reviewed"``.
    date : date or None
        Needed for ``"reviewed"``.
    """

    state: Literal["unreviewed", "reviewed"] = "unreviewed"
    by: str = ""
    date: datetime.date | None = None

    @model_validator(mode="after")
    def _ask_for_reviewer(self) -> Self:
        if self.state == "reviewed" and not (self.by and self.date):
            raise ValueError("a reviewed entry needs by (a role) and date")
        return self


class Rules(StrictModel):
    """For whom an entry is meant. A person whose age or sex is unknown meets no rule about it.

    Parameters
    ----------
    min_age, max_age : int or None
        Years, both included.
    sex : {"F", "M"} or None
    """

    min_age: int | None = Field(default=None, ge=0)
    max_age: int | None = Field(default=None, ge=0)
    sex: Literal["F", "M"] | None = None

    def admit(self, age: int | None, sex: str | None) -> bool:
        """Tell whether a person of this age (years) and sex meets the rules."""
        if self.sex is not None and sex != self.sex:
            return False
        if self.min_age is None and self.max_age is None:
            return True
        return age is not None and (self.min_age or 0) <= age <= (age if self.max_age is None else self.max_age)


class _Entry(StrictModel):
    """What assessments and suggestions have in common."""

    id: str = Field(pattern=r"^[a-z][a-z-]*$")
    text: dict[Language, str]
    emotions: list[str] = Field(min_length=1)
    source: Source
    review: Review

    @field_validator("text")
    @classmethod
    def _ask_for_languages(cls, value: dict[Language, str]) -> dict[Language, str]:
        if missing := [language for language in LANGUAGES if not value.get(language)]:
            raise ValueError(f"lacks {', '.join(missing)}")
        return value

    @field_validator("emotions")
    @classmethod
    def _know_emotions(cls, value: list[str]) -> list[str]:
        if unknown := [emotion for emotion in value if emotion not in EMOTIONS]:
            raise ValueError(f"unknown emotion {', '.join(unknown)}; accepted: {', '.join(EMOTIONS)}")
        return value


class Assessment(_Entry):
    """One wording of an estimate; `text` may name ``{emotion}``, its ``{word}`` and its ``{valence}``."""


class Suggestion(_Entry):
    """One option to discuss, never a prescription."""

    rules: Rules = Rules()

    @field_validator("emotions")
    @classmethod
    def _refuse_fine_states(cls, value: list[str]) -> list[str]:
        if fine := [emotion for emotion in value if needs_none(emotion)]:
            raise ValueError(f"{', '.join(fine)} needs no suggestion; accepted: emotions of negative valence")
        return value


class Library(StrictModel):
    """All entries, in the order in which they are selected.

    Parameters
    ----------
    version : int
        Raised whenever an entry changes.
    assessments : list of Assessment
    suggestions : list of Suggestion
    no_suggestion : dict of str to str
        Stated, by language, where the emotion is neutral or positive.
    """

    version: int = Field(ge=1)
    assessments: list[Assessment]
    suggestions: list[Suggestion]
    no_suggestion: dict[Language, str]

    def select_assessments(self, emotion: str) -> list[Assessment]:
        """Return the wordings for an emotion, in library order."""
        return [item for item in self.assessments if emotion in item.emotions]

    def list_suggestions(self, emotion: str, age: int | None = None, sex: str | None = None) -> list[Suggestion]:
        """Return all entries for an emotion whose rules the person meets, in library order.

        Parameters
        ----------
        emotion : str
            One of `EMOTIONS`; none fits where its valence is not negative.
        age : int or None
            Years.
        sex : {"F", "M"} or None
        """
        return [item for item in self.suggestions if emotion in item.emotions and item.rules.admit(age, sex)]

    def select_suggestions(self, emotion: str, age: int | None = None, sex: str | None = None) -> list[Suggestion]:
        """Return the first `MAX_SUGGESTIONS` of `list_suggestions`: those that an answer holds."""
        return self.list_suggestions(emotion, age, sex)[:MAX_SUGGESTIONS]


def needs_none(emotion: str) -> bool:
    """Tell whether an emotion is a state that needs no suggestion: neutral or positive."""
    return VALENCE[emotion] != "negative"


def parse_library(text: str, where: str = _FILE) -> Library:
    """Read a library from YAML.

    Raises
    ------
    RecipeError
        If an entry is not complete, names an unknown source, or an identifier is given twice.
    """
    values = yaml.safe_load(text)
    sources = values.pop("sources", {})
    for section in ("assessments", "suggestions"):
        values[section] = [_put_source(item, sources, where) for item in values.get(section, [])]
    library = validate(Library, values, where=where)
    for entries in (library.assessments, library.suggestions):
        _refuse_repeated([item.id for item in entries], where)
    return library


def _put_source(item: dict[str, Any], sources: dict[str, Any], where: str) -> dict[str, Any]:
    if item.get("source") not in sources:
        raise RecipeError(f"{where}: source {item.get('source')!r} is unknown; accepted: {', '.join(sources)}")
    return item | {"source": sources[item["source"]]}


def _refuse_repeated(ids: Sequence[str], where: str) -> None:
    if repeated := sorted({item for item in ids if ids.count(item) > 1}):
        raise RecipeError(f"{where}: id {', '.join(repeated)} is given twice; accepted: each once")


#: The library that this version ships.
LIBRARY = parse_library(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))

#: Its suggestions by identifier.
SUGGESTIONS: dict[str, Suggestion] = {item.id: item for item in LIBRARY.suggestions}
