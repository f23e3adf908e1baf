"""A model with a cut vocabulary in llama.cpp: same tokens, same scores."""

import pytest
from factories import NoRecipe, make_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_builder.stage import open_stage
from model_recipes.checkpoint import HARD_STRINGS, load_model, save_checked
from model_recipes.engine import Engine
from model_recipes.exporting.write import open_model
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.pruning.vocabulary import VocabularyConfig, prune_vocabulary, write_kept_ids

SIZE = 512


@pytest.fixture(scope="module")
def cut_dir(model_dir, corpus, tmp_path_factory):
    """Return the folder of the shared model, cut to 512 of its 768 tokens."""
    model, tokenizer = load_model(model_dir)
    folder = tmp_path_factory.mktemp("cut") / "pruned"
    cut, kept, facts = prune_vocabulary(model, tokenizer, VocabularyConfig(size=SIZE), make_text(), corpus)
    with open_stage("prune", folder, NoRecipe(), parents=[model_dir]) as stage:
        stage.facts |= {"base": {"name": "factory", "licence": "apache-2.0"}, "vocabulary": facts}
        stage.facts["model"] = save_checked(model, cut, stage.folder)
        write_kept_ids(stage.folder, kept)
    return folder


@pytest.fixture(scope="module")
def engine(cut_dir, corpus, tmp_path_factory):
    """Return the model in llama.cpp; the export itself compares scores, text and tokens with Transformers."""
    out = tmp_path_factory.mktemp("cut") / "gguf"
    export_gguf(GgufRecipe(name="cut", types=["F32"], perplexity_windows=2, parity_prompts=2), cut_dir, corpus, out)
    with Engine(next(out.glob("*.gguf")), n_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def hf(cut_dir):
    return load_model(cut_dir)[1]


def test_gguf_lists_the_kept_tokens_alone(cut_dir, hf):
    vocabulary = open_model(cut_dir).vocabulary
    assert len(vocabulary.tokens) == SIZE
    assert {token: i for i, token in enumerate(vocabulary.tokens)} == hf.get_vocab()
    assert [vocabulary.eos, vocabulary.pad] == [hf.eos_token_id, hf.pad_token_id]
    assert vocabulary.pre == "qwen2"


@pytest.mark.parametrize("text", [*HARD_STRINGS, "脑电图信号 👩🏽‍🔬", " a b Z z", "\x00\x1f \U0010fffd"])
def test_hard_strings_become_the_same_tokens(engine, hf, text):
    if "\x00" in text:  # ends a text in C
        text = text.replace("\x00", "")
    assert engine.tokenize(text) == hf.encode(text)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(
        st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\x00", max_codepoint=0x2FFF), max_size=40
    )
)
def test_any_text_becomes_the_same_tokens(engine, hf, text):
    assert engine.tokenize(text) == hf.encode(text)
