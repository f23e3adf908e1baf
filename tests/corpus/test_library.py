"""The library of sentences: cited, reviewed or said not to be, selected by rules and always the same way."""

import itertools
from importlib import resources

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import RecipeError
from dataset_builder.prompts import LANGUAGES, LIBRARY, MAX_PHRASINGS, PromptConfig, PromptFacts, needs_none
from dataset_builder.prompts.deny import check_denied
from dataset_builder.prompts.emotion_qa import EmotionQAStyle
from dataset_builder.prompts.library import MAX_SUGGESTIONS, Library, Rules, parse_library
from dataset_builder.types import EMOTIONS
from tests.copilot.copilot_fakes import fitted_codec, some_code

NEGATIVE = [emotion for emotion in EMOTIONS if not needs_none(emotion)]
AGES = (None, 0, 12, 17, 18, 24, 38, 64, 65, 90)
ENTRIES = [*LIBRARY.assessments, *LIBRARY.suggestions]


def make_library(*suggestions: dict[str, object]) -> Library:
    """Return a made-up library with one assessment and these suggestions."""
    entry = {"text": {"en": "a", "zh": "b"}, "source": "s", "review": {"state": "unreviewed"}}
    values = {
        "version": 1,
        "sources": {"s": {"title": "t", "publisher": "p", "year": 2020, "url": "https://example.org/s"}},
        "assessments": [entry | {"id": "plain", "emotions": list(EMOTIONS)}],
        "no_suggestion": {"en": "none", "zh": "无"},
        "suggestions": [entry | {"emotions": ["fear"]} | item for item in suggestions],
    }
    return parse_library(yaml.safe_dump(values), where="made-up.yaml")


@pytest.mark.parametrize("emotion", NEGATIVE)
def test_every_negative_emotion_has_three_options_for_every_person(emotion):
    for age, sex in itertools.product(AGES, (None, "F", "M")):
        chosen = LIBRARY.select_suggestions(emotion, age, sex)
        assert len(chosen) == MAX_SUGGESTIONS == 3
        assert len({item.id for item in chosen}) == 3
        assert all(emotion in item.emotions for item in chosen)


@pytest.mark.parametrize("emotion", [name for name in EMOTIONS if needs_none(name)])
def test_neutral_and_positive_states_get_none(emotion):
    assert all(LIBRARY.select_suggestions(emotion, age) == [] for age in AGES)


@pytest.mark.parametrize("emotion", NEGATIVE)
def test_minors_are_told_of_a_guardian_and_adults_are_not(emotion):
    for language, words in (("en", ("guardian",)), ("zh", ("监护人",))):
        for age in AGES:
            texts = [item.text[language] for item in LIBRARY.select_suggestions(emotion, age)]
            named = any(word in text for word in words for text in texts)
            assert named is (age is not None and age < 18)


def test_older_people_get_an_option_of_their_own():
    chosen = {age: [item.id for item in LIBRARY.select_suggestions("sadness", age)] for age in (64, 65)}
    assert "company" not in chosen[64]
    assert "company" in chosen[65]
    assert "support" in chosen[65]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_has_a_wording_for_each_phrasing(emotion):
    found = LIBRARY.select_assessments(emotion)
    assert len(found) >= MAX_PHRASINGS
    for language in LANGUAGES:
        texts = [item.text[language].format(emotion=emotion, word="W", valence="V") for item in found]
        assert len(set(texts)) == len(found)
        assert all(emotion in text and "V" in text for text in texts)


@pytest.mark.parametrize("item", ENTRIES, ids=lambda item: item.id)
def test_every_entry_is_cited_reviewed_or_not_and_prescribes_nothing(item):
    assert item.source.url.startswith("https://")
    assert item.source.title
    assert 1990 <= item.source.year <= 2026
    assert item.review.state == "unreviewed" or (item.review.by and item.review.date)
    for language in LANGUAGES:
        assert check_denied(item.text[language], language) is None
        assert "\n" not in item.text[language]
        assert item.text[language][-1] in ".。"


def test_no_two_options_read_alike():
    """Answers in plain text are read back by their words."""
    for language in LANGUAGES:
        texts = [item.text[language] for item in LIBRARY.suggestions]
        assert len(set(texts)) == len(texts)


def test_every_option_can_be_selected():
    people = list(itertools.product(NEGATIVE, AGES))
    reached = {item.id for emotion, age in people for item in LIBRARY.select_suggestions(emotion, age)}
    assert reached == {item.id for item in LIBRARY.suggestions}


def test_every_source_is_used():
    text = resources.files("dataset_builder.prompts").joinpath("suggestions/library.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    used = {item["source"] for item in [*values["suggestions"], *values["assessments"]]}
    assert used == set(values["sources"])


@given(age=st.none() | st.integers(0, 120), low=st.integers(0, 120), high=st.integers(0, 120))
def test_an_age_rule_needs_a_known_age(age, low, high):
    rules = Rules(min_age=low, max_age=high)
    assert rules.admit(age, None) is (age is not None and low <= age <= high)
    assert Rules().admit(age, None)


def test_sex_rules_are_obeyed():
    library = make_library(
        {"id": "hers", "rules": {"sex": "F"}}, {"id": "his", "rules": {"sex": "M"}}, {"id": "anybody"}
    )
    chosen = {sex: [item.id for item in library.select_suggestions("fear", 30, sex)] for sex in ("F", "M", None)}
    assert chosen == {"F": ["hers", "anybody"], "M": ["his", "anybody"], None: ["anybody"]}
    style = EmotionQAStyle(PromptConfig(), library)
    answer = style.render_answer("fear", PromptFacts(30, "M"), fitted_codec(), some_code())
    assert style.parse_answer(answer).suggestions == ["his", "anybody"]


def test_selection_stops_at_three_and_keeps_the_library_s_order():
    library = make_library(*({"id": name} for name in ("d", "a", "c", "b")))
    assert [item.id for item in library.select_suggestions("fear")] == ["d", "a", "c"]
    assert [item.id for item in library.list_suggestions("fear")] == ["d", "a", "c", "b"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"id": "x", "source": "hearsay"}, "source 'hearsay' is unknown; accepted: s"),
        ({"id": "x", "text": {"en": "a"}}, "lacks zh"),
        ({"id": "x", "emotions": ["rage"]}, "unknown emotion rage"),
        ({"id": "x", "emotions": ["joy"]}, "joy needs no suggestion"),
        ({"id": "X y"}, "id"),
        ({"id": "x", "rules": {"age": 3}}, "age: unknown key"),
        ({"id": "x", "review": {"state": "reviewed"}}, "needs by"),
        ({"id": "x", "review": {"state": "reviewed", "by": "psychologist"}}, "needs by"),
    ],
)
def test_incomplete_entries_are_refused(item, message):
    with pytest.raises(RecipeError, match=f"made-up.yaml: .*{message}") as caught:
        make_library(item)
    assert "\n" not in str(caught.value)


def test_a_reviewed_entry_says_who_and_when():
    import datetime

    review = {"state": "reviewed", "by": "clinical psychologist", "date": datetime.date(2026, 5, 4)}
    assert make_library({"id": "x", "review": review}).suggestions[0].review.by == "clinical psychologist"


def test_an_identifier_stands_once():
    with pytest.raises(RecipeError, match="id x is given twice"):
        make_library({"id": "x"}, {"id": "x"})
