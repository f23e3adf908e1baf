"""Step 3: ask the model, watch it answer, and see what drove the answer."""

from collections.abc import Generator
from typing import Any

import gradio as gr

from copilot.app import steps, views
from copilot.app.desk import Desk
from copilot.app.kit import Kit
from copilot.app.session import Session
from model_recipes.runtime.errors import CancelledError

#: One answer at a time: the model is shared by all tabs.
_ENGINE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "engine"}


def add_estimate_tab(kit: Kit, desk: Desk) -> None:
    """Lay out and connect the third step."""
    with gr.Row():
        ask = kit.make(gr.Button, say={"value": "estimate.ask"}, variant="primary", elem_id="ask")
        stop = kit.make(gr.Button, say={"value": "estimate.stop"}, variant="stop", elem_id="stop")
    answer = kit.view("answer", views.show_answer, elem_id="answer")

    def ask_model(session: Session) -> Generator[str, None, str]:
        session.stopping = False
        try:
            for progress in steps.ask(session, desk.shelf):
                if session.stopping:
                    raise CancelledError("stopped")
                if progress.answer is None:
                    yield views.show_progress(session, progress)
        except CancelledError:
            session.forget_answer()
            return session.words("estimate.stopped")
        return session.words("estimate.done")

    def stop_model(session: Session) -> None:
        session.stop()

    kit.on(
        ask.click,
        ask_model,
        (),
        ("answer", "why", "record", "form", "crisis", "sign", "exports", "log"),
        target=answer,
        **_ENGINE,
    )
    kit.on(stop.click, stop_model)
    kit.make(gr.Markdown, say={"value": "why.title"}, elem_classes="title")
    why = kit.make(gr.Button, say={"value": "why.ask"}, elem_id="why-ask")
    kit.view("why", views.show_why, elem_id="why")

    def ask_why(session: Session) -> str:
        steps.ask_controls(session, desk.shelf)
        return session.words("why.done")

    kit.on(why.click, ask_why, (), ("why",), **_ENGINE)
