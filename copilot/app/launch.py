"""The page served on this computer, until it is told to stop; then nothing is left."""

import json
import signal
import threading
from collections.abc import Callable
from importlib import resources
from types import FrameType
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from copilot.app.desk import Desk
from copilot.app.page import build_page
from copilot.app.privacy import PrivateAnswers
from copilot.app.views import EXPORTS
from copilot.app.words import LANGUAGES, load_words
from copilot.record import name_file
from dataset_builder.errors import CopilotError, InputError

#: The only name and address under which the page may be asked for: other sites cannot reach it by a name of theirs.
_OWN_NAMES = ["127.0.0.1", "localhost"]

#: What a browser is told about a file; all are saved and never opened in place.
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "json": "application/json",
    "fhir": "application/fhir+json",
    "audit": "application/jsonl",
}

#: The page is made for light colours, as its pictures are; without this Gradio follows the system into dark ones. And
#: Gradio's own words follow the browser's language, not the one chosen here: wherever they appear they are replaced.
_SCRIPT = """() => {
    const root = document.documentElement, words = WORDS, all = {childList: true, characterData: true, subtree: true};
    const stay = () => document.querySelectorAll(".dark").forEach(part => part.classList.remove("dark"));
    const speak = text => (words[root.lang] || words.en).reduce((said, word, at) =>
        Object.values(words).reduce((t, other) => t.replace(other[at], word), said), text);
    const put = (text, place) => { const said = speak(text || ""); if (said !== (text || "")) place(said); };
    const translate = () => document.querySelectorAll("#upload, #window").forEach(part => {
        part.querySelectorAll("[aria-label]").forEach(one =>
            put(one.getAttribute("aria-label"), said => one.setAttribute("aria-label", said)));
        part.querySelectorAll("[title]").forEach(one => put(one.title, said => { one.title = said; }));
        const texts = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) { const text = texts.currentNode; put(text.data, said => { text.data = said; }); }
    });
    new MutationObserver(stay).observe(root, {attributes: true, attributeFilter: ["class"], subtree: true});
    new MutationObserver(translate).observe(root, {attributes: true, attributeFilter: ["lang"], ...all});
    stay();
}"""

#: Fonts that computers have: nothing is fetched.
_SANS = ("system-ui", "Segoe UI", "Helvetica Neue", "Arial", "Noto Sans CJK SC", "Microsoft YaHei", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace")


def launch_page(desk: Desk, *, port: int | None = None, inbrowser: bool = False) -> tuple[gr.Blocks, str]:
    """Serve the page and return at once.

    Parameters
    ----------
    desk : Desk
    port : int, optional
        Default: the first free one from 7860 on.
    inbrowser : bool
        Opens the page in the user's browser.

    Returns
    -------
    page : gr.Blocks
    address : str

    Raises
    ------
    InputError
        If the port is taken.
    """
    page = build_page(desk)
    page.queue(api_open=False, max_size=64, default_concurrency_limit=4)
    hosted = desk.options.hosted
    middleware = [Middleware(PrivateAnswers, framed=hosted)]
    if not hosted:
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=_OWN_NAMES))
    try:
        _, address, _ = page.launch(
            server_name=None if hosted else "127.0.0.1",  # None: a Space's own environment says where it listens
            server_port=port,
            inbrowser=inbrowser,
            share=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            ssr_mode=False,
            show_error=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=f"{desk.options.max_mb}mb",
            strict_cors=True,
            theme=_make_theme(),
            js=make_script(),
            css=resources.files("copilot.app").joinpath("app.css").read_text(encoding="utf-8"),
            app_kwargs={
                "middleware": middleware,
                "routes": [Route("/export/{token}/{name}", _make_export(desk))],
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
        )
    except OSError:
        raise InputError(f"--port {port}: cannot be used; choose another, or leave it out") from None
    return page, address


def make_script() -> str:
    """Return what the browser runs when the page opens, with Gradio's own words in every language."""
    words = {}
    for language in LANGUAGES:
        texts = load_words(language).texts
        words[language] = [text for key, text in texts.items() if key.startswith("gradio.")]
    return _SCRIPT.replace("WORDS", json.dumps(words))


def wait_for_stop() -> None:
    """Return when the process is asked to stop: Ctrl-C, or a signal to end."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        while not stop.wait(0.5):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_export(desk: Desk) -> Callable[[Request], Any]:
    """Return the handler of downloads: a file is made when it is asked for, in memory."""

    def export(request: Request) -> Response:
        session = desk.find_session(request.path_params["token"])
        name = request.path_params["name"]
        if session is None or session.review is None or name not in EXPORTS:
            return PlainTextResponse("no such file", status_code=404)
        try:
            data = session.review.export(name, language=session.language)
        except CopilotError as error:
            return PlainTextResponse(str(error), status_code=409)
        headers = {"content-disposition": f'attachment; filename="{name_file(name)}"'}
        return Response(data, media_type=_MEDIA_TYPES[name], headers=headers)

    return export


def _make_theme() -> gr.themes.Base:
    """Return a theme whose colours are those of the record; text has a contrast of at least 4.5 to 1."""
    soft, accent = "#4c5865", "#0b4f8a"
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=_SANS, font_mono=_MONO)
    return theme.set(
        body_text_color_subdued=soft,
        block_info_text_color=soft,
        block_label_text_color=soft,
        block_title_text_color="#1d2733",
        button_primary_background_fill=accent,
        button_primary_background_fill_hover="#093f6e",
        button_primary_text_color="white",
        checkbox_background_color_selected=accent,
    )
