"""Every style in every language: prompts that tell nothing of the label, answers that parse back."""

import dataclasses
import itertools
import json
import re
import unicodedata
from functools import cache

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.codecs import CODECS, Codec, make_codec
from dataset_builder.codecs.band_power import BandPowerConfig
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.prompts import (
    DEFAULT_STYLE,
    LANGUAGES,
    LIBRARY,
    MAX_PHRASINGS,
    STYLES,
    PromptConfig,
    PromptFacts,
    Style,
    get_style,
    load_style,
    needs_none,
)
from dataset_builder.prompts.deny import check_denied
from dataset_builder.prompts.emotion_qa import MAX_ASSESSMENT
from dataset_builder.prompts.wordings import load_terms, load_wording
from dataset_builder.recipe import validate
from dataset_builder.stage import open_stage
from dataset_builder.types import EMOTIONS, VALENCE, Code
from tests.factories import fit_band_power, make_recording

FORMS = [(style, language) for style in STYLES for language in LANGUAGES]
FACTS = PromptFacts(24, "F", {"AU12": 0.5, "AU04": 0.314}, 250.0, ("Fp1", "Fz", "Oz"))
#: The instruction of EEG Emotion Copilot (arXiv:2410.00166), word for word.
INSTRUCTION = (
    "You are an EEG emotion analyzer. I will input the patient's personal information and EEG signals from specific "
    "electrode positions. Please infer the patient's current emotional state and provide a detailed diagnosis along "
    "with personalized treatments based on your knowledge base."
)


@cache
def codec() -> Codec:
    return fit_band_power([make_recording("sub001"), make_recording("sub002")])


@cache
def codes() -> list[Code]:
    return codec().encode_recording(make_recording("sub003"))


def make_style(style: str, language: str = "en", **options: object) -> Style:
    return get_style(PromptConfig(style=style, language=language, **options))  # type: ignore[arg-type]


def render_all(style: Style, facts: PromptFacts = FACTS) -> list[list[dict[str, str]]]:
    return [style.render_prompt(codec(), codes()[0], facts, k) for k in range(style.n_phrasings)]


@pytest.mark.parametrize(("style", "language"), FORMS)
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_answers_start_alike_and_parse_back(style, language, emotion):
    rendered = make_style(style, language)
    for code, age in itertools.product(codes()[:3], (None, 12, 24, 70)):
        facts = PromptFacts(age, "M")
        text = rendered.render_answer(emotion, facts, codec(), code)
        assert text.startswith(rendered.start_answer(emotion))
        answer = rendered.parse_answer(text)
        assert answer.emotion == emotion
        assert answer.assessment.endswith(codec().describe(code, language))
        assert answer.suggestions == [item.id for item in LIBRARY.select_suggestions(emotion, age, "M")]
        assert bool(answer.suggestions) is not needs_none(emotion)


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_the_label_stands_in_quotes_after_a_text_of_its_own(style, language):
    """Label scores are read there, by code that expects a double quote on both sides."""
    rendered = make_style(style, language)
    assert rendered.answer_prefix.endswith(' "')
    assert rendered.label_end == '"'
    assert rendered.answer_prefix == make_style(style, "en").answer_prefix


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_a_prompt_is_made_of_facts_that_know_no_label(style, language):
    """By construction: there is no argument through which a label could come in."""
    names = {field.name for field in dataclasses.fields(PromptFacts)}
    assert names == {"age", "sex", "facial", "device_sfreq_hz", "channels"}
    terms = load_terms(language)
    words = {*EMOTIONS, *VALENCE.values(), *terms.emotions.values(), *terms.valences.values(), "valence", "效价"}
    for _, user in render_all(make_style(style, language, phrasings=MAX_PHRASINGS, facial=True)):
        assert not [word for word in words if word in user["content"].lower()]


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_wordings_differ_but_hold_the_same(style, language):
    prompts = render_all(make_style(style, language, phrasings=MAX_PHRASINGS, facial=True))
    assert len({system["content"] for system, _ in prompts}) == len({user["content"] for _, user in prompts}) == 4
    for system, user in prompts:
        assert (system["role"], user["role"]) == ("system", "user")
        assert [name for name in EMOTIONS if name in system["content"]] == list(EMOTIONS)
        assert codec().explain(language) in system["content"]
        assert codec().to_text(codes()[0]) in user["content"]
        assert re.search(r"(?<!\d)24(?!\d)", user["content"])
        assert "AU04 0.31, AU12 0.50" in user["content"]
        assert re.search("[Rr]esearch|科研", system["content"])
        assert re.search("medical device|医疗器械", system["content"])
        if style == "paper":
            assert "250 Hz" in user["content"]
            assert "Fp1 Fz Oz" in user["content"]


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_every_wording_names_the_same_things(style, language):
    """Every template of a file uses the same names, so no wording tells more or less than another."""
    from jinja2 import Environment, meta

    path = STYLES[style].name
    text = yaml.safe_load(_read_wording(path, language))
    for turns in (text["system"], text["user"]):
        assert len(turns) >= MAX_PHRASINGS
        named = [meta.find_undeclared_variables(Environment().parse(turn)) for turn in turns]
        same = [{{"sex_word": "sex", "labels": "emotions"}.get(name, name) for name in names} for names in named]
        assert all(names == same[0] for names in same)


