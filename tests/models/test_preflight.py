"""Bad requests end in one clear line before any work: nothing is calibrated, nothing is left behind."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from dataset_builder.errors import CopilotError, InputError, RecipeError, ResourceError
from model_recipes import prune as prune_module
from model_recipes.checkpoint import load_model
from model_recipes.prune import PruneRecipe, prune_model
from model_recipes.pruning import preflight
from model_recipes.pruning.preflight import check_tokenizer, read_checked_shape


@pytest.fixture
def broken(base_dir, tmp_path, text_file, monkeypatch):
    """Return a function that spoils a copy of the base and returns the error of pruning it."""
    monkeypatch.setattr(prune_module, "prune_in_place", lambda *_, **__: pytest.fail("work began"))

    def prune(error=InputError, config=None, weights=None, options=None):
        folder = shutil.copytree(base_dir, tmp_path / "spoiled")
        if config:
            old = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(old | config))
        if weights:
            tensors = load_file(folder / "model.safetensors")
            weights(tensors)
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        values = {"ratio": 0.5, "text": {"path": str(text_file)}, "perplexity_windows": 2} | (options or {})
        with pytest.raises(error) as caught:
            prune_model(PruneRecipe.model_validate(values), folder, tmp_path / "pruned")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["spoiled"]
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value)

    return prune


def test_impossible_ratio(broken):
    assert "the embedding alone holds" in broken(RecipeError, options={"ratio": 0.99})


def test_unsupported_architecture(broken):
    says = broken(config={"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    assert says.startswith("spoiled/config.json: model_type llama found; accepted: qwen2")


def test_unknown_architecture(broken):
    assert "cannot be read (ValueError)" in broken(config={"model_type": "unheard_of"})


def test_untied_embeddings(broken):
    assert "tie_word_embeddings false found; accepted: true" in broken(config={"tie_word_embeddings": False})


@pytest.mark.parametrize("config", [{"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}])
def test_sliding_window(broken, config):
    assert "sliding window found" in broken(config=config | {"layer_types": None})


def test_heads_that_do_not_fill_the_width(broken):
    assert "heads x head_dim must be hidden" in broken(config={"head_dim": 32})


def test_tokenizer_of_another_model(broken):
    rows = {"vocab_size": 8192}
    assert "has 768 tokens, the embedding 8,192 rows" in broken(config=rows, options={"ratio": 0.2})


def test_tokenizer_without_chatml(base_dir):
    _, tokenizer = load_model(base_dir)
    shape = read_checked_shape(base_dir)
    check_tokenizer(tokenizer, shape.with_(vocab=768 + 300), "padded as Qwen2 is")

    class Plain:
        def __len__(self):
            return 768

        def get_vocab(self):
            return {"<|endoftext|>": 0}

    with pytest.raises(InputError, match=r"lacks <\|im_start\|>, <\|im_end\|>; accepted"):
        check_tokenizer(Plain(), shape, "folder")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(broken, value):
    def spoil(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = value

    says = broken(weights=spoil)
    assert says == (
        "spoiled: model.layers.1.mlp.up_proj.weight holds NaN or infinite numbers; accepted: finite weights"
    )


def test_no_space(broken, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    says = broken(ResourceError)
    assert says.startswith("pruned: needs ")
    assert "0 MB are free; make room or choose another --out" in says


def test_vocabulary_larger_than_the_base(broken):
    assert "769 tokens wanted" in broken(RecipeError, options={"vocabulary": {"size": 769}})


def test_folder_without_manifest(base_dir, tmp_path):
    folder = shutil.copytree(base_dir, tmp_path / "bare")
    (folder / "manifest.json").unlink()
    with pytest.raises(CopilotError, match="bare"):
        read_checked_shape(folder)
