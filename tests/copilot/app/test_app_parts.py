import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybv
import pytest
import yaml

from copilot.app import signal_views
from copilot.app.asking import find_sentences, stream_answer
from copilot.app.channels import find_bridges, judge_channels
from copilot.app.head_map import load_places
from copilot.app.intake import ChannelName, Unfiltered, take_files
from copilot.app.kit import guard
from copilot.app.models import ModelShelf, list_models
from copilot.app.privacy import PrivateFolder, remove_leftovers
from copilot.app.session import Session, Signal
from copilot.app.words import LANGUAGES, load_words
from copilot.run_app import main
from dataset_builder.errors import CopilotError, InputError
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.quality import assess_quality
from dataset_builder.types import SCALP_CHANNELS
from tests.copilot.app.app_fakes import PLANTED, StreamingEngine, write_named_edf
from tests.copilot.copilot_fakes import fitted_codec, make_copilot_recording, make_signal, write_fake_gguf

APP = Path(signal_views.__file__).parent


def test_every_language_has_the_same_words_and_places():
    english = load_words("en").texts
    for language in LANGUAGES:
        texts = load_words(language).texts
        assert sorted(texts) == sorted(english)
        for key, text in texts.items():
            assert sorted(re.findall(r"{(\w+)}", text)) == sorted(re.findall(r"{(\w+)}", english[key])), key
            assert text.strip(), key


def test_words_are_translated():
    english, chinese = load_words("en").texts, load_words("zh").texts
    same = {key for key in english if english[key] == chinese[key]}
    assert same == {"export.json", "export.pdf", "export.fhir", "model.hash"}


def test_every_key_in_use_exists():
    known = load_words("en").texts
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(APP.glob("*.py")))
    templates = "\n".join(path.read_text(encoding="utf-8") for path in sorted((APP / "templates").glob("*.jinja")))
    used = set(re.findall(r'\bw\("([a-z_]+\.[a-z0-9_]+)"', templates))
    used |= set(re.findall(r"\bw\('([a-z_]+\.[a-z0-9_]+)'", templates))
    used |= set(re.findall(r'words\("([a-z_]+\.[a-z0-9_]+)"', code))
    used |= set(re.findall(r'"(?:label|value|info)": "([a-z_]+\.[a-z0-9_]+)"', code))
    assert len(used) > 100
    assert used - set(known) == set()


def test_yaml_of_words_has_no_surprise():
    for language in LANGUAGES:
        sections = yaml.safe_load((APP / "words" / f"{language}.yaml").read_text(encoding="utf-8"))
        assert all(isinstance(text, str) for part in sections.values() for text in part.values())


def test_private_folder_is_private_and_goes(tmp_path):
    folder = PrivateFolder(tmp_path)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    inner = folder.make()
    assert stat.S_IMODE(inner.stat().st_mode) == 0o700
    assert inner != folder.make()
    (inner / "x").write_text("Quackenbush")
    remove_leftovers(tmp_path)  # in use: stays
    assert (inner / "x").is_file()
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_killed_process_is_removed_at_the_next_start(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from copilot.app.privacy import PrivateFolder\n"
        "folder = PrivateFolder(Path(sys.argv[1])); (folder.make() / 'x').write_text('Quackenbush'); os._exit(9)"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False).returncode == 9
    assert len(list(tmp_path.glob("*/uploads/*/x"))) == 1
    fresh = PrivateFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh.path]
    fresh.remove()


