"""Readers and the evaluate stage: what is planted is found, what is not there is not."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from factories import make_corpus
from long_way import ask_transformers

from dataset_builder.codecs.band_power import BandPowerCodec
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import hash_file, read_manifest
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.recipe import StrictModel
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.stage import open_stage
from dataset_builder.types import EMOTIONS
from model_recipes import run_evaluate
from model_recipes.checkpoint import load_model
from model_recipes.engine import Engine
from model_recipes.evaluate import EvaluateRecipe, choose_rows, evaluate_models, limit_rows, name_readers
from model_recipes.evaluation.figures import plot_confusions
from model_recipes.evaluation.predictions import count_predictions
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.evaluation.readers import GgufReader, HFReader
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.lineage import check_training

SEEN, UNSEEN = "unseen subjects", "unseen subjects and clips"


@pytest.fixture(scope="module")
def rows(corpus):
    return load_split(corpus, "test").to_list()


@pytest.fixture(scope="module")
def evaluation(corpus, model_dir, gguf_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate") / "evaluation"
    paths = [model_dir, gguf_dir / "tiny-F16.gguf", gguf_dir / "tiny-Q8_0.gguf"]
    return evaluate_models(EvaluateRecipe(), corpus, paths, out, n_threads=1), out


def test_transformers_reader_equals_the_long_way(model_dir, rows):
    hf = load_model(model_dir)
    mixed = [*rows[:3], {"messages": [{"role": "user", "content": "short"}, {}]}, rows[20]]
    scores = HFReader.open(model_dir, batch_size=2).score(mixed)
    assert scores.shape == (5, 9)
    for row, found in zip(mixed, scores, strict=True):
        wanted = ask_transformers(hf, row["messages"][:-1], EMOTIONS, DEFAULT_STYLE.answer_prefix)
        np.testing.assert_allclose(found, list(wanted.values()), atol=1e-5)


def test_transformers_and_gguf_agree(model_dir, gguf_dir, rows):
    ours = HFReader.open(model_dir).score(rows)
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-9)
    for file_type, tolerance in (("F32", 1e-4), ("F16", 5e-3), ("Q8_0", 0.05)):
        with Engine(gguf_dir / f"tiny-{file_type}.gguf", n_threads=1) as engine:
            np.testing.assert_allclose(GgufReader(engine).score(rows), ours, atol=tolerance)


def test_batches_do_not_change_scores(model_dir, rows):
    one = HFReader.open(model_dir, batch_size=1).score(rows[:9])
    np.testing.assert_allclose(HFReader.open(model_dir, batch_size=8).score(rows[:9]), one, atol=1e-6)


def test_an_adapter_is_applied(model_dir, rows, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, _ = load_model(model_dir)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    plain = HFReader.open(model_dir).score(rows[:3])
    found = HFReader.open(model_dir, tmp_path / "adapter").score(rows[:3])
    assert np.abs(found - plain).max() > 1e-4
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    with pytest.raises(InputError, match="holds no adapter_model.safetensors"):
        HFReader.open(model_dir, tmp_path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return training and test rows in which each emotion shifts one band in one half of the head."""
    folder = make_corpus(tmp_path_factory.mktemp("planted") / "corpus", n_train=12, n_clips=18)
    return load_codec(folder), load_split(folder, "train").to_list(), load_split(folder, "test").to_list()


def share_right(scores, rows):
    return np.mean([EMOTIONS[best] == row["emotion"] for best, row in zip(scores.argmax(axis=1), rows, strict=True)])


@pytest.mark.parametrize("target", ["emotion", "clip"])
def test_probe_finds_what_was_planted(planted, target):
    codec, train, test = planted
    scores = LinearProbe(codec, train, target=target).score(test)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-9)
    assert share_right(scores, test) > 0.7


def test_probe_is_at_chance_on_shuffled_labels(planted):
    codec, train, test = planted
    rng = np.random.default_rng(0)
    found = []
    for _ in range(8):
        labels = rng.permutation([row["emotion"] for row in train])
        shuffled = [row | {"emotion": str(label)} for row, label in zip(train, labels, strict=True)]
        found.append(share_right(LinearProbe(codec, shuffled).score(test), test))
    assert np.mean(found) == pytest.approx(1 / 9, abs=0.08)