def _read_wording(style: str, language: str) -> str:
    from importlib import resources

    folder = resources.files("dataset_builder.prompts.wordings")
    return folder.joinpath(f"{style}.{language}.yaml").read_text(encoding="utf-8")


def test_the_first_wording_is_the_one_that_models_were_trained_with():
    system, user = DEFAULT_STYLE.render_prompt(codec(), codes()[0], PromptFacts(24, None))
    assert system["content"] == (
        "You are EEG Emotion Copilot, a research tool and not a medical device. Read the coded EEG of a person who "
        "watched a film clip and estimate the emotion that the clip evoked: anger, disgust, fear, sadness, neutral, "
        f"amusement, inspiration, joy, tenderness.\n{codec().explain()}\n"
        "Answer as JSON with emotion, assessment and suggestions."
    )
    assert user["content"] == f"Sex: not stated\nAge: 24\nEEG:\n{codec().to_text(codes()[0])}"


def test_the_paper_s_instruction_is_word_for_word():
    system, _ = render_all(make_style("paper"))[0]
    assert system["content"].startswith(INSTRUCTION + "\n")


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_system_turn_is_the_same_for_every_person(style, language):
    rendered = make_style(style, language)
    people = (PromptFacts(20, "F"), PromptFacts(), FACTS)
    turns = {rendered.render_prompt(codec(), code, facts)[0]["content"] for code, facts in zip(codes(), people)}  # noqa: B905
    assert len(turns) == 1


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_demographics_and_faces_are_told_only_where_wanted(style, language):
    missing = load_terms(language).missing
    for _, user in render_all(make_style(style, language, phrasings=4, demographics=False)):
        assert not re.search(r"(?<!\d)24(?!\d)", user["content"])
        assert user["content"].count(missing) == 2
        assert "AU" not in user["content"]
    wanted = make_style(style, language, phrasings=4, facial=True)
    without = PromptFacts(24, "F", None, 250.0, ("Fz",))
    for (_, told), (_, untold) in zip(render_all(wanted), render_all(wanted, without), strict=True):
        assert "AU04" in told["content"]
        assert not re.search("acial|面部", untold["content"])
        assert "\n\n" not in untold["content"]


def test_an_answer_follows_only_from_what_the_prompt_told():
    untold = make_style("emotion_qa", demographics=False)
    answers = {untold.render_answer("fear", PromptFacts(age), codec(), codes()[0]) for age in (None, 12, 24, 70)}
    assert len(answers) == 1


def test_an_unknown_wording_is_refused():
    style = make_style("emotion_qa", phrasings=2)
    assert style.n_phrasings == 2
    for wrong in (2, -1):
        with pytest.raises(InputError, match=rf"phrasing: found {wrong}; accepted: 0 to 1"):
            style.render_prompt(codec(), codes()[0], FACTS, wrong)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"style": "poem"}, "style"),
        ({"language": "fr"}, "language"),
        ({"phrasings": 5}, "phrasings"),
        ({"phrasings": 0}, "phrasings"),
        ({"hint": "label"}, "hint: unknown key"),
    ],
)
def test_foreign_options_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        validate(PromptConfig, values, where="prompt")


def test_assessments_vary_with_the_code_and_not_with_the_label():
    style = make_style("emotion_qa", phrasings=4)
    words = {}
    for emotion in EMOTIONS:
        plain = [style.assess(emotion, codec(), code).split(".")[0].replace(emotion, "X") for code in codes()]
        words[emotion] = [re.sub("positive|negative|neutral", "V", text) for text in plain]
    assert len(set(words["joy"])) > 1
    assert all(found == words["joy"] for name, found in words.items() if name != "neutral")
    fixed = {DEFAULT_STYLE.assess("joy", codec(), code).split(".")[0] for code in codes()}
    assert fixed == {"Estimated evoked emotion: joy (positive valence)"}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("style", "language"), FORMS)
