"""Step 1: the recording, the person, the model."""

from pathlib import Path
from typing import Any

import gradio as gr

from copilot.app import signal_views, steps, views
from copilot.app.desk import Desk
from copilot.app.intake import ACCEPTED
from copilot.app.kit import Kit
from copilot.app.session import Session

#: What is shown anew when the recording or the model changes.
_ALL = (
    "recording",
    "signal",
    "window",
    "slider",
    "answer",
    "why",
    "record",
    "form",
    "crisis",
    "sign",
    "exports",
    "log",
)


def add_recording_tab(kit: Kit, desk: Desk) -> None:
    """Lay out and connect the first step."""
    with gr.Row():
        with gr.Column(scale=3, elem_id="import"):
            _add_import(kit, desk)
            _add_person(kit)
            kit.view("recording", signal_views.show_facts, elem_id="facts")
            kit.view("recording", signal_views.show_header, elem_id="header")
        with gr.Column(scale=2):
            _add_model(kit, desk)
            kit.view("recording", signal_views.show_montage, elem_id="montage")


def _add_import(kit: Kit, desk: Desk) -> None:
    kit.make(gr.Markdown, say={"value": "import.title"}, elem_classes="title")
    if not desk.options.hosted:
        kit.make(gr.Markdown, say={"value": "import.formats"}, elem_classes="small")
        upload = kit.make(
            gr.File,
            say={"label": "import.file"},
            fill={"size": f"{desk.options.max_mb} MB"},
            file_count="multiple",
            file_types=list(ACCEPTED),
            height=160,
            elem_id="upload",
        )

        def take(session: Session, files: list[str] | None) -> str:
            steps.take_recording(session, [Path(file) for file in files or []])
            return session.words("import.done")

        # The name of the file goes away with the file: it may be a person's.
        kit.follow(upload, "upload", lambda session: gr.update(value=None))
        kit.on(upload.upload, take, [upload], ("upload", "person", *_ALL), show_progress="full")
    sample = kit.make(gr.Button, say={"value": "import.sample"}, elem_id="sample")

    def take_sample(session: Session) -> str:
        steps.take_sample(session, desk.options.sample)
        return session.words("import.done_sample")

    kit.on(sample.click, take_sample, (), ("person", *_ALL), show_progress="full")


def _add_model(kit: Kit, desk: Desk) -> None:
    kit.make(gr.Markdown, say={"value": "model.title"}, elem_classes="title")
    chosen = kit.make(
        gr.Dropdown,
        say={"label": "model.choose"},
        choices=[(path.name, str(index)) for index, path in enumerate(desk.shelf.files)],
        value=None,
        elem_id="model",
    )
    kit.follow(chosen, "chosen", lambda session: gr.update(value=_find_choice(session, desk)))

    def choose(session: Session, index: str | None) -> str | None:
        if index is None:
            return None
        steps.choose_model(session, desk.shelf, desk.shelf.files[int(index)])
        return session.words("model.done")

    kit.on(chosen.input, choose, [chosen], ("model", *_ALL))
    if not desk.options.hosted:
        path = kit.make(gr.Textbox, say={"label": "model.path"}, elem_id="model-path", max_lines=1)
        use = kit.make(gr.Button, say={"value": "model.use"}, size="sm", elem_id="model-use")

        def use_path(session: Session, text: str) -> str:
            steps.choose_model(session, desk.shelf, Path(text.strip()).expanduser())
            return session.words("model.done")

        kit.on(use.click, use_path, [path], ("model", "chosen", *_ALL))
    kit.view("model", views.show_model, elem_id="model-facts")


def _add_person(kit: Kit) -> None:
    with kit.make(gr.Accordion, say={"label": "import.person"}, open=True):
        kit.make(gr.Markdown, say={"value": "import.person_why"}, elem_classes="small")
        age = kit.make(gr.Number, say={"label": "import.age"}, value=None, elem_id="age")
        sexes = [("import.sex_none", ""), ("import.sex_f", "F"), ("import.sex_m", "M")]
        sex = kit.make(gr.Radio, say={"label": "import.sex", "choices": sexes}, value="", elem_id="sex")
        keep = kit.make(gr.Button, say={"value": "import.person_save"}, size="sm", elem_id="person-save")

    def describe(session: Session, years: float | None, letter: str | None) -> str:
        steps.describe_person(session, years, letter or None)
        words = session.words
        told = words("page.none") if session.age is None else "90+" if session.age >= 90 else str(session.age)
        named = words(f"import.sex_{(session.sex or 'none').lower()}")
        return words("import.person_done", age=told, sex=named)

    kit.follow(age, "person", lambda session: gr.update(value=session.age))
    kit.follow(sex, "person", lambda session: gr.update(value=session.sex or ""))
    kit.on(keep.click, describe, [age, sex], ("answer", "why", "record", "form", "crisis", "sign", "exports", "log"))


def _find_choice(session: Session, desk: Desk) -> Any:
    if session.model is None or session.model.path not in desk.shelf.files:
        return None
    return str(desk.shelf.files.index(session.model.path))
