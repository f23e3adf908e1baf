"""The PDF: what it says, on every page, and what it says of text that it cannot print."""

import io
import re

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from pypdf import PdfReader

from copilot.record import pdf_page, render_pdf
from copilot.record.statements import LIMITS, NOTICES
from tests.copilot.record.review_fakes import ROLE, make_reviews, quick_record, start_review


@pytest.fixture(scope="module")
def pages() -> dict[str, list[str]]:
    """Return the text of every page by status."""
    return {name: read_pages(render_pdf(review.record)) for name, review in make_reviews().items()}


def read_pages(data: bytes) -> list[str]:
    return [re.sub(r"\s+", " ", page.extract_text()) for page in PdfReader(io.BytesIO(data)).pages]


@pytest.mark.parametrize("name", ["draft", "abstained", "unsure", "edited", "signed", "amended"])
def test_every_page_says_its_status_and_that_it_is_research(name, pages):
    bands = {"edited": "EDITED DRAFT", "signed": "SIGNED by Ada Signer", "amended": "AMENDED; signed by Ada Signer"}
    band = bands.get(name, "DRAFT, not reviewed")
    for page in pages[name]:
        assert band in page
        assert "For research use only. Not a medical device." in page
        assert ("DRAFT" in page.replace(band, "")) is (name not in ("signed", "amended"))
    text = " ".join(pages[name])
    assert NOTICES[make_reviews()[name].status] in text
    assert "Synthetic data." in text
    assert all(limit in text for limit in LIMITS)


def test_it_holds_the_record(pages):
    text = " ".join(pages["signed"])
    for told in ("Sadness", "The person speaks of sadness.", "Slept badly.", "PHQ-9 total", "Handed over to"):
        assert told in text
    assert "ab" * 32 in text
    record = make_reviews()["signed"].record
    assert all(line.text in text for line in record.suggestions)
    assert record.draft_sha256 in text.replace(" ", "")


def test_an_abstaining_record_shows_no_score(pages):
    assert "No estimate" in " ".join(pages["abstained"])
    assert "13 to 48" in " ".join(pages["abstained"])
    assert "guessing would give" not in " ".join(pages["abstained"])
    assert "Low confidence" in " ".join(pages["unsure"])


def test_without_a_hand_off_the_card_is_printed(pages):
    assert "local emergency number" in " ".join(pages["edited"])
    assert "No hand-off is recorded." in " ".join(pages["edited"])
    assert "local emergency number" not in " ".join(pages["signed"])


def test_same_record_same_bytes_and_its_own_date():
    record = quick_record()
    data = render_pdf(record)
    assert data == render_pdf(record)
    information = PdfReader(io.BytesIO(data)).metadata
    assert information.creation_date.isoformat().startswith("2026-01-02T03:04:05")
    assert information.title == "EEG emotion record (draft)"


def test_text_that_no_font_prints_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(pdf_page, "find_chinese_font", lambda: None)
    review = start_review()
    review.edit("assessment.text", "估计诱发的情绪：悲伤", role=ROLE)
    review.add_note("Latin with one \u6c49.", role=ROLE)
    text = " ".join(read_pages(render_pdf(review.record)))
    assert "[10 characters that no font of this machine can print; they stand in the HTML record]" in text
    assert "Latin with one \ufffd." in text


def write_font(path, text: str):
    """Write a font that has the letters of a text, each as a square."""
    names = [".notdef", *(f"u{ord(mark):04X}" for mark in dict.fromkeys(text))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({int(name[1:], 16): name for name in names[1:]})
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)
    return path


def test_chinese_is_printed_where_a_font_has_it(monkeypatch, tmp_path):
    words = "估计诱发的情绪：fear（恐惧）。\nSecond line 也有中文 within."
    font = write_font(tmp_path / "squares.ttf", "".join(sorted({*words, " "} - {"\n"})))
    monkeypatch.setattr(pdf_page, "find_chinese_font", lambda: font)
    review = start_review()
    review.edit("assessment.text", words, role=ROLE)
    text = " ".join(read_pages(render_pdf(review.record)))
    assert "估计诱发的情绪：fear（恐惧）。 Second line 也有中文 within." in text
    assert "Options to discuss" in text


@pytest.mark.parametrize("name", ["NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "SimHei.ttf"])
def test_fonts_of_the_system_are_found(name, monkeypatch, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).write_bytes(b"font")
    (tmp_path / "deep" / "NotoSans-Regular.ttf").write_bytes(b"font")
    monkeypatch.setattr(pdf_page, "_FOLDERS", [str(tmp_path / "absent"), str(tmp_path)])
    monkeypatch.setattr(pdf_page, "find_spec", lambda name: None)
    assert pdf_page.find_chinese_font.__wrapped__() == tmp_path / "deep" / name


def test_latin_letters_with_marks_are_printed():
    review = start_review()
    review.add_note("Größe, naïveté, Łódź, Ελλάδα, µV², 10 °C", role=ROLE)
    assert "Größe, naïveté, Łódź, Ελλάδα, µV², 10 °C" in " ".join(read_pages(render_pdf(review.record)))