def test_assessments_fit_the_schema_and_the_deny_list(style, language, name):
    rendered = make_style(style, language, phrasings=4)
    for emotion, age in itertools.product(EMOTIONS, (12, 24, 70)):
        for code in codes()[:4]:
            text = rendered.render_answer(emotion, PromptFacts(age, "F"), codec(), code)
            assert check_denied(text, language) is None
            assert 1 <= len(rendered.parse_answer(text).assessment) <= MAX_ASSESSMENT
    assert make_codec(CODECS[name].Config()).explain(language)


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_prompts_hold_nothing_denied_but_the_paper_s_own_words(style, language):
    prompts = render_all(make_style(style, language, phrasings=4, facial=True))
    quoted = style == "paper"
    for number, prompt in enumerate(prompts):
        found = [check_denied(turn["content"], language) for turn in prompt]
        assert bool(found[0]) is (quoted and number == 0)
        assert found[1] is None


@pytest.mark.parametrize(("style", "language"), FORMS)
def test_all_text_is_nfc(style, language):
    rendered = make_style(style, language, phrasings=4, facial=True)
    facts = PromptFacts(24, "F", {"Cafe\u0301": 1.0}, 250.0, ("Fz",))
    for prompt in render_all(rendered, facts):
        assert all(unicodedata.is_normalized("NFC", turn["content"]) for turn in prompt)
        assert "Café 1.00" in prompt[1]["content"]
    answer = rendered.render_answer("fear", facts, codec(), codes()[0])
    assert unicodedata.is_normalized("NFC", answer)


def test_chinese_answers_keep_english_keys_and_name_the_emotion_in_chinese():
    style = make_style("emotion_qa", "zh")
    values = json.loads(style.render_answer("joy", FACTS, codec(), codes()[0]))
    assert list(values) == ["emotion", "assessment", "suggestions"]
    assert values["emotion"] == "joy"
    assert "joy（喜悦" in values["assessment"]
    assert LIBRARY.no_suggestion["zh"] in values["assessment"]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_schema_fixes_the_emotion_and_its_suggestions(emotion):
    for age in (None, 12, 24, 70):
        schema = DEFAULT_STYLE.answer_schema(emotion, age, "F")
        assert schema is not None
        fitting = [item.id for item in LIBRARY.select_suggestions(emotion, age, "F")]
        listed = schema["properties"]["suggestions"]
        assert schema["properties"]["emotion"]["enum"] == [emotion]
        assert listed["items"].get("enum", []) == fitting
        assert (listed["minItems"], listed["maxItems"]) == ((0, 0) if needs_none(emotion) else (1, 3))


def test_only_json_styles_have_a_schema():
    assert make_style("paper").answer_schema("joy") is None
    free = DEFAULT_STYLE.answer_schema()
    assert free is not None
    assert free["properties"]["suggestions"]["minItems"] == 0
    assert free["properties"]["suggestions"]["items"]["enum"] == [item.id for item in LIBRARY.suggestions]


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
def test_foreign_answers_are_refused(text):
    with pytest.raises(InputError, match="answer:"):
        DEFAULT_STYLE.parse_answer(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joy", "expected the lines"),
        ('Emotion label: "rage"\nAssessment: x\nTreatment options to discuss: none', "unknown emotion"),
        ('Emotion label: "joy"\nAssessment: x', "expected the lines"),
        (
            'Emotion label: "joy"\nAssessment: x\nTreatment options to discuss:\n1. Take two pills.',
            "not in the library",
        ),
        ('Emotion label: "joy"\nAssessment: x\nTreatment options to discuss: none\nAnd more.', "expected the lines"),
    ],
)
def test_foreign_plain_answers_are_refused(text, message):
    with pytest.raises(InputError, match=f"answer: .*{message}"):
        make_style("paper").parse_answer(text)


@given(text=st.text(max_size=80))
def test_any_other_text_is_an_error_of_ours(text):
    for name in STYLES:
        with pytest.raises(InputError, match="^answer: .+$"):
            make_style(name).parse_answer(text)


def test_a_corpus_tells_its_style(tmp_path):
    class Recipe(BandPowerConfig):
        prompt: PromptConfig = PromptConfig(style="paper", language="zh")

    with open_stage("corpus", tmp_path / "told", Recipe()):
        pass
    with open_stage("corpus", tmp_path / "untold", BandPowerConfig()):
        pass
    assert load_style(tmp_path / "told").config == PromptConfig(style="paper", language="zh")
    assert load_style(tmp_path / "untold").config == PromptConfig()
    with pytest.raises(InputError, match="nowhere"):
        load_style(tmp_path / "nowhere")


def test_a_wording_is_read_once():
    assert load_wording("paper", "en") is load_wording("paper", "en")
