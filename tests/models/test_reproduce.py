"""Reproduction: the whole path on a few synthetic people, and a report that says what a number means."""

import re
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.errors import RecipeError
from dataset_builder.manifest import Manifest, Metric, read_manifest
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.predictions import compare_leads, count_predictions, write_predictions
from model_recipes.reproduce import EXPERIMENTS, STAGES, ReproduceOptions, load_recipes, reproduce
from model_recipes.reproduce_report import SEEN, UNSEEN, Chapter, format_summary, list_lines, tell_recognition
from model_recipes.run_reproduce import main, make_parser

PEOPLE = "train: [0, 3], validation: [4, 5], test: [6, 9]"
SMALL = [
    f"corpus.split={{protocol: ranges, {PEOPLE}}}",
    f"unseen.split={{protocol: unseen-subjects-and-clips, held_out_fold: 1, {PEOPLE}}}",
    "base.tiny.train={steps: 4, batch_size: 2, window: 64, warmup_steps: 1}",
    "base.perplexity_windows=2",
    "reader.train={steps: 4, batch_size: 4, window: 512, learning_rate: 3.0e-3, warmup_steps: 1}",
    "unseen_reader.train={steps: 4, batch_size: 4, window: 512, learning_rate: 3.0e-3, warmup_steps: 1}",
    "gguf.types=[F16]",
    "gguf.parity_prompts=1",
    "gguf.perplexity_windows=2",
    "evaluate.max_rows=12",
    "evaluate.control_rows=6",
    "evaluate.generated_rows=1",
    "evaluate.svm_every=10",
    "evaluate.probes=[emotion]",
]
FOLDERS = ["corpus", "base", "reader", "gguf", "evaluation", "corpus-unseen", "reader-unseen", "evaluation-unseen"]


def make_options(**changes):
    return ReproduceOptions(**{"experiment": "faced-reader", "faced": "FACED", "out": "run"} | changes)


def make_chapter(value, protocol, interval, reader="language model", name="balanced_accuracy", folder="evaluation"):
    metric = Metric(
        name=name, value=value, n=560, unit="trials", split="validation", protocol=protocol, interval=interval,
        chance=1 / 9, reader=reader,
    )  # fmt: skip
    manifest = Manifest(
        stage="evaluate", key="", recipe={}, started="", seconds=1, packages={}, hardware={}, code={}, metrics=[metric]
    )
    return Chapter("evaluation", Path(folder), manifest)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("reproduction")
    write_cohort(SynthRecipe(subjects=6, signals=0, effect=4.0), root / "cohort")
    options = make_options(faced=str(root / "cohort"), out=str(root / "run"), set=SMALL)
    return root / "run", options, reproduce(options)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_command_takes_every_experiment(experiment):
    assert make_parser().parse_args([experiment, "--faced", "FACED"]).experiment == experiment
    recipes = load_recipes(make_options(experiment=experiment))
    codecs = (recipes.corpus.codec, recipes.unseen.codec)
    assert {(codec.seconds, codec.segments) for codec in codecs} == {
        (10, True) if experiment.endswith("segments") else (30, False)
    }
    assert [codec.target for codec in codecs] == ["clip", "emotion"]


def test_every_stage_and_the_report_are_there(run):
    root, _, told = run
    manifests = {name: read_manifest(root / name) for name in FOLDERS}
    assert sorted(path.name for path in root.iterdir()) == sorted([*FOLDERS, "report.html"])
    assert all(manifest.synthetic for manifest in manifests.values())
    assert manifests["corpus"].facts["codec"]["normalization"] == "session"
    assert f"wrote {root / 'report.html'}" in told


def test_both_protocols_stand_side_by_side(run):
    root, _, told = run
    page = (root / "report.html").read_text(encoding="utf-8")
    for text in (told, page):
        assert re.search(r"unseen subjects\b", text)
        assert "unseen subjects and clips" in text
        assert "balanced accuracy" in text
        assert "chance" in text
    assert "Synthetic data" in page
    assert str(root) not in page
    assert page.count("data:image/png") >= 3


def test_all_controls_and_free_answers_are_in_the_run_itself(run):
    root, *_ = run
    for name in ("evaluation", "evaluation-unseen"):
        manifest = read_manifest(root / name)
        readers = {metric.reader for metric in manifest.metrics}
        for control in ("no EEG", "noise of the same spectrum", "code of another trial", "demographics only"):
            assert f"language model, {control}" in readers
        assert manifest.metric("text_valid", reader="language model").n == 1
        assert "svm.safetensors" not in [item.name for item in manifest.inputs]
    assert "left out: DE + SVM: 4 people to learn from; at least 5 are needed" in manifest.notes


def test_clips_called_new_met_neither_code_nor_reader(run):
    root, *_ = run
    assert read_manifest(root / "reader-unseen").recipe["held_out_fold"] == 1
    assert read_manifest(root / "reader").recipe["held_out_fold"] is None
    unseen = read_manifest(root / "evaluation-unseen")
    assert {m.protocol for m in unseen.metrics if m.name == "balanced_accuracy"} == {"unseen subjects and clips"}
    seen = read_manifest(root / "evaluation")
    assert {m.protocol for m in seen.metrics if m.name == "balanced_accuracy"} == {"unseen subjects"}


