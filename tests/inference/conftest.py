"""A corpus, a random model and its GGUF files, made once per test session."""

from pathlib import Path

import pytest
from factories import make_corpus, make_tiny_model

from model_recipes.gguf import GgufRecipe, export_gguf

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus folder; both clip folds hold every emotion's trials of some kind."""
    return make_corpus(tmp_path_factory.mktemp("inference") / "corpus", n_clips=18)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random two-layer Qwen2."""
    return make_tiny_model(tmp_path_factory.mktemp("inference") / "model")


@pytest.fixture(scope="session")
def gguf_dir(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, corpus: Path) -> Path:
    """Return a finished gguf stage with a file of every type."""
    out = tmp_path_factory.mktemp("inference") / "gguf"
    export_gguf(GgufRecipe(name="tiny", types=TYPES, perplexity_windows=2, parity_prompts=4), model_dir, corpus, out)
    return out
