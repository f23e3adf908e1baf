"""Step 4: the record, edited by a person; the hand-off where an answer asks for one."""

from functools import partial
from typing import Any

import gradio as gr

from copilot.app import steps, views
from copilot.app.kit import Kit
from copilot.app.session import Session
from copilot.app.views import FIELDS
from dataset_builder.types import EMOTIONS

#: Items of questionnaires that a person enters, by their names in the record.
ITEMS: tuple[str, ...] = ("phq9_total", "phq9_item9", "gad7_total")

#: Stands for an added note among the fields that were changed.
NOTE = "note"

_AFTER = ("record", "form", "crisis", "sign", "exports", "log")


def add_record_tab(kit: Kit) -> None:
    """Lay out and connect the fourth step."""
    kit.view("crisis", views.show_crisis, elem_id="crisis")
    _add_handoff(kit)
    kit.make(gr.Markdown, say={"value": "record.title"}, elem_classes="title")
    kit.make(gr.Markdown, say={"value": "record.help"}, elem_classes="small")
    with gr.Row():
        with gr.Column(scale=3):
            inputs = _add_form(kit)
        with gr.Column(scale=2):
            kit.view("record", views.show_record, elem_id="record")
    save = kit.make(gr.Button, say={"value": "record.save"}, variant="primary", elem_id="save")
    kit.on(save.click, save_form, inputs, _AFTER)


def save_form(
    session: Session,
    text: str,
    emotion: str,
    suggestions: list[str],
    total: float | None,
    item9: float | None,
    anxiety: float | None,
    note: str,
    role: str,
    name: str,
    reason: str,
) -> str:
    """Enter what the form holds."""
    review = steps.need_review(session)
    numbers = dict(zip(ITEMS, (total, item9, anxiety), strict=True))
    changes: dict[str, Any] = {"assessment.text": text or "", "estimate.emotion": emotion or None}
    if not emotion and not review.record.estimate.override:
        del changes["estimate.emotion"]
    changes["suggestions"] = suggestions
    changes |= {f"questionnaire.{key}": steps.read_whole(value) for key, value in numbers.items()}
    changed = steps.edit_fields(session, changes, role, name, reason)
    if note.strip():
        review.add_note(note.strip(), role=role, name=name, reason=reason)
        changed.append(NOTE)
    if not changed:
        return session.words("record.unchanged")
    return session.words("record.saved", fields=", ".join(session.words(FIELDS[field]) for field in changed))


def _add_form(kit: Kit) -> list[Any]:
    role = kit.make(
        gr.Textbox, say={"label": "record.role", "info": "record.role_info"}, max_lines=1, elem_id="edit-role"
    )
    text = kit.make(gr.Textbox, say={"label": "record.assessment"}, lines=4, elem_id="assessment")
    emotion = gr.Dropdown(label="", choices=[], elem_id="emotion")
    suggestions = gr.CheckboxGroup(label="", choices=[], elem_id="suggestions")
    kit.follow(text, "form", _update_text)
    kit.follow(emotion, "form", _update_emotion)
    kit.follow(suggestions, "form", _update_suggestions)
    with gr.Row():
        numbers = [
            kit.make(gr.Number, say={"label": f"record.{item}"}, value=None, elem_id=item.replace("_", "-"))
            for item in ITEMS
        ]
    for item, number in zip(ITEMS, numbers, strict=True):
        kit.follow(number, "form", partial(_update_number, field=f"questionnaire.{item}"))
    note = kit.make(gr.Textbox, say={"label": "record.note"}, lines=2, elem_id="note")
    kit.follow(note, "form", lambda session: gr.update(value=""))
    amend = kit.make(gr.Markdown, say={"value": "record.amend"}, visible=False, elem_classes="small")
    name = kit.make(gr.Textbox, say={"label": "record.amend_name"}, visible=False, max_lines=1, elem_id="amend-name")
    reason = kit.make(
        gr.Textbox, say={"label": "record.amend_reason"}, visible=False, max_lines=1, elem_id="amend-reason"
    )
    for component in (amend, name, reason):
        kit.follow(component, "form", lambda session: gr.update(visible=_is_signed(session)))
    return [text, emotion, suggestions, *numbers, note, role, name, reason]


def _add_handoff(kit: Kit) -> None:
    with gr.Group(visible=False, elem_id="handoff") as group:
        kit.make(gr.Markdown, say={"value": "crisis.handoff_help"})
        with gr.Row():
            to = kit.make(gr.Textbox, say={"label": "crisis.to"}, max_lines=1, elem_id="handoff-to")
            when = kit.make(gr.Textbox, say={"label": "crisis.when"}, max_lines=1, elem_id="handoff-when")
        note = kit.make(gr.Textbox, say={"label": "crisis.note"}, max_lines=1, elem_id="handoff-note")
        role = kit.make(gr.Textbox, say={"label": "record.role"}, max_lines=1, elem_id="handoff-role")
        save = kit.make(gr.Button, say={"value": "crisis.save"}, variant="primary", elem_id="handoff-save")
    kit.follow(
        group, "crisis", lambda session: gr.update(visible=session.review is not None and session.review.needs_handoff)
    )

    def record_handoff(session: Session, to: str, when: str, note: str, role: str) -> str:
        steps.need_review(session).record_handoff(to, when, note=note, role=role)
        return session.words("crisis.saved")

    kit.on(save.click, record_handoff, [to, when, note, role], _AFTER)


def _read(session: Session, field: str) -> Any:
    if session.review is None:
        return None
    return next((state.value for state in session.review.list_fields() if state.field == field), None)


def _is_signed(session: Session) -> bool:
    return session.review is not None and session.review.status in ("signed", "amended")


def _update_number(session: Session, field: str) -> Any:
    return gr.update(value=_read(session, field))


def _update_text(session: Session) -> Any:
    return gr.update(value=_read(session, "assessment.text") or "", interactive=session.review is not None)


def _update_emotion(session: Session) -> Any:
    words = session.words
    choices = [(words("record.emotion_machine"), ""), *((words.emotion(name), name) for name in EMOTIONS)]
    override = session.review.record.estimate.override if session.review else None
    return gr.update(label=words("record.emotion"), choices=choices, value=override or "")


def _update_suggestions(session: Session) -> Any:
    words, options = session.words, session.review.list_options() if session.review else []
    choices = [(f"{item.text[words.language]} [{item.source.title}]", item.id) for item in options]
    info = None if options or session.review is None else words("record.no_suggestions")
    return gr.update(
        label=words("record.suggestions"), info=info, choices=choices, value=_read(session, "suggestions") or []
    )
