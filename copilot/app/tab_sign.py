"""Step 5: sign the record and save it."""

from typing import Any

import gradio as gr

from copilot.app import steps, views
from copilot.app.kit import Kit
from copilot.app.session import Session
from copilot.record.signing import load_checklist


def add_sign_tab(kit: Kit, tab: gr.Tab) -> None:
    """Lay out and connect the last step."""
    with gr.Row():
        with gr.Column(scale=3):
            kit.make(gr.Markdown, say={"value": "sign.title"}, elem_classes="title")
            checklist = gr.CheckboxGroup(label="", choices=[], elem_id="checklist")
            kit.follow(checklist, "sign", _update_checklist)
            name = kit.make(gr.Textbox, say={"label": "sign.name"}, max_lines=1, elem_id="sign-name")
            role = kit.make(gr.Textbox, say={"label": "sign.role"}, max_lines=1, elem_id="sign-role")
            button = kit.make(gr.Button, say={"value": "sign.button"}, variant="primary", elem_id="sign")
            kit.view("obstacles", _show_obstacles, elem_id="sign-state")
        with gr.Column(scale=2):
            kit.make(gr.Markdown, say={"value": "export.title"}, elem_classes="title")
            kit.view("exports", views.show_exports, elem_id="exports")
    with kit.make(gr.Accordion, say={"label": "log.title"}, open=False):
        kit.view("log", views.show_log, elem_id="log")

    def tick(session: Session, ticked: list[str]) -> None:
        session.ticked = tuple(ticked)

    def sign(session: Session, name: str, role: str, ticked: list[str]) -> str:
        session.ticked = tuple(ticked)
        steps.sign(session, name, role, ticked)
        return session.words("sign.done")

    def look(session: Session) -> None:
        """Nothing is done: obstacles and log are only shown as they are now."""

    kit.on(checklist.change, tick, [checklist], ("obstacles",))
    kit.on(
        button.click, sign, [name, role, checklist], ("obstacles", "answer", "record", "form", "sign", "exports", "log")
    )
    kit.on(tab.select, look, (), ("obstacles", "log"))


def _show_obstacles(session: Session) -> str:
    return views.show_sign(session, session.ticked)


def _update_checklist(session: Session) -> Any:
    words = session.words
    choices = [(sentence, key) for key, sentence in load_checklist(words.language).items()]
    return gr.update(label=words("sign.checklist"), choices=choices, value=list(session.ticked))