def test_probe_needs_two_labels(planted):
    codec, train, _ = planted
    with pytest.raises(InputError, match="at least 2"):
        LinearProbe(codec, train[:1])


def test_every_reader_is_measured_under_both_protocols(evaluation, rows):
    manifest, _ = evaluation
    readers = ["linear probe", "clip recogniser", "language model", "language model F16", "language model Q8_0"]
    assert list(dict.fromkeys(m.reader for m in manifest.metrics if m.name == "accuracy")) == readers
    n_unseen = sum(row["clip_fold"] == 0 for row in rows)
    for reader in readers:
        for protocol, n in ((SEEN, len(rows) - n_unseen), (UNSEEN, n_unseen)):
            metric = manifest.metric("accuracy", reader=reader, protocol=protocol)
            assert (metric.n, metric.split) == (n, "test")
            low, high = metric.interval
            assert low <= metric.value <= high
            assert metric.chance >= 1 / 9
    assert manifest.synthetic


def test_controls_stand_beside_models_and_not_in_the_table_of_readers(evaluation):
    manifest, _ = evaluation
    controls = {m.reader for m in manifest.metrics if m.reader.startswith("language model F16, ")}
    assert controls == {
        f"language model F16, {name}"
        for name in (
            "chance",
            "most common label",
            "demographics only",
            "permuted labels",
            "EEG of another trial",
            "EEG of another subject, same clip",
            "no EEG",
        )
    }
    assert {m.name for m in manifest.metrics if m.reader in controls} == {"control_balanced_accuracy"}
    verdicts = manifest.facts["verdicts"]
    assert [(v["reader"], v["protocol"]) for v in verdicts] == [
        (reader, protocol)
        for reader in ("language model", "language model F16", "language model Q8_0")
        for protocol in (SEEN, UNSEEN)
    ]
    assert {v["reads"] for v in verdicts} == {"nothing"}, "a random model of two people"
    assert manifest.metric("recall_joy", reader="language model", protocol=SEEN).chance is not None


