import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.answer import RecordingAnswer, answer_recording, describe_facts
from copilot.gate import CHANCE, cap_age, check_text
from dataset_builder.errors import InputError
from dataset_builder.prompts import LIBRARY, PromptConfig, PromptFacts, get_style
from dataset_builder.types import EMOTIONS
from tests.copilot.copilot_fakes import (
    FakeEngine,
    ScriptedEngine,
    answer_with,
    fitted_codec,
    make_answer,
    make_copilot_recording,
    peaked,
    proper_answer,
)


def test_every_window_is_asked_once_with_its_own_code():
    engine = FakeEngine()
    recording = make_copilot_recording(4)
    answer = make_answer(recording, engine)
    texts = [fitted_codec().to_text(code) for code in fitted_codec().encode_recording(recording)]
    assert [text in prompt[1]["content"] for text, prompt in zip(texts, engine.prompts, strict=True)] == [True] * 4
    assert answer.window_scores.shape == (4, 9)


def test_headline_is_the_best_mean_and_not_the_most_frequent():
    engine = ScriptedEngine([peaked("fear", 0.95), peaked("joy", 0.25), peaked("joy", 0.25)])
    answer = make_answer(engine=engine)
    assert answer.emotion == "fear"
    assert answer.scores["fear"] == pytest.approx((0.95 + 2 * 0.75 / 8) / 3)
    assert sum(answer.scores.values()) == pytest.approx(1)
    assert answer.agreement == pytest.approx(1 / 3)


def test_the_window_that_supports_the_headline_most_is_explained():
    engine = ScriptedEngine([peaked("joy", 0.4), peaked("joy", 0.9), peaked("joy", 0.5)])
    answer = make_answer(engine=engine)
    assert answer.explanation is not None
    assert answer.explanation.window == 1
    assert answer.explanation.messages == engine.explained == engine.prompts[1]
    assert engine.schemas[0]["properties"]["emotion"]["enum"] == ["joy"]


def test_suggestions_come_from_the_library_in_the_model_s_order():
    engine = FakeEngine("fear", text=proper_answer("fear", age=24, sex="F"))
    answer = make_answer(engine=engine)
    assert list(answer.explanation.suggestions) == LIBRARY.select_suggestions("fear", 24, "F")
    assert answer.explanation.text.startswith("Estimated evoked emotion: fear")
    assert answer.explanation.withheld == ""
    assert answer.explanation.observation.startswith("Largest deviation:")


def test_suggestions_for_another_emotion_or_given_twice_are_left_out():
    given = ["naming", "reappraisal", "naming", "with-guardian"]
    engine = FakeEngine("fear", text=answer_with("Fine.", "fear", given))
    assert [item.id for item in make_answer(engine=engine).explanation.suggestions] == ["naming"]


def test_a_minor_s_suggestions_name_a_guardian():
    engine = FakeEngine("fear", text=proper_answer("fear", age=15))
    answer = make_answer(make_copilot_recording(age=15), engine)
    assert answer.explanation.suggestions[0].id == "with-guardian"
    assert engine.schemas[0]["properties"]["suggestions"]["items"]["enum"][0] == "with-guardian"


def test_a_positive_state_gets_no_suggestion_whatever_the_model_writes():
    answer = make_answer(engine=FakeEngine("joy", text=answer_with("Fine.", "joy", ["grounding"])))
    assert answer.explanation.text == "Fine."
    assert answer.explanation.suggestions == ()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("emotion", ["sadness", "joy"])
def test_answers_in_plain_text_are_begun_with_the_headline(emotion, language):
    style = get_style(PromptConfig(style="paper", language=language))
    recording = make_copilot_recording(2)
    facts = PromptFacts(recording.age, recording.sex)
    raw = style.render_answer(emotion, facts, fitted_codec(), fitted_codec().encode_recording(recording)[0])
    engine = FakeEngine(emotion, text=raw, prefix=style.answer_prefix)
    answer = answer_recording(recording, engine, fitted_codec(), style)
    assert engine.schemas == [None]
    assert engine.begun == [f'Emotion label: "{emotion}"']
    assert raw.startswith(engine.begun[0])
    assert answer.explanation.withheld == ""
    assert answer.explanation.text in raw
    assert answer.explanation.observation in answer.explanation.text
    assert list(answer.explanation.suggestions) == LIBRARY.select_suggestions(emotion, recording.age, recording.sex)


def test_facial_features_of_a_window_are_told_where_the_model_was_trained_so():
    recording = make_copilot_recording(2, facial=({"AU04": 0.25}, {"AU12": 0.75}))
    for facial in (True, False):
        engine = FakeEngine("joy")
        answer_recording(recording, engine, fitted_codec(), get_style(PromptConfig(facial=facial)))
        told = ["AU04 0.25" in engine.prompts[0][1]["content"], "AU12 0.75" in engine.prompts[1][1]["content"]]
        assert told == [facial, facial]


