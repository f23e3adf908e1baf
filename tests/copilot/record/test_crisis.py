"""The crisis card: where it names a number, and where it must not."""

import re
from importlib import resources

import pytest

from copilot.record.crisis import LOCALES, load_card


@pytest.mark.parametrize("locale", ["en-US", "en_US", "EN-us", "en_US.UTF-8"])
def test_the_united_states_have_988(locale):
    card = load_card(locale)
    assert [line.contact for line in card.lines if line.contact] == ["911", "988", "https://988lifeline.org"]
    assert card.region == "United States"
    assert "988lifeline.org" in card.source
    assert re.fullmatch(r"\d{4}-\d{2}", card.checked)


@pytest.mark.parametrize(
    "locale", ["en", "en-GB", "de-DE", "fr", "zh", "zh-CN", "zh_TW.UTF-8", "C", "", "x" * 100, "en-USA"]
)
def test_everywhere_else_no_number_is_named(locale):
    card = load_card(locale)
    said = " ".join([card.title, card.handoff, *(line.text + line.contact for line in card.lines)])
    assert not re.search(r"\d", said)
    assert card.language == ("zh" if locale.startswith("zh") else "en")
    assert "local emergency number" in said or "当地急救电话" in said


def test_every_file_is_a_card_that_asks_for_a_hand_off():
    names = {path.name.removesuffix(".yaml") for path in resources.files("copilot.record.crisis").iterdir()}
    cards = {name for name in names if not name.startswith("__")}
    assert cards == {*LOCALES, "en", "zh"}
    for name in cards:
        card = load_card(name)
        assert len(card.lines) >= 3
        assert "record" in card.handoff or "记录" in card.handoff
        assert bool(card.source) is any(line.contact for line in card.lines)
