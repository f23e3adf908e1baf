import json
from pathlib import Path

import numpy as np
import pytest

from copilot.app import steps, views
from copilot.app.desk import Desk
from copilot.app.session import Session
from copilot.app.tab_record import save_form
from copilot.app.why import QUESTIONS, find_blank_code
from copilot.app.words import load_words
from copilot.record import FORMATS
from copilot.record.audit import verify_log
from copilot.record.signing import load_checklist
from dataset_builder.errors import CopilotError, InputError
from dataset_builder.quality import assess_quality
from tests.copilot.app.app_fakes import PLANTED, StreamingEngine, make_desk, write_named_edf
from tests.copilot.copilot_fakes import fitted_codec, some_code, write_fake_gguf

FORM = {"text": "", "emotion": "", "total": None, "item9": None, "anxiety": None, "note": "", "role": "researcher"}


@pytest.fixture(scope="module")
def edf(tmp_path_factory) -> bytes:
    return write_named_edf(tmp_path_factory.mktemp("raw")).read_bytes()


@pytest.fixture
def desk(tmp_path) -> Desk:
    return make_desk(tmp_path / "desk")


@pytest.fixture
def session(desk, edf, tmp_path) -> Session:
    """Return a session with a model and a recording."""
    opened = desk.open_session("tab")
    steps.choose_model(opened, desk.shelf, desk.first_model())
    take(opened, edf, tmp_path)
    return opened


def take(session: Session, edf: bytes, folder: Path, name: str = "Yersinia_Quackenbush_1931.edf") -> None:
    path = folder / name
    path.write_bytes(edf)
    steps.take_recording(session, [path])
    assert not path.exists()


def ask(session: Session, desk: Desk) -> None:
    for progress in steps.ask(session, desk.shelf):
        last = progress
    assert last.answer is session.answer


def fill(session: Session, **changes) -> str:
    values = FORM | {"suggestions": list(session.review.record.suggestions and read(session, "suggestions"))} | changes
    return save_form(session, **values, name="", reason="")


def read(session: Session, field: str):
    return next(state.value for state in session.review.list_fields() if state.field == field)


def test_the_whole_way(session, desk):
    steps.describe_person(session, 24, "F")
    ask(session, desk)
    assert session.review.draft.estimate.emotion == "sadness"
    assert session.review.draft.subject.age == 24
    assert session.seconds > 0
    told = fill(session, text="Read again by a person.", item9=1, note="Asked in person.")
    assert "Assessment" in told
    assert "Note" in told
    assert session.review.needs_handoff
    session.review.record_handoff("the clinician on duty", "2026-05-04T10:30", role="researcher")
    steps.sign(session, "A. Reader", "researcher", load_checklist("en"))
    assert session.review.status == "signed"
    for name in (*FORMATS, "audit"):
        data = session.review.export(name)
        assert [text for text in PLANTED if text.encode() in data] == [], name
    verify_log(session.review.export("audit"))


def test_form_as_it_is_changes_nothing(session, desk):
    ask(session, desk)
    before = session.review.record
    assert fill(session, text=read(session, "assessment.text")) == load_words("en")("record.unchanged")
    assert session.review.record == before
    assert session.review.status == "draft"


def test_another_person_or_model_drops_the_draft(session, desk, tmp_path):
    ask(session, desk)
    steps.describe_person(session, None, None)  # as it was
    assert session.review is not None
    steps.describe_person(session, 30, None)
    assert session.review is None
    assert session.answer is None
    ask(session, desk)
    steps.choose_model(session, desk.shelf, write_fake_gguf(tmp_path / "other.gguf"))
    assert session.review is None


def test_another_recording_drops_everything_of_the_one_before(session, desk, edf, tmp_path):
    steps.describe_person(session, 30, "F")
    ask(session, desk)
    bad = tmp_path / "bad.edf"
    bad.write_bytes(b"nonsense")
    with pytest.raises(InputError):
        steps.take_recording(session, [bad])
    assert not bad.exists()
    assert (session.intake, session.signal, session.answer, session.review) == (None, None, None, None)
    assert (session.age, session.sex) == (None, None)


def test_sample_is_marked_as_made_up_and_leaves_no_file(session, desk):
    steps.take_sample(session)
    assert session.signal.recording.synthetic
    assert len(session.signal.recording) == 4
    assert list(session.folder.parent.glob("*.edf")) == []
    ask(session, desk)
    assert session.review.draft.synthetic


def test_nothing_can_be_asked_edited_or_signed_before_its_time(desk):
    session = desk.open_session("tab")
    for step in (
        lambda: list(steps.ask(session, desk.shelf)),
        lambda: steps.ask_controls(session, desk.shelf),
        lambda: steps.edit_fields(session, {}, "researcher"),
        lambda: steps.sign(session, "A", "B", ()),
    ):
        with pytest.raises(InputError, match="choose|none"):
            step()


@pytest.mark.parametrize(("age", "sex"), [(121, None), (-1, None), (24.5, None), (24, "X")])
def test_form_of_the_person_refuses_nonsense(session, age, sex):
    with pytest.raises(InputError, match="accepted"):
        steps.describe_person(session, age, sex)
    assert session.age is None