@pytest.mark.parametrize("raw", ["", '{"emotion": "joy", "assess', answer_with("x", suggestions=["take-pills"])])
def test_unreadable_answer_leaves_the_scores_and_says_so(raw):
    answer = make_answer(engine=FakeEngine("joy", text=raw))
    assert answer.emotion == "joy"
    assert answer.explanation.text == ""
    assert answer.explanation.suggestions == ()
    assert "could not be read" in answer.explanation.withheld


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The person suffers from depression.", "depression"),
        ("Take 20 mg daily.", "20 mg (dose)"),
        ("This is certainly joy.", "certainly"),
        ("A suicidal risk.", "suicidal"),
        ("Estimated evoked emotion: Anger.", "another emotion (anger)"),
        ("perform" + "up" * 30, "not readable"),
        ("It is if if if if so.", "not readable"),
        (",,,,,,,,,,,,,,,,", "not readable"),
    ],
)
def test_words_a_model_must_not_bring_in_are_withheld(text, reason):
    explanation = make_answer(engine=FakeEngine("joy", text=answer_with(text))).explanation
    assert explanation.text == ""
    assert reason in explanation.withheld


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_trained_answers_pass_the_check(emotion):
    observation = "Largest deviation: alpha power above the personal average at left central."
    assert check_text(json.loads(proper_answer(emotion))["assessment"] + observation, emotion) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("估计诱发的情绪：joy（喜悦，正性效价）。", ""),
        ("更可能是悲伤。", "another emotion (sadness)"),
        ("更可能是sadness。", "another emotion (sadness)"),
        ("该患者可能患有抑郁症。", "抑郁症 (diagnosis)"),
        ("脑电脑电脑电脑电。", "not readable"),
    ],
)
def test_chinese_sentences_are_checked(text, reason):
    found = check_text(text, "joy", "zh")
    assert reason in found
    assert bool(found) is bool(reason)


def test_flat_signal_makes_it_abstain_without_asking_the_model():
    engine = FakeEngine()
    recording = make_copilot_recording()
    answer = make_answer(replace(recording, signal_uv=np.zeros_like(recording.signal_uv)), engine)
    assert answer.abstained
    assert answer.reason
    assert engine.prompts == engine.schemas == []
    assert (answer.emotion, answer.scores, answer.explanation) == (None, {}, None)
    assert (answer.margin, answer.entropy, answer.agreement, answer.low_confidence) == (0, 1, 0, True)


def test_good_signal_is_answered():
    assert not make_answer().abstained


def test_no_window_is_an_error():
    recording = make_copilot_recording(1)
    with pytest.raises(InputError, match="no complete 30-s window"):
        make_answer(replace(recording, clips=(), emotions=(), signal_uv=recording.signal_uv[:0]))


@pytest.mark.parametrize(("share", "low"), [(0.9, False), (0.23, False), (0.15, True)])
def test_low_confidence(share, low):
    assert make_answer(engine=FakeEngine(share=share)).low_confidence is low


@pytest.mark.parametrize(("age", "told"), [(24, "Age: 24"), (None, "Age: not stated")])
def test_age_is_told(age, told):
    engine = FakeEngine()
    make_answer(make_copilot_recording(age=age), engine)
    assert told in engine.prompts[0][1]["content"]


def test_no_age_above_ninety_is_told():
    assert describe_facts(make_copilot_recording(age=95).trial(0)).age == 90


@pytest.mark.parametrize("age", [12, 49, 95])
def test_a_model_is_not_asked_about_ages_far_from_its_training(age):
    engine = FakeEngine()
    answer = make_answer(make_copilot_recording(age=age), engine)
    assert answer.abstained
    assert "age" in answer.reason
    assert not engine.prompts


@pytest.mark.parametrize(("age", "n"), [(17, 0), (38, 0), (16, 1), (39, 1), (None, 0)])
def test_age_outside_the_training_population_is_a_caution(age, n):
    cautions = make_answer(make_copilot_recording(4, age=age)).cautions
    assert len([text for text in cautions if "age" in text and "17 to 38" in text]) == n


@given(age=st.integers(0, 120))
def test_cap_age_changes_only_ages_above_ninety(age):
    assert cap_age(age) == (age if age <= 90 else 90)


@settings(deadline=None)
@given(rows=st.lists(st.lists(st.floats(0.01, 1), min_size=9, max_size=9), min_size=1, max_size=6))
def test_strength_measures_stay_in_their_bounds(rows):
    scores = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    answer = RecordingAnswer(None, False, "", scores, None, ())  # type: ignore[arg-type]
    assert math.isclose(sum(answer.scores.values()), 1, abs_tol=1e-9)
    assert answer.scores[answer.emotion] == max(answer.scores.values()) >= CHANCE - 1e-12
    assert -1e-12 <= answer.margin <= 1
    assert 0 <= answer.entropy <= 1 + 1e-9
    assert 0 <= answer.agreement <= 1
