"""Prompts and answers: the words around a code.

The user turn holds sex, age and the code, never anything that follows from the label. The answer is JSON: the emotion
first, then an assessment, then identifiers of suggestions from the cited library (`suggestions/library.yaml`).
"""

import json
import unicodedata
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field

from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel, validate
from dataset_builder.types import EMOTIONS, VALENCE, Code

#: How every answer starts; the label follows, then a double quote. Label scores are read right after this text.
ANSWER_PREFIX = '{"emotion": "'

#: Longest assessment that the schema admits, in characters.
_MAX_ASSESSMENT = 300


class Source(StrictModel):
    """Where a suggestion comes from."""

    title: str
    publisher: str
    year: int
    url: str


class Suggestion(StrictModel):
    """One entry of the library: an option to discuss, never a prescription."""

    id: str = Field(pattern=r"^[a-z][a-z-]*$")
    text: str
    emotions: list[str]
    source: Source


class Answer(StrictModel):
    """A parsed answer."""

    emotion: str
    assessment: str
    suggestions: list[str]


class PromptConfig(StrictModel):
    """Options of the prompt.

    Parameters
    ----------
    style : str
        Only ``"emotion_qa"`` so far.
    demographics : bool
        Whether sex and age are told.
    """

    style: str = Field(default="emotion_qa", pattern="^emotion_qa$")
    demographics: bool = True


def _load_suggestions() -> dict[str, Suggestion]:
    text = resources.files(__name__).joinpath("suggestions/library.yaml").read_text(encoding="utf-8")
    library = yaml.safe_load(text)
    entries = [item | {"source": library["sources"][item["source"]]} for item in library["suggestions"]]
    return {item["id"]: validate(Suggestion, item, where="suggestions/library.yaml") for item in entries}


#: The whole library by identifier.
SUGGESTIONS: dict[str, Suggestion] = _load_suggestions()


def render_prompt(codec: Codec, code: Code, age: int | None, sex: str | None) -> list[dict[str, str]]:
    """Render the system and the user turn.

    Parameters
    ----------
    codec : Codec
        The codec that made `code`; its legend goes into the system turn, which is the same for every trial.
    code : Code
    age : int or None
        Years.
    sex : {"F", "M"} or None

    Returns
    -------
    list of dict
        ``{"role": "system" | "user", "content": str}``; NFC text, so that llama.cpp and Transformers tokenise alike.
    """
    system = _render("system", emotions=EMOTIONS, legend=codec.legend)
    user = _render("user", age=age, sex=sex, code=codec.to_text(code))
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def render_answer(emotion: str, observation: str = "", suggestion_ids: list[str] | None = None) -> str:
    """Render the answer that the model is trained to give.

    Parameters
    ----------
    emotion : str
        One of `EMOTIONS`.
    observation : str
        A sentence about the code itself, see `Codec.describe`.
    suggestion_ids : list of str, optional
        Default: `select_suggestions`.
    """
    assessment = _render("assessment", emotion=emotion, valence=VALENCE[emotion], observation=observation)
    chosen = select_suggestions(emotion) if suggestion_ids is None else suggestion_ids
    return json.dumps({"emotion": emotion, "assessment": assessment, "suggestions": chosen}, ensure_ascii=False)


def select_suggestions(emotion: str) -> list[str]:
    """Return the identifiers of the library's entries for an emotion, in library order."""
    return [item.id for item in SUGGESTIONS.values() if emotion in item.emotions]


def answer_schema(emotion: str | None = None) -> dict[str, Any]:
    """Return the JSON schema of an answer; with `emotion` given, that value is fixed and only its suggestions fit."""
    allowed = list(SUGGESTIONS) if emotion is None else select_suggestions(emotion)
    return {
        "type": "object",
        "properties": {
            "emotion": {"type": "string", "enum": list(EMOTIONS) if emotion is None else [emotion]},
            "assessment": {"type": "string", "minLength": 1, "maxLength": _MAX_ASSESSMENT},
            "suggestions": {
                "type": "array",
                "items": {"type": "string", "enum": allowed},
                "minItems": 1,
                "maxItems": 3,
            },
        },
        "required": ["emotion", "assessment", "suggestions"],
        "additionalProperties": False,
    }


def parse_answer(text: str) -> Answer:
    """Read an answer back.

    Raises
    ------
    InputError
        If the text is not JSON, not of the schema, or names an unknown emotion or suggestion.
    """
    try:
        values = json.loads(text)
    except ValueError:
        raise InputError("answer: not valid JSON") from None
    try:
        answer = Answer.model_validate(values)
    except ValueError:
        raise InputError("answer: expected the keys emotion, assessment and suggestions") from None
    if answer.emotion not in EMOTIONS:
        raise InputError(f"answer: unknown emotion; accepted: {', '.join(EMOTIONS)}")
    if unknown := [item for item in answer.suggestions if item not in SUGGESTIONS]:
        raise InputError(f"answer: {len(unknown)} suggestions are not in the library")
    return answer


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__name__), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
    )


def _render(template: str, **values: Any) -> str:
    text = _environment().get_template(f"{template}.jinja").render(**values)
    return unicodedata.normalize("NFC", text.strip())
