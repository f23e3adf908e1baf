import json
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal, Patient
from edfio import Recording as EdfRecording

from copilot import record_stage
from copilot.cli import main as run_cli
from copilot.record import DEFAULT_FORMATS, FORMATS, build, name_file, parse_record
from copilot.record.review_files import load_review, save_review
from copilot.record.types import NOTICE
from dataset_builder.errors import CopilotError, RecipeError
from dataset_builder.manifest import MANIFEST, Metric, describe_file, hash_file, read_manifest
from dataset_builder.prompts import LIBRARY
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import open_stage
from dataset_builder.types import SCALP_CHANNELS
from tests.copilot.copilot_fakes import FakeEngine, fitted_codec, make_signal, write_fake_gguf

NAMES = ("Yersinia", "Quackenbush", "MRN-778899", "Dr_Zwingli", "AMP-4711", "hello")


def write_edf(path: Path, channels: tuple[str, ...] = SCALP_CHANNELS) -> Path:
    """Write a minute of EEG whose header says who it is."""
    signal = make_signal(1, len(channels), seconds=60)[0]
    signals = [
        EdfSignal(row, 250, label=f"EEG {name}", physical_dimension="uV", physical_range=(-400, 400))
        for name, row in zip(channels, np.clip(signal, -400, 400).astype(float), strict=True)
    ]
    Edf(
        signals,
        patient=Patient(code="MRN-778899", sex="F", birthdate=date(1931, 2, 3), name="Yersinia_Quackenbush"),
        recording=EdfRecording(
            startdate=date(2021, 4, 5), investigator_technician_code="Dr_Zwingli", equipment_code="AMP-4711"
        ),
        starttime=time(10, 11, 12),
        annotations=[EdfAnnotation(3, None, "Quackenbush says hello")],
    ).write(path)
    return path


@pytest.fixture(scope="module")
def edf(tmp_path_factory) -> Path:
    """Write a recording whose file name says who it is, too."""
    return write_edf(tmp_path_factory.mktemp("Yersinia") / "Yersinia_Quackenbush_1931.edf")


@pytest.fixture(autouse=True)
def _draw_once(request, monkeypatch):
    """Leave the pictures out but in one test: they take most of the time and have tests of their own."""
    if "every_format" not in request.node.name and "no_name" not in request.node.name:
        monkeypatch.setattr(build, "draw_pictures", lambda trial, quality: [])


@pytest.fixture
def model(tmp_path) -> Path:
    return write_fake_gguf(tmp_path / "gguf" / "tiny-F16.gguf")


@pytest.fixture
def engine(monkeypatch) -> FakeEngine:
    fake = FakeEngine("joy")
    monkeypatch.setattr(record_stage, "Engine", lambda path, n_threads=None: fake)
    return fake


def run(edf: Path, model: Path, out: Path, *more: str) -> int:
    return run_cli(["record", str(edf), "--model", str(model), "--out", str(out), *more])


def test_folder_holds_every_format_and_the_manifest_last(edf, model, tmp_path, engine, capsys):
    assert run(edf, model, tmp_path / "record", "--age", "24", "--sex", "F", "--format", *FORMATS) == 0
    out = tmp_path / "record"
    assert sorted(path.name for path in out.iterdir()) == sorted([MANIFEST, *map(name_file, FORMATS)])
    record = parse_record((out / "record.json").read_bytes())
    assert record.estimate.emotion == "joy"
    assert (record.subject.age, record.subject.sex) == (24, "F")
    assert record.recording.n_windows == 2
    assert record.recording.sha256 == hash_file(edf)
    assert record.provenance.gguf_sha256 == hash_file(model)
    assert (record.provenance.base, record.provenance.corpus) == ("tiny-base", "tiny-corpus")
    options = f"feature de, levels {fitted_codec().config.levels}, normalization session, space regions, windows 1"
    assert record.provenance.codec == f"band_power ({options})"
    shown = capsys.readouterr()
    assert "estimate   joy" in shown.out
    assert NOTICE in shown.out
    assert "Traceback" not in shown.err


def test_no_name_is_anywhere(edf, model, tmp_path, engine, capfd):
    assert run(edf, model, tmp_path / "record", "--age", "95") == 0
    shown = capfd.readouterr()
    written = b"".join(path.read_bytes() for path in sorted((tmp_path / "record").iterdir()))
    for name in (*NAMES, "1931", edf.name, edf.stem, str(edf.parent)):
        assert name.lower().encode() not in written.lower(), name
        assert name.lower() not in (shown.out + shown.err).lower(), name
    manifest = read_manifest(tmp_path / "record")
    assert [item.name for item in manifest.inputs] == ["recording.edf"]
    assert manifest.recipe["age"] == 90
    assert parse_record((tmp_path / "record" / "record.json").read_bytes()).subject.age == "90 or older"


