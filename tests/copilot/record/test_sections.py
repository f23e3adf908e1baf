"""Copilots and their sections: what each must keep to, whoever adds one."""

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from copilot.record import FORMATS, sections
from copilot.record.build import describe_estimate, describe_quality
from copilot.record.marks import Item, Range, Section
from copilot.record.review import open_review
from copilot.record.sections import COPILOTS, Copilot, Evidence, write_sections
from dataset_builder.errors import InputError
from dataset_builder.prompts.deny import check_denied
from dataset_builder.types import Recording
from tests.copilot.copilot_fakes import FakeEngine, fitted_codec, make_answer, make_copilot_recording
from tests.copilot.record.review_fakes import ALL_CHECKED, ROLE, SIGNER, quick_record, quick_recording


def make_evidence(recording: Recording, engine: FakeEngine | None = None) -> Evidence:
    answer = make_answer(recording, engine or FakeEngine("fear"))
    quality = describe_quality(answer.quality, sufficient=not answer.abstained)
    return Evidence(recording, answer, describe_estimate(recording, answer, "tiny"), quality, "tiny")


@pytest.fixture(scope="module")
def cases() -> dict[str, Evidence]:
    good = make_copilot_recording(1)
    flat = replace(good, signal_uv=np.zeros_like(good.signal_uv))
    return {
        "good": make_evidence(good),
        "flat": make_evidence(flat),
        "old": make_evidence(replace(quick_recording(), age=80)),
        "unsure": make_evidence(quick_recording(), FakeEngine("fear", share=0.12)),
    }


@pytest.mark.parametrize("case", ["good", "flat", "old", "unsure"])
@pytest.mark.parametrize("name", COPILOTS)
def test_every_copilot_keeps_the_rules(name, case, cases):
    copilot = COPILOTS[name]()
    assert isinstance(copilot, Copilot)
    section = copilot.write_section(cases[case])
    assert (section.id, section.title) == (copilot.name, copilot.title) == (name, copilot.title)
    assert section.summary.endswith(".")
    identifiers = [item.id for item in section.items]
    assert len(identifiers) == len(set(identifiers)) > 0
    for item in section.items:
        assert item.basis
        assert item.accepts is None or (item.origin == "human" and item.value is None)
        assert item.alert_above is None or item.accepts is not None
        assert item.unit or not isinstance(item.value, float)
        named = [] if item.code else [item.label]  # an instrument may be called after what it asks about
        texts = [*named, str(item.value), section.summary, section.title]
        assert [text for text in texts if check_denied(text, "en")] == []
    assert copilot.write_section(cases[case]) == section


def test_sections_say_what_was_found(cases):
    found = {case: {section.id: section for section in write_sections(cases[case])} for case in cases}
    assert found["good"]["emotion"].summary == "Model estimate of stimulus-evoked emotion: fear."
    assert found["flat"]["emotion"].summary.startswith("No estimate. Only 0% of the signal is usable")
    assert [item.value for item in found["flat"]["emotion"].items] == [None]
    assert "13 to 48" in found["old"]["emotion"].summary
    assert "Low confidence" in found["unsure"]["emotion"].summary
    assert len(found["unsure"]["emotion"].items) == 5
    flat = {item.id: item.value for item in found["flat"]["quality"].items}
    assert (flat["sufficient"], flat["flat"], flat["usable"]) == (False, 30, 0)
    assert "flat channels" in flat["findings"]
    assert {item.model for item in found["good"]["quality"].items} == {""}


class SleepDiary(Copilot):
    """A copilot as somebody might add one."""

    name: ClassVar[str] = "sleep"
    title: ClassVar[str] = "Sleep diary"

    def write_section(self, evidence: Evidence) -> Section:
        hours = Item(
            id="hours",
            label="Hours slept",
            unit="{score}",
            origin="human",
            basis="the person's own answers",
            accepts=Range(low=0, high=24),
            alert_above=20,
        )
        return Section(id=self.name, title=self.title, summary="Hours that a person enters.", items=[hours])


def test_a_new_copilot_needs_one_class_and_one_line(monkeypatch):
    monkeypatch.setitem(sections.COPILOTS, "sleep", SleepDiary)
    review = open_review(quick_record())
    assert [section.id for section in review.record.sections] == ["quality", "emotion", "questionnaire", "sleep"]
    with pytest.raises(InputError, match="0 to 24"):
        review.edit("sleep.hours", 25, role=ROLE)
    review.edit("sleep.hours", 21, role=ROLE)
    assert review.needs_handoff
    review.record_handoff("Dr. Duty", "2026-05-04T10:20", role=ROLE)
    review.sign(**SIGNER, checklist=ALL_CHECKED)
    assert b"Hours slept" in review.export("html")
    bundle = json.loads(review.export("fhir"))
    assert "sleep.hours" in json.dumps(bundle)
    assert all(FORMATS[name](review.record) for name in FORMATS)


def test_the_codec_of_these_tests_is_fitted():
    assert fitted_codec().to_text(fitted_codec().encode_recording(quick_recording())[0])
