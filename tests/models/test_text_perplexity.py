import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import InputError, RecipeError
from model_recipes.bases.tiny import train_tokenizer
from model_recipes.checkpoint import load_model
from model_recipes.perplexity import cut_passages, cut_windows, measure_perplexity
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
    assert 3 * 490 < metric.n <= 3 * 511
    assert metric.interval[0] <= metric.value * 1.0001


def test_passages_are_cut_between_words_and_make_up_the_text(base_dir):
    _, tokenizer = load_model(base_dir)
    text = load_text(TextConfig()).fit[:9000]
    passages = cut_passages(tokenizer, text, 64)
    assert text.startswith("".join(passages))
    lengths = [len(tokenizer(passage)["input_ids"]) for passage in passages]
    assert max(lengths) <= 64
    assert sum(lengths) == len(tokenizer("".join(passages))["input_ids"]), "no passage splits a token"
    assert all(passage[0].isspace() for passage in passages[1:])
    with pytest.raises(InputError, match="tokens found"):
        cut_passages(tokenizer, "too short", 64)


def test_text_without_words_is_cut_where_it_must_be(base_dir):
    _, tokenizer = load_model(base_dir)
    passages = cut_passages(tokenizer, "7" * 300, 64)
    assert [len(passage) for passage in passages] == [64] * 4


def test_perplexity_counts_the_tokens_of_the_reference(base_dir):
    model, tokenizer = load_model(base_dir)
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    text = Text("part", "", load_text(TextConfig()).measure[:9000])
    coarse = train_tokenizer([text.measure], 1200)
    own = measure_perplexity(model, tokenizer, text, 3)
    assert measure_perplexity(model, tokenizer, text, 3, reference=tokenizer) == own
    metric = measure_perplexity(model, tokenizer, text, 50, reference=coarse)
    read = cut_passages(coarse, text.measure, 512)
    ratio = sum(len(tokenizer(p)["input_ids"]) - 1 for p in read) / sum(len(coarse(p)["input_ids"]) - 1 for p in read)
    assert ratio > 1
    assert math.isclose(math.log(metric.value), ratio * math.log(model.config.vocab_size), rel_tol=1e-4)
    assert "unpruned vocabulary" in metric.method


def test_windows_do_not_overlap(base_dir):
    _, tokenizer = load_model(base_dir)
    text = load_text(TextConfig()).fit[:5000]
    windows = cut_windows(tokenizer, text, 64)
    ids = tokenizer(text)["input_ids"]
    assert windows.flatten().tolist() == ids[: windows.numel()]
    with pytest.raises(InputError, match="tokens found"):
        cut_windows(tokenizer, "too short", 64)


def test_mix_takes_turns_in_shares_and_repeats_nothing(tmp_path):
    for name, words, count in (("a", "aaaa ", 40_000), ("b", "bb ", 10_000)):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{words * 10}{i}" for i in range(count // 10)))
    parts = [TextConfig(path=str(tmp_path / "a.txt"), share=3.0), TextConfig(path=str(tmp_path / "b.txt"))]
    text = load_text(TextConfig(mix=parts))
    assert text.name == "a + b"
    lines = text.fit.splitlines()
    assert len(set(lines)) == len(lines), "a line is repeated"
    for quarter in (text.fit[: len(text.fit) // 4], text.fit[-len(text.fit) // 4 :], text.measure):
        share = sum(len(line) for line in quarter.splitlines() if line.startswith("a")) / len(quarter)
        assert 0.65 <= share <= 0.85
    fitted = [load_text(part).fit for part in parts]
    assert all(line in fitted[0] or line in fitted[1] for line in lines), "measured text is among the fitted"
    assert text == load_text(TextConfig(mix=parts))


def test_mix_ends_with_the_text_that_ends_first(tmp_path):
    (tmp_path / "short.txt").write_text("s\n" * 2000)
    text = load_text(TextConfig(mix=[TextConfig(), TextConfig(path=str(tmp_path / "short.txt"))]))
    assert text.fit.count("s\n") >= 1600
    assert len(text.fit) < 4 * 3200 + 4000


def test_only_one_kind_of_text_is_given():
    with pytest.raises(RecipeError, match="hub and mix"):
        load_text(TextConfig(hub=HubText(id="x"), mix=[TextConfig()]))


def fake_hub(monkeypatch, rows=None, error=None, offline=False):
    """Let `datasets.load_dataset` answer from memory; return the calls it gets."""
    calls = []
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", offline)

    def load_dataset(name, config, split, streaming):
        calls.append((name, config, split, streaming))
        if error is not None:
            raise error
        return iter(rows)

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return calls


def test_hub_text_is_streamed_as_far_as_wanted(monkeypatch):
    rows = ({"text": f"{i:09d}"} if i < 400 else pytest.fail("read too far") for i in range(1000))
    calls = fake_hub(monkeypatch, rows)
    text = load_text(TextConfig(hub=HubText(id="allenai/c4", config="en", characters=3000)))
    assert calls == [("allenai/c4", "en", "train", True)]
    assert (text.fit + text.measure).split("\n")[-1] == f"{333:09d}"
    assert text.name == "allenai/c4"


def test_offline_only_the_cache_is_read(monkeypatch):
    calls = fake_hub(monkeypatch, [{"text": "a line of text"}] * 500, offline=True)
    assert load_text(TextConfig(hub=HubText(id="allenai/c4", characters=3000))).name == "allenai/c4"
    assert calls == [("allenai/c4", None, "train", False)], "a stream would leave nothing in the cache"
    fake_hub(monkeypatch, error=ConnectionError("no\nroute"), offline=True)
    with pytest.raises(InputError) as refusal:
        load_text(TextConfig(hub=HubText(id="allenai/c4")))
    assert str(refusal.value) == (
        "text allenai/c4: HF_HUB_OFFLINE is set and it is not in the cache; unset it, or give a local file or folder "
        "as text.path"
    )


def test_hub_errors_are_one_line(monkeypatch):
    fake_hub(monkeypatch, error=ConnectionError("a path\nand a second line"))
    with pytest.raises(
        InputError, match=r"allenai/c4: cannot be read from the Hub \(ConnectionError\).*text.path"
    ) as e:
        load_text(TextConfig(hub=HubText(id="allenai/c4", config="en")))
    assert "\n" not in str(e.value)
    fake_hub(monkeypatch, rows=[{"content": "x", "url": "y"}])
    with pytest.raises(InputError, match="no column 'text'; accepted: content, url"):
        load_text(TextConfig(hub=HubText(id="allenai/c4", config="en")))