def test_what_is_written_when_nobody_asks(edf, model, tmp_path, engine):
    assert run(edf, model, tmp_path / "record") == 0
    written = {path.name for path in (tmp_path / "record").iterdir()}
    assert written == {MANIFEST, *map(name_file, DEFAULT_FORMATS)}


@pytest.mark.parametrize("left", ["review", "review.old"])
def test_a_reviewed_record_is_never_replaced(edf, model, tmp_path, engine, capsys, left):
    assert run(edf, model, tmp_path / "record") == 0
    review = load_review(tmp_path / "record")
    review.add_note("Calm.", role="psychologist")
    save_review(review, tmp_path / "record").rename(tmp_path / "record" / left)
    assert run(edf, model, tmp_path / "record") == 2
    assert "holds a record that people have reviewed" in capsys.readouterr().err
    assert load_review(tmp_path / "record").record == review.record


def test_one_format_only(edf, model, tmp_path, engine):
    assert run(edf, model, tmp_path / "record", "--format", "json") == 0
    assert sorted(path.name for path in (tmp_path / "record").iterdir()) == [MANIFEST, "record.json"]


@pytest.mark.parametrize(("more", "told"), [([], False), (["--fill-channels", "spline"], True)])
def test_missing_channels_are_reconstructed_when_asked_for_and_the_record_says_so(model, tmp_path, engine, more, told):
    path = write_edf(tmp_path / "small.edf", SCALP_CHANNELS[:22])
    assert run(path, model, tmp_path / "record", "--format", "json", *more) == 0
    record = parse_record((tmp_path / "record" / "record.json").read_bytes())
    assert ("8 of 30 scalp channels are reconstructed by spherical splines" in record.recording.notes) is told
    assert len(record.recording.missing_channels) == 8


def test_learned_reconstruction_needs_a_model_that_has_one(model, tmp_path, engine, capsys):
    path = write_edf(tmp_path / "small.edf", SCALP_CHANNELS[:22])
    assert run(path, model, tmp_path / "record", "--fill-channels", "learned") == 2
    assert "reconstruct" in capsys.readouterr().err
    assert not (tmp_path / "record").exists()


def test_same_input_gives_the_same_record_but_for_the_moment(edf, model, tmp_path, engine):
    for name in ("a", "b"):
        assert run(edf, model, tmp_path / name, "--format", "json") == 0
    first, second = (json.loads((tmp_path / name / "record.json").read_bytes()) for name in ("a", "b"))
    assert first | {"created": ""} == second | {"created": ""}
    assert read_manifest(tmp_path / "a").key == read_manifest(tmp_path / "b").key


class Empty(StrictModel):
    """The recipe of a stage that has nothing to choose."""


def test_manifest_links_to_the_model_and_record_shows_its_accuracy_only(edf, tmp_path, engine):
    metric = Metric(name="accuracy", value=0.2, n=9, unit="trials", split="test", reader="language model F16")
    with open_stage("gguf", tmp_path / "gguf", Empty()) as stage:
        write_fake_gguf(stage.folder / "tiny-F16.gguf")
    model = tmp_path / "gguf" / "tiny-F16.gguf"
    for name, measured in (("evaluation", [describe_file(model, model.parent)]), ("other", [])):
        with open_stage("evaluate", tmp_path / name, Empty(), parents=[model.parent], inputs=measured) as stage:
            changes: list[dict[str, Any]] = [{}, {"name": "kappa"}, {"reader": "linear probe"}]
            stage.metrics = [metric.model_copy(update=change) for change in changes]
    assert run(edf, model, tmp_path / "record") == 0
    parent = read_manifest(tmp_path / "record").parents[0]
    assert (parent.stage, parent.folder) == ("gguf", "../gguf")
    assert parent.sha256 == hash_file(tmp_path / "gguf" / MANIFEST)
    assert parse_record((tmp_path / "record" / "record.json").read_bytes()).provenance.metrics == [metric]


@pytest.mark.parametrize("more", [[], ["--synthetic"]])
def test_synthetic_recording_is_marked(edf, tmp_path, engine, more):
    model = write_fake_gguf(tmp_path / "gguf" / "x.gguf", synthetic=False)
    assert run(edf, model, tmp_path / "record", *more) == 0
    assert read_manifest(tmp_path / "record").synthetic is bool(more)
    page = (tmp_path / "record" / "record.html").read_bytes()
    assert (b"Synthetic data." in page) is bool(more)
    assert b"Synthetic training." not in page


