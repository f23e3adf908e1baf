"""Fakes for the tests of a reviewed record: quick records without drawn pictures, and reviews at every status."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from copilot.answer import RecordingAnswer
from copilot.record import Record, build
from copilot.record.review import Review, open_review
from copilot.record.signing import load_checklist
from copilot.record.types import Picture
from dataset_builder.bands import compute_de
from dataset_builder.types import Recording
from tests.copilot.copilot_fakes import CREATED, FakeEngine, make_copilot_recording, make_provenance, make_record

MOMENT = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)
ROLE = "psychologist"
SIGNER = {"name": "Ada Signer", "role": ROLE}
AMENDER = {**SIGNER, "reason": "a slip of the pen"}
ALL_CHECKED = tuple(load_checklist())

#: One grey pixel.
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
        "3a7e9b550000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
    )
).decode()


@cache
def quick_recording() -> Recording:
    """Return one window of band features, without waveforms: read in milliseconds."""
    recording = make_copilot_recording(1, synthetic=True)
    assert recording.signal_uv is not None
    return replace(recording, de=compute_de(recording.signal_uv, 250.0), signal_uv=None, sfreq_hz=None)


def quick_record(engine: FakeEngine | None = None, recording: Recording | None = None, **facts: Any) -> Record:
    """Return a record whose only picture is one pixel."""
    picture = Picture(id="traces", alt="A pixel that stands for the traces.", caption="Window 1.", data=PIXEL)
    with patch.object(build, "draw_pictures", lambda trial, quality: [picture]):
        return make_record(recording or quick_recording(), engine or FakeEngine("fear"), **facts)


def draw_nothing(recording: Recording, answer: RecordingAnswer) -> Record:
    """Return the record of an answer without pictures."""
    with patch.object(build, "draw_pictures", lambda trial, quality: []):
        return build.build_record(recording, answer, make_provenance(), created=CREATED)


def start_review(engine: FakeEngine | None = None, recording: Recording | None = None) -> Review:
    """Return a review of a fresh draft."""
    return open_review(quick_record(engine, recording), moment=MOMENT)


def edit_all(review: Review) -> Review:
    """Change every kind of field."""
    review.edit("estimate.emotion", "sadness", role=ROLE, moment=MOMENT)
    review.edit("suggestions", ["mindfulness", "kindness"], role=ROLE, moment=MOMENT)
    review.edit("assessment.text", "The person speaks of sadness.", role=ROLE, moment=MOMENT)
    review.edit("questionnaire.phq9_total", 12, role=ROLE, moment=MOMENT)
    review.edit("questionnaire.phq9_item9", 2, role=ROLE, moment=MOMENT)
    review.add_note("Slept badly.", role=ROLE, moment=MOMENT)
    return review


def sign_review(review: Review) -> Review:
    """Record a hand-off and sign."""
    review.record_handoff("on-call clinician", "2026-05-04T10:20", role=ROLE, moment=MOMENT)
    review.sign(**SIGNER, checklist=ALL_CHECKED, moment=MOMENT)
    return review


def make_reviews() -> dict[str, Review]:
    """Return a review at every status, and one of a record that gives no estimate."""
    amended = sign_review(edit_all(start_review()))
    amended.edit("assessment.text", "The person spoke of sadness.", **AMENDER, moment=MOMENT)
    return {
        "draft": start_review(),
        "abstained": start_review(recording=replace(quick_recording(), age=80)),
        "unsure": start_review(FakeEngine("fear", share=0.12)),
        "edited": edit_all(start_review()),
        "signed": sign_review(edit_all(start_review())),
        "amended": amended,
    }
