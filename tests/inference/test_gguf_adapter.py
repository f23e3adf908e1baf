"""An adapter as a GGUF file: llama.cpp with base and adapter says what the merged model says in Transformers."""

import json

import pytest
import torch
from factories import NoRecipe
from gguf import GGUFReader
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file

from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.stage import open_stage
from model_recipes.checkpoint import load_model
from model_recipes.exporting.adapter_file import write_adapter
from model_recipes.exporting.header import read_header
from model_recipes.gguf import GgufRecipe, export_gguf, find_parent
from model_recipes.merge import MergeRecipe, merge_adapter

NAME = "adapter/tiny-lora-F16.gguf"


@pytest.fixture(scope="module")
def adapter_dir(model_dir):
    """Return a finished adapter of random weights on query, value and down projections."""
    model, _ = load_model(model_dir)
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    folder = model_dir.parent / "lora"
    with open_stage("adapter", folder, NoRecipe(), parents=[model_dir]) as stage:
        get_peft_model(model, config).save_pretrained(stage.folder)
        weights = {item.name: item.sha256 for item in read_manifest(model_dir).outputs}["model.safetensors"]
        stage.facts["trained_on_sha256"] = weights
    return folder


@pytest.fixture(scope="module")
def exported(model_dir, adapter_dir, corpus):
    root = model_dir.parent
    merge_adapter(MergeRecipe(perplexity_windows=2, tolerance=1e-3), model_dir, adapter_dir, root / "merged")
    recipe = GgufRecipe(name="tiny", types=["F16"], perplexity_windows=2, parity_prompts=2, adapter=True)
    export_gguf(recipe, root / "merged", corpus, root / "gguf-lora", adapter_dir)
    return root / "gguf-lora"


def test_base_and_adapter_say_what_the_merged_model_says(exported):
    manifest = read_manifest(exported)
    found = {m.name: m.value for m in manifest.metrics if m.reader == "GGUF LoRA"}
    assert found["logit_difference"] < 0.02
    assert found["kl_divergence"] < 1e-5
    assert manifest.facts["adapter"]["matrices"] == 6
    assert sorted(path.name for path in (exported / "adapter").iterdir()) == ["tiny-lora-F16.gguf"]
    assert [path.name for path in exported.glob("*.gguf")] == ["tiny-F16.gguf"], "no adapter among the models"


def test_file_is_what_llama_cpp_calls_an_adapter(exported, adapter_dir):
    keys = read_header(exported / NAME, ("general.type", "general.architecture", "adapter."))
    assert keys == {
        "general.type": "adapter",
        "general.architecture": "qwen2",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(exported / NAME).tensors}
    assert len(tensors) == 12
    stored = load_file(adapter_dir / "adapter_model.safetensors")
    for half, letter in (("A", "a"), ("B", "b")):
        wanted = stored[f"base_model.model.model.layers.1.mlp.down_proj.lora_{half}.weight"]
        assert (tensors[f"blk.1.ffn_down.weight.lora_{letter}"] == wanted.astype("float16")).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"use_dora": True}, "use_dora found"), ({"peft_type": "IA3"}, "IA3 with bias none found")],
)
def test_other_adapters_are_refused(adapter_dir, tmp_path, change, message):
    config = json.loads((adapter_dir / "adapter_config.json").read_text()) | change
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{message}; accepted: plain LoRA without bias$"):
        write_adapter(tmp_path / "x.gguf", tmp_path, 2, {})


def test_damaged_adapters_are_refused(adapter_dir, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapter_dir / name).read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: missing, damaged or cut short"):
        write_adapter(tmp_path / "x.gguf", tmp_path, 2, {})


def test_a_model_that_is_gone_is_told(adapter_dir, tmp_path):
    moved = tmp_path / "lora"
    moved.mkdir()
    (moved / "manifest.json").write_bytes((adapter_dir / "manifest.json").read_bytes())
    with pytest.raises(InputError, match=r"^lora: the model that it was trained on is not where it was"):
        find_parent(moved, "model")