def test_environment_is_closed_before_gradio_comes(tmp_path):
    code = (
        "import json, os, sys, tempfile; from pathlib import Path; from copilot.app.privacy import close_environment\n"
        "assert 'gradio' not in sys.modules\n"
        "close_environment(Path(sys.argv[1]))\n"
        "print(json.dumps(dict(os.environ) | {'temp': tempfile.gettempdir()}))"
    )
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "HF_HUB_OFFLINE": "0", "GRADIO_ANALYTICS_ENABLED": "True"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, capture_output=True, text=True
    )
    found = json.loads(run.stdout)
    assert found["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["GRADIO_TEMP_DIR"].startswith(str(tmp_path))
    assert found["temp"] == str(tmp_path)


def test_recording_is_read_and_its_file_is_gone(tmp_path):
    path = write_named_edf(tmp_path / "upload")
    work = tmp_path / "work"
    work.mkdir()
    intake = take_files([path], work)
    assert len(intake.recording) == 2
    assert intake.recording.channels == tuple(name for name in SCALP_CHANNELS if name != "O2")
    assert intake.channels[0] == ChannelName("EEG Fp1", "Fp1")
    assert any(field.masked for field in intake.header)
    assert [text for text in PLANTED if text in repr(intake.header) + repr(intake.files)] == []
    assert [item.name for item in intake.files] == ["recording.edf"]
    assert list(work.iterdir()) == []
    assert list(path.parent.iterdir()) == []


def test_brainvision_files_are_read_together_whatever_they_are_called(tmp_path):
    data = make_signal(1, 30, seconds=31)[0].astype(float) * 1e-6
    pybv.write_brainvision(
        data=data, sfreq=250, ch_names=list(SCALP_CHANNELS), fname_base="Quackenbush", folder_out=tmp_path / "up"
    )
    paths = sorted((tmp_path / "up").iterdir())
    work = tmp_path / "work"
    work.mkdir()
    for number, path in enumerate(paths):  # each in a folder of its own, as uploads are
        (tmp_path / str(number)).mkdir()
        paths[number] = path.rename(tmp_path / str(number) / path.name)
    intake = take_files(paths, work)
    assert len(intake.recording) == 1
    assert [item.name for item in intake.files] == ["recording.vhdr", "recording.vmrk", "recording.eeg"]
    assert not any(path.exists() for path in paths)
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no recording"),
        (("a.txt",), "no recording"),
        (("a.edf", "b.edf"), "2 recordings"),
        (("a.edf", "b.txt"), "belongs to no recording"),
        (("a.vhdr", "a.eeg", "b.eeg"), "more than one"),
        (("a.edf",), "recording"),
    ],
)
def test_uploads_that_are_no_recording_are_one_line_and_gone(tmp_path, names, message):
    work = tmp_path / "work"
    work.mkdir()
    paths = [tmp_path / f"Yersinia_{name}" for name in names]
    for path in paths:
        path.write_bytes(b"Quackenbush")
    with pytest.raises(InputError, match=message) as error:
        take_files(paths, work)
    assert "\n" not in str(error.value)
    assert "Yersinia" not in str(error.value)
    assert not any(path.exists() for path in paths)
    assert list(work.iterdir()) == []


def test_what_only_the_unfiltered_signal_shows_is_told_by_channel():
    recording = make_copilot_recording(1)
    channels = judge_channels(recording, Unfiltered({"Fz": 50.0}, frozenset({"Cz"})))
    by_name = {channel.name: channel for channel in channels}
    assert by_name["Fz"].hum_hz == 50.0
    assert by_name["Fz"].doubtful
    assert by_name["Cz"].clipped
    assert not by_name["Pz"].doubtful


def test_bad_and_bridged_channels_are_found():
    recording = make_copilot_recording(2)
    signal = recording.signal_uv.copy()
    signal[:, 0] *= 0.001
    signal[:, 1] *= 100
    signal[:, 5] = signal[:, 4] * 1.01
    recording = replace(recording, signal_uv=signal)
    channels = judge_channels(recording, Unfiltered({}, frozenset()))
    assert [channel.marked for channel in channels[:3]] == [True, True, False]
    quality = assess_quality(recording)
    assert {c.name for c in channels if c.marked} == {*quality.flat_channels, *quality.noisy_channels}
    assert find_bridges(recording) == {SCALP_CHANNELS[4]: SCALP_CHANNELS[5], SCALP_CHANNELS[5]: SCALP_CHANNELS[4]}


def test_map_of_the_head_is_right_side_up():
    places = load_places()
    assert set(SCALP_CHANNELS) <= set(places)
    assert places["Fp1"][0] < 0 < places["Fp2"][0]
    assert places["Fpz"][1] < -0.8 < 0.8 < places["Oz"][1]
    assert np.hypot(*places["Cz"]) < 0.1
    assert abs(places["T7"][0] + places["T8"][0]) < 0.05


