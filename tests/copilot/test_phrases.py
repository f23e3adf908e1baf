import ast
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from copilot import gate
from copilot.phrases import knows, load_phrases, say
from copilot.record import build, pdf_page, render_html, render_pdf, signing, statements
from copilot.record.pdf_page import find_chinese_font
from copilot.record.review import open_review
from dataset_builder import filters, sparse
from dataset_builder.manifest import Metric
from dataset_builder.sources import length_check, recording_files, recordings
from tests.copilot.copilot_fakes import FakeEngine, make_copilot_recording, make_record
from tests.copilot.english import find_english, find_english_in_page
from tests.copilot.record.review_fakes import ALL_CHECKED, SIGNER, quick_record, quick_recording

PLACES = re.compile(r"\{\w+\}")

METRIC = Metric(name="balanced_accuracy", value=0.3, n=644, unit="trials", split="test", protocol="p", chance=1 / 9)

#: Where each module says something, how f-strings there call what they are about, and what is said to programs alone.
SPEAKERS = (gate, recordings, recording_files, length_check, filters, sparse, build, signing)
TECHNICAL = ("codec", "reconstruction", "recording (.edf): 7", "_", "sex:", "age: 7", "data:image", "window", "trial")


def test_book_has_every_place_of_the_english_sentence():
    for english, chinese in load_phrases("zh").items():
        assert sorted(PLACES.findall(english)) == sorted(PLACES.findall(chinese)), english
        assert english != chinese


def test_values_are_carried_over_and_lists_are_translated_one_by_one():
    text = "No good channel over left frontal, mid central; no training recording had such a gap."
    assert say(text, "zh").startswith("左额区、正中央区没有良好通道")
    assert say(text, "en") == text
    assert say("3 flat channels left out: Fp1, O1 and 2 more", "zh") == "3 个平直通道未使用：Fp1, O1 等，另有 2 个"
    assert say("{share} of the signal is usable.", "zh", share="7 %") == "7 % 的信号可用。"


def test_sentence_within_a_sentence_must_be_known_too():
    assert knows("recording (.edf): no such file", "zh")
    assert not knows("recording (.edf): its colour is wrong", "zh")
    assert say("recording (.edf): its colour is wrong", "zh") == "recording (.edf): its colour is wrong"


def test_names_of_people_are_carried_over_as_they_are():
    assert "none" in say("SIGNED by none", "zh")
    assert say("Recorded by: {role}.", "zh", role="user") == "记录者：user。"


def _list_sentences(module) -> Iterator[str]:
    """Yield what a module may say: texts with a blank in returned values, lists, and messages of errors."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            said += [*node.args, *(key.value for key in node.keywords)] if name not in ("compile", "sub") else []
    seen: set[int] = set()
    for node in said:
        for part in ast.walk(node):
            if isinstance(part, ast.JoinedStr):
                seen.update(id(piece) for piece in ast.walk(part) if piece is not part)
    for node in said:
        for part in ast.walk(node):
            if id(part) not in seen and isinstance(part, ast.JoinedStr | ast.Constant):
                seen.add(id(part))
                text = _spell(part)
                if text.count(" ") >= 2 and not PLACES.search(text):
                    yield text


def _spell(node: ast.expr) -> str:
    """Return a text with something plausible in its places."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    assert isinstance(node, ast.JoinedStr)
    parts = []
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(value.value)
        else:
            inner = ast.unparse(value.value) if isinstance(value, ast.FormattedValue) else ""
            parts.append("recording (.edf)" if inner == "name" else "" if inner == "bipolar" else "7")
    return "".join(parts)


@pytest.mark.parametrize("module", SPEAKERS, ids=lambda module: module.__name__)
def test_book_knows_what_a_module_says(module):
    said = [text for text in _list_sentences(module) if not text.startswith(TECHNICAL)]
    assert said, "the test must find what is said"
    assert [text for text in said if not knows(text, "zh")] == []


def test_book_knows_what_every_record_states():
    stated = [*statements.NOTICES.values(), *statements.LIMITS, statements.WORDING]
    assert [text for text in stated if not knows(text, "zh")] == []


def poor_recording():
    """Return a recording with a flat third of its channels, a noisy one, and notes of the reader."""
    recording = make_copilot_recording(2, synthetic=True)
    signal = np.array(recording.signal_uv)
    signal[:, :12] = 0
    signal[:, 12] *= 60
    notes = ("2 flat channels left out: T7, T8", "mains hum at 50 Hz before filtering in 3 channels")
    return replace(recording, signal_uv=signal, notes=notes)


RECORDS = {
    "sure": lambda: make_record(engine=FakeEngine("fear"), metrics=[METRIC]),
    "unsure": lambda: quick_record(FakeEngine("fear", share=0.12)),
    "poor": lambda: make_record(poor_recording(), FakeEngine("fear")),
    "old": lambda: quick_record(recording=replace(quick_recording(), age=75)),
    "young": lambda: quick_record(FakeEngine("joy"), replace(quick_recording(), age=15, sex=None)),
    "babbling": lambda: quick_record(FakeEngine("fear", text="no answer")),
}


@pytest.mark.parametrize("name", RECORDS)
def test_chinese_record_holds_no_english_sentence(name):
    record = RECORDS[name]()
    english = render_html(record).replace(b'lang="en"', b'lang="zh"')
    assert len(find_english_in_page(english)) > 30, "the English record is full of them"
    assert find_english_in_page(render_html(record, "zh")) == []
    assert b'<html lang="zh">' in render_html(record, "zh")
    assert render_html(record, "zh") == render_html(record, "zh")


def _review(role: str):
    review = open_review(quick_record(FakeEngine("fear")))
    review.edit("questionnaire.phq9_item9", 2, role=role)
    review.edit("estimate.emotion", "joy", role=role)
    return review


def test_chinese_record_of_a_review_holds_no_english_sentence():
    review = _review("psychologist")
    assert find_english_in_page(review.export("html", language="zh")) == []
    review.record_handoff("clinician on duty", "2026-05-04T10:30", role="psychologist")
    review.add_note("A note in words of a person.", role="psychologist")
    review.sign(checklist=ALL_CHECKED, **SIGNER)
    found = find_english_in_page(review.export("html", language="zh"))
    assert [
        run for run in found if run not in "clinician on duty, A note in words of a person, Ada Signer, psychologist"
    ] == []


@pytest.mark.skipif(find_chinese_font() is None, reason="no font of this machine holds Chinese")
def test_chinese_pdf_holds_no_english_sentence():
    record = RECORDS["poor"]()
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(render_pdf(record, "zh"))).pages)
    assert find_english(text) == []
    assert say(record.estimate.reason, "zh")[:6] in text.replace("\n", "")


def test_pdf_stays_english_where_no_font_holds_chinese(monkeypatch):
    monkeypatch.setattr(pdf_page, "find_chinese_font", lambda: None)
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(render_pdf(quick_record(), "zh"))).pages)
    assert "EEG emotion record" in text


def test_record_itself_does_not_depend_on_who_looks_at_it():
    review = _review("psychologist")
    before = review.export("json")
    review.export("html", language="zh")
    assert json.loads(review.export("json"))["estimate"] == json.loads(before)["estimate"]
