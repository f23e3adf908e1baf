"""Step 2: is the signal usable, what does it look like, and what does the model read of it."""

from functools import partial
from typing import Any

import gradio as gr

from copilot.app import signal_views, steps
from copilot.app.kit import Kit
from copilot.app.session import Session


def add_signal_tab(kit: Kit, tab: gr.Tab) -> None:
    """Lay out and connect the second step; its pictures are drawn when it is opened."""
    kit.view("signal", signal_views.show_gate, elem_id="gate")
    with kit.make(gr.Accordion, say={"label": "quality.channels"}, open=True):
        kit.view("signal", signal_views.show_channels, elem_id="channels")
    kit.make(gr.Markdown, say={"value": "views.title"}, elem_classes="title")
    window = kit.make(
        gr.Slider, say={"label": "views.window_plain"}, minimum=1, maximum=2, step=1, value=1, elem_id="window"
    )
    kit.follow(window, "slider", _update_slider)
    with gr.Tabs(elem_id="views"):
        for name in ("traces", "spectrum", "topomaps"):
            with kit.make(gr.Tab, say={"label": f"views.{name}"}, id=name):
                kit.view("window", partial(_show_picture, name=name), elem_id=name)
        with kit.make(gr.Tab, say={"label": "views.code"}, id="code"):
            kit.view("window", _show_code, elem_id="code")

    def open_tab(session: Session) -> None:
        session.looking = True

    def move(session: Session, number: float) -> None:
        steps.show_window(session, number)

    kit.on(tab.select, open_tab, (), ("window", "slider"))
    kit.on(window.release, move, [window], ("window",))


def _show_picture(session: Session, name: str) -> str:
    """Draw only for eyes: the draft must not wait for pictures on a tab that nobody has opened."""
    return signal_views.show_picture(session, name) if session.looking else ""


def _show_code(session: Session) -> str:
    return signal_views.show_code(session) if session.looking else ""


def _update_slider(session: Session) -> Any:
    if session.signal is None:
        return gr.update(maximum=2, value=1, interactive=False)
    last = len(session.signal.recording)
    return gr.update(maximum=max(last, 2), value=session.window + 1, interactive=last > 1)
