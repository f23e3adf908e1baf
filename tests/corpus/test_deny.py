"""The deny list: what it must catch in both languages, and what it must leave alone."""

import re
from importlib import resources

import pytest
import yaml

from dataset_builder.errors import InputError
from dataset_builder.prompts import LANGUAGES
from dataset_builder.prompts.deny import check_denied
from dataset_builder.types import BANDS, EMOTIONS

LISTED = yaml.safe_load(resources.files("dataset_builder.prompts").joinpath("deny.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Sertraline may help.", "sertraline (drug)"),
        ("An SSRI is an option.", "ssri (drug)"),
        ("Ask for antidepressants.", "antidepressants (drug)"),
        ("A sedative at night.", "sedative (drug)"),
        ("Try St. John's wort.", "st. john's wort (drug)"),
        ("Start with 2.5 mg.", "2.5 mg (dose)"),
        ("Take it twice a day.", "twice a day (dose)"),
        ("This is DEFINITELY joy.", "definitely (certainty)"),
        ("We are 100 % sure.", "100 % sure (certainty)"),
        ("A depressive disorder is likely.", "depressive (diagnosis)"),
        ("Signs of PTSD.", "ptsd (diagnosis)"),
        ("The person is bipolar.", "bipolar (diagnosis)"),
        ("You must see somebody.", "you must (prescription)"),
        ("It cures sadness.", "cures (prescription)"),
        ("There is a suicidal tendency.", "suicidal (risk)"),
        ("A high risk of harm.", "high risk (risk)"),
        ("建议服用舍曲林。", "舍曲林 (drug)"),
        ("可以用药。", "用药 (drug)"),
        ("每次 50 毫克。", "50 毫克 (dose)"),
        ("这一定是喜悦。", "一定是 (certainty)"),
        ("患者患有抑郁症。", "患者患有 (diagnosis)"),
        ("属于焦虑障碍。", "障碍 (diagnosis)"),
        ("必须就医。", "必须 (prescription)"),
        ("存在自杀风险。", "自杀 (risk)"),
    ],
)
def test_planted_words_are_caught_whatever_the_language_is_said_to_be(text, found):
    assert {check_denied(text, language) for language in LANGUAGES} == {found}


@pytest.mark.parametrize(
    "text",
    [
        "Largest deviation: beta power above the personal average at left frontal.",
        "The stimulus evoked tenderness; the patient felt at ease.",
        "Neutral and positive states get no suggestion.",
        "A secure, certain step.",
        "Doseweis, Drugget and gadget are words.",
        "Images of a magnificent 20 m wall.",
        "偏离最大：右中央区的 alpha 频段功率低于本人平均水平。",
        "对中性和正性状态不给出建议。",
        "可提议与有资质的专业人员谈谈。",
        *EMOTIONS,
        *BANDS,
        "",
    ],
)
def test_harmless_words_pass(text):
    assert {check_denied(text, language) for language in LANGUAGES} == {None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_patterns_that_compile_and_need_something(language):
    assert list(LISTED[language]) == ["drug", "dose", "certainty", "diagnosis", "prescription", "risk"]
    for patterns in LISTED[language].values():
        assert patterns
        for pattern in patterns:
            assert not re.compile(pattern).match("")
            assert not re.search(r"\|\||\|$|^\|", pattern)


def test_every_plain_english_word_of_the_list_is_caught():
    words = {
        word for patterns in LISTED["en"].values() for line in patterns if "(" not in line for word in line.split("|")
    }
    plain = [word for word in words if re.fullmatch(r"[a-z ]+", word)]
    assert len(plain) > 60
    assert [word for word in plain if check_denied(f"A {word.upper()}.", "en") is None] == []


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="no language 'fr'; accepted: en, zh"):
        check_denied("bonjour", "fr")