def test_ages_above_89_are_one(session, desk):
    steps.describe_person(session, 97, None)
    assert session.age == 90
    ask(session, desk)
    assert session.review.draft.subject.age == "90 or older"
    assert session.review.draft.estimate.emotion is None


def test_progress_counts_windows_and_ends_with_the_answer(session, desk):
    seen = list(steps.ask(session, desk.shelf))
    assert [seen[0].n_done, seen[-1].n_done] == [0, 2]
    assert seen[-1].answer is session.answer
    assert all(progress.answer is None for progress in seen[:-1])
    assert seen[-1].scores["sadness"] == pytest.approx(0.6)


def test_change_while_the_model_is_asked_keeps_no_draft(session, desk):
    asking = steps.ask(session, desk.shelf)
    next(asking)
    steps.describe_person(session, 30, "M")
    with pytest.raises(InputError, match="ask again"):
        list(asking)
    assert session.review is None


def test_controls_ask_the_same_with_something_taken_away(session, desk):
    ask(session, desk)
    engine = StreamingEngine()
    desk.shelf._loaded = session.model.path, engine
    steps.describe_person(session, 24, "F")
    ask(session, desk)
    engine.prompts.clear()
    steps.ask_controls(session, desk.shelf)
    assert tuple(control.without for control in session.controls) == QUESTIONS
    whole, no_eeg, nobody, neither = (messages[-1]["content"] for messages in engine.prompts)
    assert len({whole, no_eeg, nobody, neither}) == 4
    assert "Age: 24" in whole
    assert "Age: 24" in no_eeg
    assert "Age: 24" not in nobody + neither
    assert engine.prompts[0][0] == engine.prompts[1][0]  # the system turn stays


def test_blank_code_says_the_same_of_everybody():
    code = some_code()
    blank = find_blank_code(code, fitted_codec())
    assert len(np.unique(blank.values)) == 1
    assert blank.values.shape == code.values.shape
    assert fitted_codec().from_text(fitted_codec().to_text(blank)).values.tolist() == blank.values.tolist()


def test_channels_are_judged_as_the_gate_judges_them(session):
    quality = assess_quality(session.signal.recording)
    marked = {channel.name for channel in session.signal.channels if channel.marked}
    assert marked == {*quality.flat_channels, *quality.noisy_channels}
    assert [channel.name for channel in session.signal.channels] == list(session.signal.recording.channels)


def test_sessions_do_not_see_each_other(session, desk):
    ask(session, desk)
    other = desk.open_session("another tab")
    assert other.folder != session.folder
    assert other.token != session.token
    assert other.review is None
    assert desk.find_session(session.token) is session
    assert desk.find_session("") is None
    desk.close_session("tab")
    assert desk.find_session(session.token) is None
    assert not session.folder.exists()
    assert (session.review, session.intake, session.answer, session.model) == (None, None, None, None)
    assert other.folder.is_dir()


def test_desk_leaves_nothing(session, desk):
    ask(session, desk)
    engine = desk.shelf._loaded[1]
    desk.close()
    assert engine.closed
    assert not desk.folder.path.exists()


def test_every_part_is_rendered_in_both_languages(session, desk):
    steps.describe_person(session, 24, "F")
    ask(session, desk)
    steps.ask_controls(session, desk.shelf)
    shown = {}
    for language in ("en", "zh"):
        session.language = language
        parts = [
            views.show_model,
            views.show_answer,
            views.show_why,
            views.show_record,
            views.show_sign,
            views.show_log,
        ]
        shown[language] = [part(session) for part in parts]
    assert load_words("zh").emotion("sadness") in shown["zh"][1]
    for english, chinese in zip(shown["en"], shown["zh"], strict=True):
        assert english != chinese


class BadTextEngine(StreamingEngine):
    """Writes what a record must never take from a model."""

    def __init__(self) -> None:
        text = "Estimated evoked emotion: sadness (negative valence). Take 20 mg of fluoxetine."
        super().__init__(text=json.dumps({"emotion": "sadness", "assessment": text, "suggestions": ["kindness"]}))


def test_forbidden_words_are_never_on_the_way(edf, tmp_path):
    desk = make_desk(tmp_path / "desk", BadTextEngine())
    session = desk.open_session("tab")
    steps.choose_model(session, desk.shelf, desk.first_model())
    take(session, edf, tmp_path)
    shown = [views.show_progress(session, progress) for progress in steps.ask(session, desk.shelf)]
    shown.append(views.show_answer(session))
    assert [page for page in shown if "20 mg" in page] == []
    assert session.review.draft.assessment.withheld


def test_model_that_is_none_is_one_line(session, desk, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    for path in (tmp_path / "x.gguf", tmp_path / "absent.gguf"):
        with pytest.raises(CopilotError) as error:
            steps.choose_model(session, desk.shelf, path)
        assert "\n" not in str(error.value)
        assert str(tmp_path) not in str(error.value)
        assert session.model is None