def test_a_codec_that_learned_from_the_clips_takes_the_word_unseen_away(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(BandPowerCodec, "supervised", True)
    monkeypatch.setattr(BandPowerCodec, "read_probabilities", lambda self, code: np.full(9, 1 / 9))
    recipe = EvaluateRecipe(probes=["emotion"])
    manifest = evaluate_models(recipe, corpus, [], tmp_path / "evaluation")
    assert {metric.protocol for metric in manifest.metrics} == {SEEN}
    assert "the codec learned from the labels of clip fold 0" in manifest.notes[0]
    assert manifest.metric("accuracy", reader="the code itself") is not None


def test_the_page_holds_every_reader_and_needs_nothing_else(evaluation):
    _, out = evaluation
    page = (out / "report.html").read_text(encoding="utf-8")
    for text in ("linear probe", "clip recogniser", "language model Q8_0", SEEN, UNSEEN, "Synthetic data", "Verdict"):
        assert text in page
    assert page.count('<img src="data:image/png;base64,') == 3 * 2 + 5
    assert "http" not in page.replace("http-equiv", "")


def test_gguf_answers_score_like_the_model(evaluation):
    manifest, _ = evaluation
    ours = manifest.metric("accuracy", reader="language model", protocol=SEEN)
    assert manifest.metric("accuracy", reader="language model F16", protocol=SEEN).value == ours.value


def test_parents_lead_back_to_models_and_corpus(evaluation, gguf_dir):
    manifest, _ = evaluation
    assert [parent.stage for parent in manifest.parents] == ["corpus", "base", "gguf"]
    assert {item.name: item.sha256 for item in manifest.inputs}["tiny-Q8_0.gguf"] == hash_file(
        gguf_dir / "tiny-Q8_0.gguf"
    )


def test_predictions_can_be_recounted(evaluation, rows):
    manifest, out = evaluation
    table = pq.read_table(out / "predictions-language-model-Q8_0.parquet").to_pandas()
    assert table["row_id"].tolist() == [row["row_id"] for row in rows]
    scores = table[list(EMOTIONS)].to_numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    seen = (table["clip_fold"] != 0).to_numpy()
    right = np.array(EMOTIONS)[scores.argmax(axis=1)] == table["emotion"].to_numpy()
    metric = manifest.metric("accuracy", reader="language model Q8_0", protocol=SEEN)
    assert right[seen].mean() == pytest.approx(metric.value)
    counts = count_predictions(out, "language model Q8_0", SEEN)
    assert sorted(counts) == sorted({row["subject"] for row in rows})
    assert np.trace(sum(counts.values())) == right[seen].sum()
    assert (out / "confusion-language-model-Q8_0.png").read_bytes().startswith(b"\x89PNG")


def test_confusions_of_both_protocols_are_not_pooled(corpus, rows, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "model_recipes.evaluation.trials.plot_confusions", lambda counts, title: drawn.append(counts) or b"picture"
    )
    manifest = evaluate_models(EvaluateRecipe(probes=["emotion"]), corpus, [], tmp_path / "evaluation")
    assert list(drawn[0]) == [SEEN, UNSEEN]
    for protocol, counts in drawn[0].items():
        metric = manifest.metric("accuracy", protocol=protocol)
        assert (counts.sum(), np.trace(counts) / counts.sum()) == (metric.n, pytest.approx(metric.value))


def test_a_picture_of_confusions_has_a_panel_for_each_protocol():
    one, two = (plot_confusions(dict.fromkeys(names, np.eye(9)), "reader") for names in ([SEEN], [SEEN, UNSEEN]))
    widths = [int.from_bytes(png[16:20], "big") for png in (one, two)]  # of the PNG's header
    assert widths[1] > 1.5 * widths[0]


def test_second_run_is_free(evaluation, corpus, model_dir, gguf_dir, monkeypatch):
    manifest, out = evaluation
    monkeypatch.setattr("model_recipes.evaluate.choose_rows", None)
    paths = [model_dir, gguf_dir / "tiny-F16.gguf", gguf_dir / "tiny-Q8_0.gguf"]
    assert evaluate_models(EvaluateRecipe(), corpus, paths, out) == manifest


def test_without_test_subjects_validation_is_used_and_told(tmp_path, monkeypatch, corpus):
    real = load_split
    monkeypatch.setattr(
        "model_recipes.evaluate.load_split",
        lambda folder, split: real(folder, split).select([] if split == "test" else range(18)),
    )
    manifest = evaluate_models(EvaluateRecipe(probes=["emotion"]), corpus, [], tmp_path / "evaluation")
    assert {metric.split for metric in manifest.metrics} == {"validation"}
    assert "no test subjects" in manifest.notes[0]
    with pytest.raises(InputError, match="holds no row in split test"):
        choose_rows(EvaluateRecipe(split="test"), corpus)


def test_without_a_held_out_fold_there_is_one_protocol(corpus, tmp_path):
    recipe = EvaluateRecipe(held_out_fold=None, probes=["emotion"], max_rows=10)
    manifest = evaluate_models(recipe, corpus, [], tmp_path / "evaluation")
    assert {(metric.protocol, metric.n) for metric in manifest.metrics if metric.name == "accuracy"} == {(SEEN, 10)}


def test_people_who_stand_in_train_are_never_called_unseen(tmp_path):
    write_cohort(SynthRecipe(subjects=6, signals=0), tmp_path / "raw")
    split = {"protocol": "unseen-clips", "held_out_fold": 0}
    values = {"name": "clips", "version": 1, "codec": {"name": "band_power"}, "split": split}
    build_corpus(CorpusRecipe.model_validate(values), tmp_path / "raw", tmp_path / "corpus")
    recipe = EvaluateRecipe(probes=["emotion"])
    manifest = evaluate_models(recipe, tmp_path / "corpus", [], tmp_path / "evaluation")
    assert {metric.protocol for metric in manifest.metrics} == {"subjects seen in training"}


def test_trials_that_set_the_scale_are_not_scored(tmp_path):
    write_cohort(SynthRecipe(subjects=6, signals=0), tmp_path / "raw")
    values = {
        "name": "calibrated",
        "version": 1,
        "codec": {"name": "band_power", "normalization": {"mode": "calibration", "trials": 5}},
        "split": {"protocol": "ranges", "train": [0, 3], "validation": [4, 4], "test": [5, 5]},
    }
    build_corpus(CorpusRecipe.model_validate(values), tmp_path / "raw", tmp_path / "corpus")
    recipe = EvaluateRecipe(held_out_fold=None, probes=["emotion"])
    manifest = evaluate_models(recipe, tmp_path / "corpus", [], tmp_path / "evaluation")
    assert {metric.n for metric in manifest.metrics if metric.name == "accuracy"} == {28 - 5}
    assert "the first 5 trials of each person set the scale and are not scored" in manifest.notes
    _, rows = choose_rows(recipe, tmp_path / "corpus")
    assert min(row["rank"] for row in rows) == 6
    with pytest.raises(InputError, match="no trial is left to score: the first 5 of a person set the scale"):
        limit_rows(recipe, [row | {"rank": 2} for row in rows], load_codec(tmp_path / "corpus"))


def test_readers_of_one_kind_get_the_folders_name(model_dir, gguf_dir):
    assert name_readers([model_dir]) == ["language model"]
    assert name_readers([model_dir, model_dir]) == ["language model (model)", "language model (model) 2"]
    assert name_readers([gguf_dir / "tiny-F16.gguf"]) == ["language model F16"]


def test_readers_of_one_name_get_as_many_folders_as_tell_them_apart(tmp_path):
    paths = [tmp_path / name for name in ("a/x/merged", "b/x/merged", "b/y/merged", "other")]
    for path in paths:
        path.mkdir(parents=True)
    told = ["a/x/merged", "b/x/merged", "y/merged", "other"]
    assert name_readers(paths) == [f"language model ({name})" for name in told]


def write_adapted(folder, model_dir, corpus, held_out_fold):
    """Write a model folder that says it came from an adapter trained with `held_out_fold`."""
    with open_stage("adapter", folder / "adapter", Fold(held_out_fold=held_out_fold), parents=[model_dir, corpus]):
        pass
    with open_stage("merge", folder / "merged", Fold(), parents=[folder / "adapter"]) as stage:
        for path in model_dir.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, stage.folder)
    return folder / "merged"


