"""The whole page: title and notice, five steps, the language; and what happens when a tab opens and closes."""

from typing import Any

import gradio as gr

from copilot.app import steps, views
from copilot.app.desk import Desk
from copilot.app.kit import Kit, guard
from copilot.app.session import Session
from copilot.app.tab_estimate import add_estimate_tab
from copilot.app.tab_record import add_record_tab
from copilot.app.tab_recording import add_recording_tab
from copilot.app.tab_sign import add_sign_tab
from copilot.app.tab_signal import add_signal_tab
from copilot.app.words import LANGUAGES, load_words

#: The steps in their order; each has words under ``steps``.
STEPS: tuple[str, ...] = ("recording", "signal", "estimate", "record", "sign")

#: Tells screen readers, and `launch.make_script`, which language the page is in.
_TELL_LANGUAGE = "(state, language) => { document.documentElement.lang = language; return [state, language]; }"


def build_page(desk: Desk) -> gr.Blocks:
    """Return the page.

    Parameters
    ----------
    desk : Desk

    Returns
    -------
    gr.Blocks
        Not yet launched.
    """
    title = load_words("en")("page.title")
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(60, 60), fill_width=False) as page:
        kit = Kit(gr.State(None))
        with gr.Row(equal_height=True):
            with gr.Column(scale=5):
                kit.view("head", lambda session: views.show_head(session, hosted=desk.options.hosted), elem_id="head")
            with gr.Column(scale=1, min_width=230):
                choices = [(name, key) for key, name in LANGUAGES.items()]
                language = gr.Radio(choices, value="en", label="Language / 语言", elem_id="language")
        kit.view("head", views.show_notice, elem_id="notice")
        kit.view("message", views.show_message, elem_id="message")
        with gr.Tabs(elem_id="steps") as tabs:
            for name in STEPS:
                _add_step(kit, desk, name, tabs)
        kit.connect()
        _connect_session(page, kit, desk, language)
    return page


def _add_step(kit: Kit, desk: Desk, name: str, tabs: gr.Tabs) -> None:
    with kit.make(gr.Tab, say={"label": f"steps.{name}"}, id=name) as tab:
        kit.on(tab.select, _turn_page)
        if name == "recording":
            add_recording_tab(kit, desk)
        elif name == "signal":
            add_signal_tab(kit, tab)
        elif name == "estimate":
            add_estimate_tab(kit, desk)
        elif name == "record":
            add_record_tab(kit)
        else:
            add_sign_tab(kit, tab)
        following = dict(zip(STEPS, STEPS[1:], strict=False)).get(name)
        if following:
            onward = kit.make(gr.Button, say={"value": f"steps.to_{following}"}, elem_id=f"to-{following}")
            onward.click(
                lambda: gr.Tabs(selected=following),
                None,
                tabs,
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )


def _turn_page(session: Session) -> None:
    """Another step is looked at: what was said of the last one is read."""


def _connect_session(page: gr.Blocks, kit: Kit, desk: Desk, language: gr.Radio) -> None:
    def begin(request: gr.Request) -> list[Any]:
        session = desk.open_session(str(request.session_hash))
        first = desk.first_model()
        if first is not None:
            guard(session, lambda: steps.choose_model(session, desk.shelf, first))
        return [session, *kit.translate(session)]

    def speak(session: Session, key: Any) -> list[Any]:
        session.language = key
        session.message, session.failed = "", False
        return kit.translate(session)

    def end(request: gr.Request) -> None:
        key = str(request.session_hash)
        desk.close_session(key)
        page.state_holder.session_data.pop(key, None)  # Gradio would keep all that was shown, pictures and record
        page.state_holder.time_last_used.pop(key, None)

    page.load(begin, None, [kit.state, *kit.every], show_progress="hidden", api_visibility="private")
    language.input(
        speak,
        [kit.state, language],
        kit.every,
        show_progress="hidden",
        api_visibility="private",
        js=_TELL_LANGUAGE,
    )
    page.unload(end)
