"""Any admissible shape survives all that comes after pruning: reload, LoRA, merge, GGUF, llama.cpp."""

import os
from dataclasses import dataclass

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
from model_recipes.prune import PruneRecipe, prune_model
from model_recipes.pruning.planner import list_widths

BASE = Shape(hidden=96, heads=6, kv_heads=2, head_dim=16, ffn=128, layers=4, vocab=768)
#: ``CHAIN_EXAMPLES=60 pytest -m nightly tests/models/test_prune_chain.py`` takes minutes.
EXAMPLES = int(os.environ.get("CHAIN_EXAMPLES", "12"))

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


@dataclass(frozen=True)
class Outcome:
    """What came out at the end of the chain."""

    kind: type
    shape: Shape
    tied: bool
    parameters: int
    answers_alike: bool
    repeats_itself: bool


def promise(choice):
    """Return what every admissible choice is to come to."""
    shape = choice[0]
    wanted = BASE.with_(**shape, heads=shape["hidden"] // BASE.head_dim)
    return Outcome(Qwen2ForCausalLM, wanted, True, wanted.parameters, answers_alike=True, repeats_itself=True)


@pytest.fixture
def walk(deep_dir, corpus_dir, text_file, tmp_path_factory):
    """Return a function that takes a choice down the whole chain."""
    text = {"path": str(text_file)}

    def prune(choice, out):
        shape, importance, reconstruct = choice
        options = {"shape": shape, "importance": importance, "reconstruct": reconstruct, "text": text}
        options |= {"calibration_windows": 1, "perplexity_windows": 2, "layer_choice": "greedy"}
        return prune_model(PruneRecipe.model_validate(options), deep_dir, out, corpus_dir)

    def export(pruned, root):
        adapter, merged = root / "adapter", root / "merged"
        options = ADAPTER | {"lora": {"r": 2}, "checkpoint_every": 1, "eval_rows": 2}
        train_adapter(AdapterRecipe.model_validate(options), pruned, corpus_dir, adapter)
        merge = {"text": text, "perplexity_windows": 2}
        merge_adapter(MergeRecipe.model_validate(merge), pruned, adapter, merged)
        gguf = {"name": "chain", "types": ["F32"], "text": text, "perplexity_windows": 2, "parity_prompts": 2}
        return export_gguf(GgufRecipe.model_validate(gguf), merged, corpus_dir, root / "gguf")

    def run(choice):
        root = tmp_path_factory.mktemp("chain")
        manifest = prune(choice, root / "pruned")
        model = AutoModelForCausalLM.from_pretrained(root / "pruned")
        difference = export(root / "pruned", root).metric("label_score_difference").value
        prompt = [{"role": "user", "content": "state one emotion"}]
        with Engine(root / "gguf" / "chain-F32.gguf", n_threads=1) as engine:
            answers = [engine.generate(prompt, max_tokens=4) for _ in range(2)]
        parameters = manifest.facts["model"]["parameters"]
        alike, repeats = difference < 1e-3, answers[0] == answers[1]
        return Outcome(type(model), read_shape(model), is_tied(model), parameters, alike, repeats)

    return run


def test_narrowest_shape_with_everything_cut_survives_the_chain(walk):
    choice = {"hidden": 32, "ffn": 32, "layers": 1, "vocab": 640}, "activation", True
    assert walk(choice) == promise(choice)


@pytest.mark.nightly
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(CHOICES)
def test_any_shape_survives_the_chain(walk, choice):
    assert walk(choice) == promise(choice)