class Fold(StrictModel):
    """The one key of a training that matters here."""

    held_out_fold: int | None = None


def test_clips_that_were_trained_on_are_never_called_unseen(model_dir, corpus, tmp_path):
    honest = write_adapted(tmp_path / "honest", model_dir, corpus, 0)
    leaky = write_adapted(tmp_path / "leaky", model_dir, corpus, None)
    assert check_training(honest, corpus, 0) == ""
    assert check_training(leaky, corpus, None) == ""
    with pytest.raises(InputError, match="merged: trained with held_out_fold None; evaluation asks for 0"):
        evaluate_models(EvaluateRecipe(), corpus, [leaky], tmp_path / "evaluation")
    other = make_corpus(tmp_path / "corpus", n_train=3)
    assert "another corpus" in check_training(honest, other, 0)
    assert "no trained adapter is known" in check_training(model_dir, corpus, 0)


def test_gguf_files_know_what_was_held_out(model_dir, corpus, tmp_path):
    merged = write_adapted(tmp_path, model_dir, corpus, 1)
    export_gguf(
        GgufRecipe(name="x", types=["F16"], perplexity_windows=2, parity_prompts=1), merged, corpus, tmp_path / "gguf"
    )
    assert check_training(tmp_path / "gguf/x-F16.gguf", corpus, 1) == ""
    with pytest.raises(InputError, match=r"x-F16\.gguf: trained with held_out_fold 1; evaluation asks for 0"):
        check_training(tmp_path / "gguf/x-F16.gguf", corpus, 0)


def test_absent_models_are_refused_before_any_work(corpus, tmp_path):
    for name in ("absent.gguf", "absent"):
        with pytest.raises(InputError, match=f"{name}: no such model"):
            evaluate_models(EvaluateRecipe(), corpus, [tmp_path / name], tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_command_prints_both_protocols(corpus, tmp_path, capsys):
    arguments = ["--corpus", str(corpus), "--out", str(tmp_path / "evaluation"), "--set", "probes=[emotion]"]
    assert run_evaluate.main(arguments) == 0
    printed = capsys.readouterr().out
    assert SEEN in printed
    assert UNSEEN in printed
    assert "synthetic" in printed
    assert read_manifest(tmp_path / "evaluation").stage == "evaluate"


def test_torch_threads_are_left_alone(model_dir, rows):
    before = torch.get_num_threads()
    HFReader.open(model_dir).score(rows[:1])
    assert torch.get_num_threads() == before
