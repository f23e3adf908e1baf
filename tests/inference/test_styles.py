"""A model of another style: its file says so, and everything that asks it follows."""

import numpy as np
import pytest
from factories import make_corpus
from long_way import ask_transformers

from copilot.answer import answer_recording
from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.prompts import PromptConfig, get_style, load_style
from dataset_builder.types import EMOTIONS
from model_recipes.checkpoint import load_model
from model_recipes.engine import Engine
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.evaluation.readers import HFReader
from model_recipes.exporting.header import read_header
from model_recipes.gguf import GgufRecipe, export_gguf, read_copilot_gguf
from model_recipes.rows import render_unlabelled
from tests.copilot.copilot_fakes import make_copilot_recording

STYLE = get_style(PromptConfig(style="paper", phrasings=2))


@pytest.fixture(scope="module")
def paper_corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("styles") / "corpus", n_train=2, style=STYLE)


@pytest.fixture(scope="module")
def paper_gguf(paper_corpus, model_dir, tmp_path_factory):
    recipe = GgufRecipe(name="paper", types=["F16"], perplexity_windows=2, parity_prompts=2)
    out = tmp_path_factory.mktemp("styles") / "gguf"
    export_gguf(recipe, model_dir, paper_corpus, out)
    return out / "paper-F16.gguf"


def test_the_file_says_how_to_ask(paper_gguf, paper_corpus):
    assert load_style(paper_corpus).config == STYLE.config
    assert read_copilot_gguf(paper_gguf).prompt == STYLE.config
    assert list(read_header(paper_gguf, ("general.languages",))["general.languages"]) == ["en"]


def test_both_readers_score_after_the_style_s_own_beginning(paper_gguf, paper_corpus, model_dir, tmp_path):
    rows = load_split(paper_corpus, "test").to_list()[:3]
    ours = HFReader.open(model_dir, style=STYLE).score(rows)
    hf = load_model(model_dir)
    for row, found in zip(rows, ours, strict=True):
        wanted = ask_transformers(hf, row["messages"][:-1], EMOTIONS, STYLE.answer_prefix)
        np.testing.assert_allclose(found, list(wanted.values()), atol=1e-5)
    manifest = evaluate_models(EvaluateRecipe(probes=[]), paper_corpus, [model_dir, paper_gguf], tmp_path / "out", 1)
    values = {metric.reader: metric.value for metric in manifest.metrics if metric.name == "balanced_accuracy"}
    assert len(values) == 2
    assert len(set(values.values())) == 1


def test_a_file_of_another_style_is_not_measured(paper_gguf, corpus, tmp_path):
    wanted = r"^paper-F16\.gguf: was trained with prompts paper \(en\); the corpus has emotion_qa \(en\)$"
    with pytest.raises(InputError, match=wanted):
        evaluate_models(EvaluateRecipe(held_out_fold=None), corpus, [paper_gguf], tmp_path / "out", 1)


def test_the_copilot_asks_as_the_file_says(paper_gguf, monkeypatch):
    monkeypatch.setattr("copilot.answer.MAX_ANSWER_TOKENS", 64)  # the tiny model has no room for a whole answer
    model = read_copilot_gguf(paper_gguf)
    recording = make_copilot_recording(2)
    with Engine(paper_gguf, n_threads=1) as engine:
        answer = answer_recording(recording, engine, model.codec, get_style(model.prompt))
        text = engine.generate(answer.explanation.messages, prefix=STYLE.start_answer(answer.emotion), max_tokens=4)
    assert answer.explanation.messages[0]["content"].startswith("You are an EEG emotion analyzer.")
    assert "Fp1" in answer.explanation.messages[1]["content"]
    assert text.startswith(f'Emotion label: "{answer.emotion}"')
    # A model of random weights babbles: it is not shown, and no option comes from anywhere else.
    assert answer.explanation.withheld
    assert answer.explanation.suggestions == ()


def test_recovery_text_has_the_style_s_form(paper_corpus, model_dir):
    _, tokenizer = load_model(model_dir)
    rows = load_split(paper_corpus, "train").select(range(4))
    for row, text in zip(rows, render_unlabelled(paper_corpus, rows, tokenizer, seed=1), strict=True):
        answer = text.split("<|im_start|>assistant\n")[1].removesuffix("<|im_end|>\n")
        assert STYLE.parse_answer(answer).emotion in EMOTIONS
        assert row["messages"][1]["content"] in text


def test_the_manifest_is_where_the_style_stands(paper_corpus):
    assert read_manifest(paper_corpus).recipe["prompt"]["style"] == "paper"
