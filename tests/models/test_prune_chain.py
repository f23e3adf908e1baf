"""Any admissible shape survives all that comes after pruning: reload, LoRA, merge, GGUF, llama.cpp."""

import os

import factories
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from model_recipes.adapter import AdapterRecipe, train_adapter
from model_recipes.bases.qwen2 import Shape, read_shape
from model_recipes.checkpoint import is_tied
from model_recipes.engine import Engine
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.merge import MergeRecipe, merge_adapter
from model_recipes.planner import list_widths
from model_recipes.prune import PruneRecipe, prune_model

BASE = Shape(hidden=96, heads=6, kv_heads=2, head_dim=16, ffn=128, layers=4, vocab=768)
#: ``CHAIN_EXAMPLES=60 pytest tests/models/test_prune_chain.py`` takes minutes.
EXAMPLES = int(os.environ.get("CHAIN_EXAMPLES", "2"))

ADAPTER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3, "warmup_steps": 0, "precision": "fp32"}

SHAPES = st.fixed_dictionaries(
    {
        "hidden": st.sampled_from([hidden for hidden, _ in list_widths(BASE)]),
        "ffn": st.sampled_from(range(32, BASE.ffn + 1, 32)),
        "layers": st.integers(1, BASE.layers),
        "vocab": st.sampled_from([BASE.vocab, 704, 640]),
    }
)
CHOICES = st.tuples(SHAPES, st.sampled_from(["activation", "taylor", "magnitude"]), st.booleans())


@pytest.fixture(scope="module")
def deep_dir(tmp_path_factory):
    return factories.make_tiny_model(tmp_path_factory.mktemp("deep") / "base", BASE)


@pytest.fixture
def walk(deep_dir, corpus_dir, text_file, tmp_path_factory):
    """Return a function that takes a choice down the whole chain."""
    text = {"path": str(text_file)}

    def prune(choice, out):
        shape, importance, reconstruct = choice
        options = {"shape": shape, "importance": importance, "reconstruct": reconstruct, "text": text}
        options |= {"calibration_windows": 1, "perplexity_windows": 2, "layer_choice": "greedy"}
        manifest = prune_model(PruneRecipe.model_validate(options), deep_dir, out, corpus_dir)
        wanted = BASE.with_(**shape, heads=shape["hidden"] // BASE.head_dim)
        model = AutoModelForCausalLM.from_pretrained(out)
        assert type(model) is Qwen2ForCausalLM
        assert read_shape(model) == wanted
        assert is_tied(model)
        assert manifest.facts["model"]["parameters"] == wanted.parameters

    def run(choice):
        root = tmp_path_factory.mktemp("chain")
        pruned, adapter, merged = root / "pruned", root / "adapter", root / "merged"
        prune(choice, pruned)
        options = ADAPTER | {"lora": {"r": 2}, "checkpoint_every": 1, "eval_rows": 2}
        train_adapter(AdapterRecipe.model_validate(options), pruned, corpus_dir, adapter)
        merge = {"text": text, "perplexity_windows": 2}
        merge_adapter(MergeRecipe.model_validate(merge), pruned, adapter, merged)
        gguf = {"name": "chain", "types": ["F32"], "text": text, "perplexity_windows": 2, "parity_prompts": 2}
        manifest = export_gguf(GgufRecipe.model_validate(gguf), merged, corpus_dir, root / "gguf")
        agreement = {metric.name: metric.value for metric in manifest.metrics}
        assert agreement["label_score_difference"] < 1e-3
        with Engine(root / "gguf" / "chain-F32.gguf", n_threads=1) as engine:
            prompt = [{"role": "user", "content": "state one emotion"}]
            assert engine.generate(prompt, max_tokens=4) == engine.generate(prompt, max_tokens=4)

    return run


def test_narrowest_shape_with_everything_cut_survives_the_chain(walk):
    walk(({"hidden": 32, "ffn": 32, "layers": 1, "vocab": 640}, "activation", True))


@pytest.mark.nightly
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(CHOICES)
def test_any_shape_survives_the_chain(walk, choice):
    walk(choice)
