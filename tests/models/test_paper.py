"""The paper's experiments on a few synthetic people: every stage, the page, and what it says of the claims."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from copilot.paper import PaperOptions, reproduce_paper
from copilot.run_reproduce import main, make_parser
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import Metric, read_manifest
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from model_recipes.adapter import train_adapter
from model_recipes.evaluation.recipe import EvaluateRecipe
from model_recipes.paper_study.answers import FLOOR, TRUTH, AnswersRecipe, Asked, compare_answers
from model_recipes.paper_study.claims import SIZES, guess_within_valence
from model_recipes.paper_study.findings import Finding
from model_recipes.paper_study.recipes import CODES, STAGES, load_paper_recipes
from model_recipes.paper_study.report import tell_verdict
from model_recipes.paper_study.steps import StepsRecipe, train_in_steps
from model_recipes.paper_study.tables import compare_metrics
from model_recipes.training.adapter_recipe import AdapterRecipe, Lesson

SMALL = [
    "corpus.split={protocol: ranges, train: [0, 2], validation: [3, 3], test: [4, 4]}",
    "base.tiny={layers: 2, vocab: 1024, train: {steps: 2, batch_size: 2, window: 64, warmup_steps: 1}}",
    *(
        f"{stage}.perplexity_windows=2"
        for stage in "base prune recover_paper recover merge pseudo_quantise gguf".split()
    ),
    "recover_paper.train.steps=1",
    "recover.train={steps: 1, batch_size: 2, window: 64, warmup_steps: 1}",
    "steps.schedule=[{device_sfreq_hz: 250, epochs: 1}, {device_sfreq_hz: 1000, epochs: 1}]",
    "steps.batch_size=32",
    "steps.eval_rows=1",
    *(f"adapter.{change}" for change in ("steps=1", "warmup_steps=0", "eval_rows=1", "batch_size=2")),
    "pseudo_quantise.calibration_windows=1",
    "gguf.parity_prompts=1",
    "evaluate.max_rows=9",
    'evaluate.controls="off"',
]
SCHEDULE = [Lesson(device_sfreq_hz=250, epochs=1), Lesson(epochs=1)]
ADAPTER = AdapterRecipe(
    schedule=SCHEDULE, learning_rate=1e-3, batch_size=8, warmup_steps=0, eval_rows=1, max_length=512
)


def write_waveforms(cohort, subjects):
    """Give everybody waveforms of white noise: drawing plausible ones takes seconds for each."""
    noise = np.random.default_rng(0).normal(0, 10, (28, 32, 7500))
    (cohort / "Processed_data").mkdir(exist_ok=True)
    for number, subject in enumerate(subjects):
        (cohort / "Processed_data" / f"{subject}.pkl").write_bytes(
            pickle.dumps(np.roll(noise, 97 * number), protocol=4)
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("paper")
    write_cohort(SynthRecipe(subjects=5, signals=0), root / "cohort")
    write_waveforms(root / "cohort", [f"sub{number:03d}" for number in range(5)])
    options = PaperOptions(faced=str(root / "cohort"), out=str(root / "run"), questions=2, set=SMALL)
    return root / "run", options, reproduce_paper(options)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_experiment_ends_in_one_page(finished):
    root, _, told = finished
    page = (root / "report.html").read_text(encoding="utf-8")
    for title in ("Signal length", "Retraining order", "Five steps", "Model size", "A record of one subject"):
        assert title in page
    assert "Synthetic data" in page
    assert "synthetic data: no evidence" in told
    assert "0.333 and 1.000" in told
    assert str(root) not in page
    assert page.count("data:image/png") == 2
    assert (root / "record" / "record.json").is_file()
    assert {name: read_manifest(root / f"corpus-{name}").facts["codec"]["n_values"] for name in CODES} == dict.fromkeys(
        CODES, 50
    )


@pytest.mark.slow
def test_running_again_costs_nothing(finished):
    root, options, told = finished
    before = {path: read_manifest(path).started for path in root.iterdir() if path.is_dir() and path.name != "record"}
    assert reproduce_paper(options) == told
    assert {path: read_manifest(path).started for path in before} == before


def test_features_alone_leave_the_length_study_out(tmp_path):
    write_cohort(SynthRecipe(subjects=5, signals=0), tmp_path / "cohort")
    options = PaperOptions(faced=str(tmp_path / "cohort"), out="run", set=SMALL[:1])
    recipes, corpora = load_paper_recipes(options)
    assert list(corpora) == ["band power"]
    assert recipes.corpus.prompt.style == "paper"
    assert recipes.recover.rows_share == 0
    assert (recipes.steps.lora.r, recipes.steps.learning_rate) == (8, 1e-5)
    assert [lesson.device_sfreq_hz for lesson in recipes.steps.schedule] == [250, 250, 250, 250, 1000]


def test_changes_are_checked_before_any_work():
    with pytest.raises(RecipeError, match=r"expected STAGE\.KEY=VALUE; stages: corpus, base"):
        load_paper_recipes(PaperOptions(faced="FACED", out="run", set=["reader.steps=5"]))
    assert "pseudo_quantise" in STAGES


def test_steps_are_those_of_the_schedule(tmp_path, corpus_dir, base_dir):
    whole = train_adapter(ADAPTER, base_dir, corpus_dir, tmp_path / "adapter")
    recipe = StepsRecipe(adapter=ADAPTER, evaluate=EvaluateRecipe(max_rows=9))
    steps = train_in_steps(recipe, base_dir, corpus_dir, tmp_path / "steps")
    assert steps.facts["steps"] == whole.facts["schedule"]
    readers = {metric.reader for metric in steps.metrics if metric.name == "macro_f1"}
    assert readers == {"step 1", "step 2"}
    answers = json.loads((tmp_path / "steps" / "answers.json").read_text(encoding="utf-8"))
    assert [len(step) for step in answers] == [1, 1]


def test_true_answers_of_other_trials_are_the_floor(tmp_path, corpus_dir, base_dir):
    adapter = AdapterRecipe(steps=1, learning_rate=1e-3, batch_size=2, warmup_steps=0, eval_rows=1, max_length=512)
    train_adapter(adapter, base_dir, corpus_dir, tmp_path / "adapter")
    asked = [Asked(name, corpus_dir, base_dir, tmp_path / "adapter") for name in ("control", "other")]
    manifest = compare_answers(AnswersRecipe(questions=4), asked, base_dir, tmp_path / "answers")

    def value(name, reader, protocol=TRUTH):
        return manifest.metric(name, reader=reader, protocol=protocol).value

    for kind in ("tfidf", "states"):
        assert value(f"cosine_{kind}", TRUTH) == pytest.approx(1)
        assert value(f"euclidean_{kind}", TRUTH) == pytest.approx(0, abs=1e-6)
        assert value(f"cosine_{kind}", FLOOR) < 1
        assert value(f"cosine_{kind}", "other", "answer of the control") == pytest.approx(1)
    assert value("label_agreement", TRUTH) == 1
    assert value("text_valid", "control") < 1  # a random model does not write the form
    table = json.loads((tmp_path / "answers" / "answers.json").read_text(encoding="utf-8"))
    assert all(set(row) == {"row", "emotion", TRUTH, "control", "other", FLOOR} for row in table)
    assert sorted(row[TRUTH] for row in table) == sorted(row[FLOOR] for row in table)


def test_the_published_pair_is_that_of_a_guesser_who_knows_the_valence():
    nine, three = guess_within_valence()
    assert nine == pytest.approx(1 / 3)
    assert three == 1
    assert abs(SIZES[0].nine_f1 - nine) < 0.02
    assert abs(SIZES[0].three_f1 - three) < 0.02


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ([0.4, 0.5], [0.1, 0.2], "agrees"),
        ([0.1, 0.2], [0.4, 0.5], "contradicts"),
        ([0.1, 0.4], [0.3, 0.5], "cannot be told"),
        (None, [0.3, 0.5], "not measured"),
    ],
)
def test_a_verdict_needs_intervals_apart(one, other, verdict):
    metrics = [Metric(name="macro_f1", value=0.2, n=9, unit="trials", split="test", interval=i) for i in (one, other)]
    assert compare_metrics(*metrics) == verdict


@pytest.mark.parametrize(
    ("base", "synthetic", "told"),
    [
        ("smollm2", False, "contradicts"),
        ("tiny", False, "contradicts (a model of two million parameters: no evidence)"),
        ("smollm2", True, "contradicts (synthetic data: no evidence)"),
    ],
)
def test_a_verdict_tells_what_it_rests_on(base, synthetic, told):
    chapter = SimpleNamespace(manifest=SimpleNamespace(synthetic=synthetic, recipe={"name": base}))
    run = SimpleNamespace(chapters={"base": chapter})
    assert tell_verdict(Finding("steps", "claim", "measured", "contradicts"), run) == told
    assert tell_verdict(Finding("cut", "claim", "measured", "not measured"), run) == "not measured"


def test_the_command_takes_readers_and_the_paper():
    parser = make_parser()
    args = parser.parse_args(
        ["paper", "--faced", "FACED", "--base", "smollm2", "--budget", "full", "--larger", "some/base"]
    )
    assert (args.base, args.budget, args.larger) == ("smollm2", "full", ["some/base"])
    assert parser.parse_args(["faced-reader", "--faced", "FACED"]).experiment == "faced-reader"
    assert not [action.dest for action in parser._actions if not action.help]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper", "--normalization", "session"], "--normalization: only with a reader; found paper"),
        (["faced-reader", "--base", "tiny"], "--base: only with paper; found faced-reader"),
        (
            ["faced-reader-segments", "--budget", "small", "--larger", "b", "--text", "t"],
            "--budget, --larger, --text: only with paper; found faced-reader-segments",
        ),
    ],
)
def test_options_of_another_experiment_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        main([*arguments, "--faced", "FACED"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [([], ("tiny", "small", [], None)), (["--base", "b", "--text", "t"], ("b", "small", [], "t"))],
)
def test_options_that_are_not_given_keep_their_defaults(given, kept, monkeypatch, capsys):
    monkeypatch.setattr("copilot.paper.reproduce_paper", lambda options, workers: options.model_dump_json())
    assert main(["paper", "--faced", "FACED", *given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert tuple(found[key] for key in ("base", "budget", "larger", "text")) == kept
