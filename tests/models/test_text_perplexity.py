import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import InputError, RecipeError
from model_recipes.checkpoint import load_model
from model_recipes.perplexity import cut_windows, measure_perplexity
from model_recipes.text import HubText, Text, TextConfig, divide_text, load_text


@given(st.text(min_size=2000, max_size=4000))
def test_parts_make_the_whole_and_share_nothing(text):
    divided = divide_text("any", text)
    assert divided.fit + divided.measure == text
    assert 0.7 <= len(divided.fit) / len(text) <= 0.8


def test_default_text_needs_nothing_but_python():
    text = load_text(TextConfig())
    assert text.name == "python-docs"
    assert len(text.fit) > 300_000
    assert text == load_text(TextConfig())


def test_folder_is_read_in_order_and_named_without_its_path(tmp_path):
    (tmp_path / "b.txt").write_text("b" * 1500)
    (tmp_path / "a.txt").write_text("a" * 1500)
    text = load_text(TextConfig(path=str(tmp_path)))
    assert text.fit.startswith("aaa")
    assert "/" not in text.name


def test_bad_texts_are_refused(tmp_path):
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(InputError, match="at least 2,000"):
        load_text(TextConfig(path=str(tmp_path / "short.txt")))
    with pytest.raises(InputError, match="cannot be read") as error:
        load_text(TextConfig(path=str(tmp_path / "absent.txt")))
    assert str(tmp_path) not in str(error.value)
    with pytest.raises(RecipeError, match="at most one"):
        load_text(TextConfig(path="x", hub=HubText(id="y")))


def test_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(base_dir):
    model, tokenizer = load_model(base_dir)
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    text = load_text(TextConfig())
    metric = measure_perplexity(model, tokenizer, Text("part", "", text.measure[:6000]), max_windows=3)
    assert math.isclose(metric.value, model.config.vocab_size, rel_tol=1e-4)
    assert metric.n == 3 * 511
    assert metric.interval[0] <= metric.value * 1.0001


def test_windows_do_not_overlap(base_dir):
    _, tokenizer = load_model(base_dir)
    text = load_text(TextConfig()).fit[:5000]
    windows = cut_windows(tokenizer, text, 64)
    ids = tokenizer(text)["input_ids"]
    assert windows.flatten().tolist() == ids[: windows.numel()]
    with pytest.raises(InputError, match="tokens found"):
        cut_windows(tokenizer, "too short", 64)