def test_running_again_costs_nothing(run):
    root, options, told = run
    before = [read_manifest(root / name).started for name in FOLDERS]
    assert reproduce(options) == told
    assert [read_manifest(root / name).started for name in FOLDERS] == before


def write_answers(folder, protocol, right, people=range(6)):
    """Write predictions of people of whom each answers nine trials, the first `right` of them as intended."""
    rows = [
        {"row_id": f"{person}-{i}", "subject": f"sub{person:03d}", "emotion": emotion, "clip_fold": 0}
        for person in people
        for i, emotion in enumerate(EMOTIONS)
    ]
    said = np.array([i if i < right else (i + 1) % 9 for _ in people for i in range(9)])
    folder.mkdir()
    write_predictions(folder, "language model", rows, {protocol: np.arange(len(rows))}, np.eye(9)[said])


def test_both_scores_are_told_with_their_difference_and_no_share(tmp_path):
    folders = {protocol: tmp_path / name for protocol, name in ((SEEN, "seen"), (UNSEEN, "unseen"))}
    write_answers(folders[SEEN], SEEN, right=7, people=range(7))
    write_answers(folders[UNSEEN], UNSEEN, right=2)
    seen = make_chapter(0.778, SEEN, [0.73, 0.88], folder=folders[SEEN])
    unseen = make_chapter(0.222, UNSEEN, [0.15, 0.25], folder=folders[UNSEEN])
    told = tell_recognition([seen, unseen])
    assert "new people is 0.778 [0.730, 0.880]" in told
    assert "0.222 [0.150, 0.250], above chance (0.111)" in told
    assert "higher by +0.556 [+0.556, +0.556], 95 % paired over the 6 people in both" in told
    assert "two readers" in told
    assert "goes with" not in told
    assert not re.search(r"\d%", told)


def test_a_difference_needs_people_that_are_named(tmp_path):
    seen = make_chapter(0.811, "unseen subjects", [0.73, 0.88])
    unseen = make_chapter(0.181, "unseen subjects and clips", [0.15, 0.21])
    assert "higher by" not in tell_recognition([seen, unseen]), "no predictions"
    write_answers(tmp_path / "one", SEEN, right=5, people=range(3))
    write_answers(tmp_path / "other", SEEN, right=1, people=range(2, 5))
    counts = [count_predictions(tmp_path / name, "language model", SEEN) for name in ("one", "other")]
    assert sorted(counts[0]) == ["sub000", "sub001", "sub002"]
    assert np.trace(counts[0]["sub001"]) == 5
    assert compare_leads(*counts, 0) is None, "one person stands in both"
    assert count_predictions(tmp_path / "one", "language model", UNSEEN) == {}
    unsure = make_chapter(0.13, "unseen subjects and clips", [0.10, 0.16])
    assert "not surely above chance" in tell_recognition([seen, unsure])
    assert tell_recognition([seen]) == ""


def test_table_has_a_line_of_chance_for_each_protocol():
    chapters = [make_chapter(0.8, "unseen subjects", [0.7, 0.9], reader) for reader in ("linear probe", "noise")]
    lines = list_lines(chapters)
    assert [(line.reader, line.n) for line in lines] == [("linear probe", "560"), ("noise", "560"), ("chance", "")]
    assert lines[0].values["balanced_accuracy"] == "0.800 [0.700, 0.900]"
    assert lines[-1].values["balanced_accuracy"] == "0.111"
    assert format_summary(chapters).splitlines()[0].split() == "protocol reader balanced accuracy n".split()


def test_terminal_leaves_controls_to_the_page():
    names = ["language model", "language model, no EEG", "language model F16", "language model F16, no EEG"]
    chapters = [make_chapter(0.5, "unseen subjects", [0.4, 0.6], name) for name in names]
    assert [line.reader for line in list_lines(chapters)] == [*names[:3], "chance"]
    assert "no EEG" not in format_summary(chapters)


@pytest.mark.parametrize("mode", ["session", "none", "calibration", "causal"])
def test_scaling_to_the_person_reaches_both_corpora(mode):
    recipes = load_recipes(make_options(normalization=mode))
    assert recipes.corpus.codec.normalization.mode == recipes.unseen.codec.normalization.mode == mode
    assert recipes.unseen.split.held_out_fold == recipes.base.held_out_fold == 0
    assert recipes.evaluate.held_out_fold is None


def test_changes_are_checked_before_any_work():
    with pytest.raises(RecipeError, match=r"expected STAGE\.KEY=VALUE; stages: corpus, unseen, base"):
        load_recipes(make_options(set=["adapter.steps=5"]))
    with pytest.raises(RecipeError, match="reproduce other: unknown; accepted: faced-reader"):
        load_recipes(make_options(experiment="other"))
    with pytest.raises(RecipeError, match="step: unknown key; accepted: check_every"):
        load_recipes(make_options(set=["reader.step=5"]))
    assert load_recipes(make_options(set=["reader.seed=5"])).reader.seed == 5
    assert "unseen" in STAGES


def test_command_knows_every_experiment(run, capsys):
    (experiment,) = (action for action in make_parser()._actions if action.dest == "experiment")
    assert list(experiment.choices) == list(EXPERIMENTS)
    root, options, told = run
    changes = [word for change in SMALL for word in ("--set", change)]
    assert main(["faced-reader", "--faced", options.faced, "--out", str(root), *changes]) == 0
    assert told in capsys.readouterr().out
