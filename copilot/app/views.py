"""A session as HTML: head, model, answer, record, sign-off; each part has a template of the same name."""

from collections.abc import Mapping
from typing import Any

from copilot.answer import Explanation
from copilot.app.asking import Progress
from copilot.app.rendering import render
from copilot.app.session import Session
from copilot.gate import CHANCE
from copilot.phrases import knows
from copilot.record import FORMATS, name_file
from copilot.record.crisis import load_card
from dataset_builder.types import EMOTIONS, VALENCE

#: What can be saved, in the order of the links; the audit log is no rendering of the record.
EXPORTS: tuple[str, ...] = ("html", "pdf", "json", "fhir", "audit")

#: Field of a record -> key of its name; other fields have the name that the record gives them.
FIELDS = {
    "estimate.emotion": "estimate.emotion",
    "assessment.text": "record.assessment",
    "suggestions": "record.options",
    "questionnaire.phq9_total": "record.phq9_total",
    "questionnaire.phq9_item9": "record.phq9_item9",
    "questionnaire.gad7_total": "record.gad7_total",
    "note": "record.note",
}

#: Which crisis card a language shows where no place is configured: one without a number of any country.
_CARD_LOCALES = {"en": "en", "zh": "zh"}


def show_head(session: Session, *, hosted: bool) -> str:
    """Return title and badge."""
    return render("head", session, hosted=hosted)


def show_notice(session: Session) -> str:
    """Return the notice that stays in sight."""
    return render("notice", session)


def show_message(session: Session) -> str:
    """Return what the last step had to say."""
    text, words = session.message, session.words
    known = not session.failed or knows(text, words.language) or text in words.texts.values()
    lead = "" if known else words("page.failed_in_english")
    return render("message", session, text=text, failed=session.failed, lead=lead)


def show_model(session: Session) -> str:
    """Return what is known of the chosen model, its hash among it."""
    return render("model", session, model=session.model.provenance if session.model else None)


def show_progress(session: Session, progress: Progress) -> str:
    """Return an answer that is being made."""
    return _render_answer(
        session, progress.scores or {}, progress.n_windows, running=True, n_done=progress.n_done, text=progress.text
    )


def show_answer(session: Session) -> str:
    """Return the answer, or why there is none."""
    answer, review = session.answer, session.review
    if answer is None or review is None:
        return render("answer", session, running=False, record=None)
    estimate = review.draft.estimate
    return _render_answer(
        session,
        {score.emotion: score.probability for score in estimate.scores},
        review.draft.recording.n_windows,
        running=False,
        record=review.draft,
        valence=VALENCE[estimate.emotion] if estimate.emotion else "",
        explanation=answer.explanation,
        observation=_observe(session, answer.explanation),
        seconds=session.seconds,
    )


def _observe(session: Session, explanation: Explanation | None) -> str:
    """Return what stands out in the explained window's code, in the language of the page."""
    model, signal = session.model, session.signal
    if explanation is None or model is None or signal is None or explanation.language == session.language:
        return "" if explanation is None else explanation.observation
    return model.codec.describe(model.codec.encode_recording(signal.recording)[explanation.window], session.language)


def show_why(session: Session) -> str:
    """Return the table of the question asked again."""
    if not session.controls or session.answer is None or session.answer.explanation is None:
        return ""
    headline = session.answer.emotion or session.controls[0].emotion
    number = session.answer.explanation.window + 1
    return render("why", session, controls=session.controls, headline=headline, number=number)


def show_record(session: Session) -> str:
    """Return every field with its origin."""
    words = session.words
    names = {field: words(key) for field, key in FIELDS.items()}
    return render("record", session, review=session.review, names=names)


def show_crisis(session: Session) -> str:
    """Return the crisis card when an entered item asks for it."""
    review = session.review
    card = load_card(_CARD_LOCALES[session.language]) if review is not None and review.shows_crisis_card else None
    return render("crisis", session, card=card, needed=review is not None and review.needs_handoff)


def show_sign(session: Session, checklist: tuple[str, ...] = ()) -> str:
    """Return whether the record can be signed, or who signed it."""
    review = session.review
    if review is None:
        return render("sign", session, review=None)
    sign_off = review.record.sign_off if review.status in ("signed", "amended") else None
    return render("sign", session, review=review, obstacles=review.list_obstacles(checklist), sign_off=sign_off)


def show_exports(session: Session) -> str:
    """Return links to the record in every format."""
    formats = [name for name in EXPORTS if name in FORMATS or name == "audit"]
    files = [(name, name_file(name)) for name in formats]
    return render("exports", session, review=session.review, files=files, token=session.token)


def show_log(session: Session) -> str:
    """Return the audit log."""
    return render("log", session, review=session.review)


def _render_answer(session: Session, scores: Mapping[str, float], n_windows: int, **values: Any) -> str:
    """Render bars over a common length: the longest bar, and at least 30 %, fills the lane."""
    reach = max(0.3, *scores.values()) if scores else 1.0
    best = max(scores, key=scores.__getitem__) if scores else ""
    rows = [
        {
            "emotion": emotion,
            "valence": VALENCE[emotion],
            "score": scores[emotion],
            "top": emotion == best,
            "width": scores[emotion] / reach,
            "chance": CHANCE / reach,
        }
        for emotion in EMOTIONS
        if emotion in scores
    ]
    written = session.model.style.config.language if session.model else "en"
    return render("answer", session, rows=rows, n_windows=n_windows, chance=f"{CHANCE:.1%}", written=written, **values)
