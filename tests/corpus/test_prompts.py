import json

import pytest

from dataset_builder.codecs import CODECS, make_codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import (
    ANSWER_PREFIX,
    SUGGESTIONS,
    answer_schema,
    parse_answer,
    render_answer,
    render_prompt,
    select_suggestions,
)
from dataset_builder.types import EMOTIONS
from tests.corpus.test_every_codec import make_recording


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_answers_start_alike_and_parse_back(emotion: str) -> None:
    text = render_answer(emotion, "Something stands out.")
    assert text.startswith(ANSWER_PREFIX + emotion + '"')
    answer = parse_answer(text)
    assert answer.emotion == emotion
    assert answer.assessment.endswith("Something stands out.")
    assert answer.suggestions == select_suggestions(emotion)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_has_cited_suggestions(emotion: str) -> None:
    chosen = select_suggestions(emotion)
    assert 1 <= len(chosen) <= 3
    assert all(SUGGESTIONS[item].source.url.startswith("https://") for item in chosen)


def test_system_turn_is_constant_and_user_turn_names_no_emotion() -> None:
    codec = make_codec(CODECS["wavelet"].Config())
    codes = codec.encode(list(make_recording(1)))
    prompts = [render_prompt(codec, code, age, sex) for code, age, sex in zip(codes, (20, 35, None), ("F", "M", None))]  # noqa: B905
    assert len({prompt[0]["content"] for prompt in prompts}) == 1
    for prompt in prompts:
        user = prompt[1]["content"].lower()
        assert not any(emotion in user for emotion in (*EMOTIONS, "positive", "negative", "valence"))
    assert "Age: not stated" in prompts[2][1]["content"]


def test_suggestions_prescribe_nothing() -> None:
    forbidden = ("mg", "dose", "medication", "drug", "diagnos", "cure", "must ", "stop taking", "prescri")
    for item in SUGGESTIONS.values():
        assert not any(word in item.text.lower() for word in forbidden)


def test_schema_fixes_the_emotion_and_its_suggestions() -> None:
    schema = answer_schema("fear")
    assert schema["properties"]["emotion"]["enum"] == ["fear"]
    assert schema["properties"]["suggestions"]["items"]["enum"] == select_suggestions("fear")


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        json.dumps({"emotion": "joy"}),
        json.dumps({"emotion": "rage", "assessment": "x", "suggestions": []}),
        json.dumps({"emotion": "joy", "assessment": "x", "suggestions": ["take-two-pills"]}),
        json.dumps({"emotion": "joy", "assessment": "x", "suggestions": [], "diagnosis": "y"}),
    ],
)
def test_foreign_answers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="answer:"):
        parse_answer(text)