def test_synthetic_model_marks_the_manifest(edf, model, tmp_path, engine):
    run(edf, model, tmp_path / "record")
    assert read_manifest(tmp_path / "record").synthetic
    assert b"Synthetic training." in (tmp_path / "record" / "record.html").read_bytes()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--age", "121"], "age"),
        (["--age", "-1"], "age"),
        (["--age", "24.5"], "--age"),
        (["--age", "young"], "--age"),
        (["--sex", "X"], "--sex"),
        (["--format", "docx"], "--format"),
        (["--threads", "0"], "--threads"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_option_is_one_line_and_code_2(edf, model, tmp_path, engine, capsys, more, message):
    assert run(edf, model, tmp_path / "record", *more) == 2
    shown = capsys.readouterr().err.strip()
    assert message in shown
    assert "\n" not in shown
    assert not (tmp_path / "record").exists()
    assert engine.prompts == []


def test_model_is_required():
    with pytest.raises(RecipeError, match="--model"):
        record_main(["x.edf"])


def record_main(argv: list[str]) -> int:
    from copilot.run_record import main

    return main(argv)


@pytest.mark.parametrize(("name", "data"), [("notes.txt", b"x"), ("cut.edf", b"0       "), ("absent.edf", None)])
def test_bad_recording_is_one_line_without_its_name(model, tmp_path, engine, capsys, name, data):
    path = tmp_path / f"Yersinia_{name}"
    if data is not None:
        path.write_bytes(data)
    assert run(path, model, tmp_path / "record") == 2
    shown = capsys.readouterr().err.strip()
    assert "\n" not in shown
    assert "Yersinia" not in shown
    assert not (tmp_path / "record").exists()


def test_bad_model_is_one_line(edf, tmp_path, engine, capsys):
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    assert run(edf, tmp_path / "x.gguf", tmp_path / "record") == 2
    assert capsys.readouterr().err.strip() == "error: x.gguf: not a GGUF file"


class BrokenEngine(FakeEngine):
    """Fails at the second window."""

    def score_labels(self, messages: list[dict[str, str]], labels: Any, prefix: str) -> dict[str, float]:
        if self.prompts:
            raise CopilotError("engine: gave up")
        return super().score_labels(messages, labels, prefix)


def test_failing_engine_leaves_nothing_behind(edf, model, tmp_path, monkeypatch):
    monkeypatch.setattr(record_stage, "Engine", lambda path, n_threads=None: BrokenEngine())
    before = sorted(tmp_path.iterdir())
    assert run(edf, model, tmp_path / "record") == 2
    assert sorted(tmp_path.iterdir()) == before


def test_failing_engine_keeps_the_older_record(edf, model, tmp_path, engine, monkeypatch):
    assert run(edf, model, tmp_path / "record") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "record").iterdir()}
    monkeypatch.setattr(record_stage, "Engine", lambda path, n_threads=None: BrokenEngine())
    assert run(edf, model, tmp_path / "record") == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "record").iterdir()} == before


def test_other_work_is_never_replaced(edf, model, tmp_path, engine, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with open_stage("corpus", tmp_path / "corpus", Empty()):
        pass
    (tmp_path / "file").write_text("")
    for name in ("thesis", "corpus", "file"):
        assert run(edf, model, tmp_path / name) == 2
        assert name in capsys.readouterr().err
    assert engine.prompts == []
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert read_manifest(tmp_path / "corpus").stage == "corpus"


@pytest.mark.slow
def test_real_model_answers_a_real_file(edf, tmp_path, capsys):
    from model_recipes.gguf import GgufRecipe, export_gguf
    from tests.factories import make_corpus, make_tiny_model

    corpus, base = make_corpus(tmp_path / "corpus", n_train=2), make_tiny_model(tmp_path / "base")
    export_gguf(GgufRecipe(name="tiny", types=["F16"], perplexity_windows=2), base, corpus, tmp_path / "gguf")
    model = next((tmp_path / "gguf").glob("*.gguf"))
    for name in ("a", "b"):
        assert run(edf, model, tmp_path / name, "--format", "json", "--threads", "1") == 0
    first, second = (parse_record((tmp_path / name / "record.json").read_bytes()) for name in ("a", "b"))
    assert sum(score.probability for score in first.estimate.scores) == pytest.approx(1, abs=1e-6)
    assert first.estimate.emotion == second.estimate.emotion
    assert first.assessment == second.assessment
    assert first.provenance.model == "tiny"
    fitting = LIBRARY.select_suggestions(first.estimate.emotion)
    assert {item.id for item in first.suggestions} <= {item.id for item in fitting}
    assert bool(first.suggestions) is bool(fitting)
    assert read_manifest(tmp_path / "a").parents[0].stage == "gguf"
