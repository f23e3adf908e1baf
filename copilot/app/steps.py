"""What the buttons of the page do, step by step, without any browser."""

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from copilot.app.asking import Progress, stream_answer
from copilot.app.channels import judge_channels
from copilot.app.intake import take_files
from copilot.app.models import ChosenModel, ModelShelf
from copilot.app.pictures import DRAWING
from copilot.app.sample import write_sample
from copilot.app.session import Session, Signal
from copilot.app.why import ask_why
from copilot.gate import cap_age
from copilot.record.build import build_record
from copilot.record.review import open_review
from dataset_builder.errors import InputError
from dataset_builder.quality import assess_quality

#: Seed of the generated answer, as ``eeg-copilot record`` has it.
SEED = 17


def take_recording(session: Session, paths: Sequence[Path], *, synthetic: bool = False) -> None:
    """Read an uploaded recording into a session; what the session held before is dropped.

    Raises
    ------
    InputError
        If it cannot be used; the session is then empty.
    """
    session.forget_recording()
    session.intake = take_files(paths, session.folder, synthetic=synthetic)
    _judge(session)


def take_sample(session: Session, sample: Path | None = None) -> None:
    """Read a made-up recording into a session, the same way as any other.

    Parameters
    ----------
    session : Session
    sample : Path, optional
        An EDF file from `copilot.app.sample.write_sample`; without one it is made now.
    """
    session.forget_recording()
    path = session.folder.with_suffix(".edf")
    if sample is None:
        write_sample(path)
    else:
        shutil.copyfile(sample, path)
    take_recording(session, [path], synthetic=True)


def choose_model(session: Session, shelf: ModelShelf, path: Path) -> None:
    """Take another model; an answer of the one before is dropped.

    Raises
    ------
    InputError
        If the file is no model of ours; the session then has none.
    """
    session.forget_answer()
    session.model = None
    session.model = shelf.choose(path)
    session.pictures.clear()
    _judge(session)


def describe_person(session: Session, age: float | None, sex: str | None) -> None:
    """Keep what the form says of the person; a changed answer would not fit the old draft, which is dropped.

    Parameters
    ----------
    session : Session
    age : float or None
        Years.
    sex : {"F", "M"} or None

    Raises
    ------
    InputError
        If the age is no whole number from 0 to 120, or the sex another.
    """
    if age is not None and not (0 <= age <= 120 and float(age).is_integer()):
        raise InputError(f"age: {age:g}, accepted: whole years from 0 to 120")
    if sex not in (None, "F", "M"):
        raise InputError("sex: accepted: F, M or not stated")
    told = None if age is None else cap_age(int(age)), sex
    if told != (session.age, session.sex):
        session.forget_answer()
        session.age, session.sex = told
        if (signal := session.signal) is not None:
            person = replace(signal.recording, age=session.age, sex=session.sex)
            session.signal = replace(signal, recording=person)


def show_window(session: Session, number: float | None) -> None:
    """Choose which window is drawn, counted from 1; the nearest that there is."""
    last = len(session.signal.recording) if session.signal else 1
    session.window = min(max(int(number or 1), 1), last) - 1


def ask(session: Session, shelf: ModelShelf) -> Iterator[Progress]:
    """Ask the model and draft a record.

    Yields
    ------
    Progress
        The session holds answer and draft when the last one comes.

    Raises
    ------
    CopilotError
        If something is missing, or as `copilot.answer.answer_recording` does.
    """
    model, signal = _need(session)
    session.forget_answer()
    started = time.monotonic()
    with shelf.borrow(model) as engine:
        session.cancel = engine.cancel
        try:
            for progress in stream_answer(signal.recording, engine, model.codec, model.style, SEED):
                if progress.answer is not None:
                    _draft(session, progress.answer, model, signal)
                    session.seconds = time.monotonic() - started
                yield progress
        finally:
            session.cancel = None


def ask_controls(session: Session, shelf: ModelShelf) -> None:
    """Ask the same question again with something taken away, about the window that was explained.

    Raises
    ------
    CopilotError
        If there is no answer yet, or the engine fails.
    """
    model, signal = _need(session)
    if session.answer is None or session.answer.explanation is None:
        raise InputError("why: there is no estimate to explain; ask the model first")
    with shelf.borrow(model) as engine:
        window = session.answer.explanation.window
        session.controls = tuple(ask_why(signal.recording, window, engine, model.codec, model.style))


def edit_fields(session: Session, changes: dict[str, Any], role: str, name: str = "", reason: str = "") -> list[str]:
    """Enter a person's changes, those that are any; return the fields that changed.

    Parameters
    ----------
    session : Session
    changes : dict of str to value
        Field of `copilot.record.review.Review.list_fields` -> what it shall be.
    role, name, reason : str
        Who changes it; name and reason are needed once a record is signed.

    Raises
    ------
    InputError
        If a change is refused; those before it are kept.
    """
    review = need_review(session)
    before = {state.field: state.value for state in review.list_fields()}
    changed = []
    for field, value in changes.items():
        if field in before and _differ(before[field], value):
            review.edit(field, value, role=role, name=name, reason=reason)
            changed.append(field)
    return changed


def sign(session: Session, name: str, role: str, checklist: Collection[str]) -> None:
    """Sign the record.

    Raises
    ------
    InputError
        As `copilot.record.review.Review.sign` does.
    """
    need_review(session).sign(name, role, checklist)


def read_whole(value: float | None) -> int | None:
    """Return the whole number that a form holds.

    Raises
    ------
    InputError
        If it is not whole.
    """
    if value is None:
        return None
    if not float(value).is_integer():
        raise InputError(f"questionnaire: found {value:g}; accepted: whole numbers")
    return int(value)


def need_review(session: Session) -> Any:
    """Return the record under review.

    Raises
    ------
    InputError
        If nothing was drafted yet.
    """
    if session.review is None:
        raise InputError("record: there is none yet; ask the model first")
    return session.review


def _need(session: Session) -> tuple[ChosenModel, Signal]:
    if session.model is None:
        raise InputError("model: none is chosen; choose a GGUF file first")
    if session.signal is None:
        raise InputError("recording: none is open; open one first")
    return session.model, session.signal


def _judge(session: Session) -> None:
    """Judge the signal as the chosen model would read it."""
    if session.intake is None:
        return
    recording = replace(session.intake.recording, age=session.age, sex=session.sex)
    if session.model is not None:
        recording = session.model.codec.cut(recording)
    channels = judge_channels(recording, session.intake.unfiltered)
    session.signal = Signal(recording, assess_quality(recording), tuple(channels))
    session.window = min(session.window, len(recording) - 1)


def _draft(session: Session, answer: Any, model: ChosenModel, signal: Signal) -> None:
    if session.intake is None or session.signal is not signal or session.model is not model:
        raise InputError("recording: something was changed while the model was asked; ask again")
    with DRAWING:
        record = build_record(signal.recording, answer, model.provenance, sha256=session.intake.files[0].sha256)
    session.answer, session.review = answer, open_review(record)


def _differ(old: Any, new: Any) -> bool:
    if isinstance(old, list | tuple) or isinstance(new, list | tuple):
        return set(old or ()) != set(new or ())
    return (old or None) != (new or None) if isinstance(old, str) or isinstance(new, str) else old != new