def test_electrodes_are_shown_by_kind():
    recording = make_copilot_recording(1, channels=(*SCALP_CHANNELS[:28], "Fpz", "A1"))
    signal = recording.signal_uv.copy()
    signal[:, 2] = 0
    recording = replace(recording, signal_uv=signal)
    channels = judge_channels(recording, Unfiltered({}, frozenset()))
    dots = {
        d["name"]: d["kind"] for d in signal_views.place_dots(Signal(recording, assess_quality(recording), channels))
    }
    assert (dots["Fp1"], dots["Fz"], dots["O2"], dots["Fpz"], dots["A1"]) == (
        "present",
        "bad",
        "missing",
        "extra",
        "extra",
    )


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ('{"emotion": "joy", "assess', ""),
        ('{"emotion": "joy", "assessment": "Estimated evoked emotion: j', ""),
        (
            '{"emotion": "joy", "assessment": "Estimated evoked emotion: joy (positive valence). Larg',
            "Estimated evoked emotion: joy (positive valence).",
        ),
        ('{"emotion": "joy", "assessment": "Estimated evoked emotion: sadness (negative valence). Larg', ""),
        ('{"emotion": "joy", "assessment": "Take 20 mg of fluoxetine. ', ""),
        ('{"emotion": "joy", "assessment": "half an escape \\u00', ""),
    ],
)
def test_only_whole_and_permitted_sentences_are_streamed(written, shown):
    assert find_sentences(written, "joy", "en") == shown


def test_model_is_stopped_when_nobody_listens():
    engine = SlowEngine()
    steps = stream_answer(make_copilot_recording(2), engine, fitted_codec(), DEFAULT_STYLE, 0)
    assert next(steps).n_done == 0
    steps.close()
    assert engine.cancelled == 1


class SlowEngine(StreamingEngine):
    """Waits at the first window until it is stopped."""

    def score_labels(self, messages, labels, prefix):
        while not self.cancelled:
            pass
        raise InputError("stopped")


def test_error_of_the_model_reaches_the_caller():
    class Broken(StreamingEngine):
        def score_labels(self, messages, labels, prefix):
            raise InputError("engine: gave up")

    with pytest.raises(InputError, match="gave up"):
        list(stream_answer(make_copilot_recording(1), Broken(), fitted_codec(), DEFAULT_STYLE, 0))


def test_one_model_is_in_memory_and_another_takes_its_place(tmp_path):
    paths = [write_fake_gguf(tmp_path / name) for name in ("a.gguf", "b.gguf")]
    opened: list[StreamingEngine] = []

    def open_engine(path: Path, n_threads: int | None = None) -> StreamingEngine:
        opened.append(StreamingEngine())
        return opened[-1]

    shelf = ModelShelf([tmp_path], open_engine=open_engine)
    assert shelf.files == paths
    first, second = (shelf.choose(path) for path in paths)
    for model in (first, first, second):
        with shelf.borrow(model) as engine:
            assert engine is opened[-1]
    assert len(opened) == 2
    assert [engine.closed for engine in opened] == [True, False]
    shelf.close()
    assert opened[1].closed


def test_models_are_listed_once_and_absent_places_named(tmp_path):
    path = write_fake_gguf(tmp_path / "a.gguf")
    assert list_models([path, tmp_path]) == [path]
    with pytest.raises(InputError, match="nowhere"):
        list_models([tmp_path / "nowhere"])


@pytest.fixture
def session(tmp_path) -> Iterator[Session]:
    opened = Session(tmp_path)
    yield opened
    opened.close()


def test_what_goes_wrong_is_one_line_without_a_traceback(session, capfd):
    def fail() -> str:
        raise ValueError("Quackenbush")

    guard(session, fail)
    assert session.failed
    assert "ValueError" in session.message
    assert "Quackenbush" not in session.message + "".join(capfd.readouterr())
    guard(session, lambda: "done")
    assert (session.failed, session.message) == (False, "done")


def test_closed_session_does_nothing(session):
    session.close()
    guard(session, lambda: pytest.fail("was done"))
    assert session.failed


def test_hostile_channel_names_are_text(session, tmp_path):
    recording = make_copilot_recording(1)
    channels = judge_channels(recording, Unfiltered({}, frozenset()))
    session.signal = Signal(recording, assess_quality(recording), tuple(channels))
    hostile = replace(channels[0], name="<script>alert(1)</script>")
    session.signal = replace(session.signal, channels=(hostile, *channels[1:]))
    assert "<script>" not in signal_views.show_channels(session)
    assert "&lt;script&gt;" in signal_views.show_channels(session)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "0"], "--port"),
        (["--port", "70000"], "--port"),
        (["--max-mb", "0"], "--max-mb"),
        (["--threads", "0"], "--threads"),
        (["--model", "nowhere.gguf"], "nowhere.gguf"),
    ],
)
def test_command_refuses_before_anything_starts(arguments, message):
    before = tempfile.gettempdir()
    with pytest.raises(CopilotError, match=message) as error:
        main(arguments)
    assert "\n" not in str(error.value)
    assert tempfile.gettempdir() == before
