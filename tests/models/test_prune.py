import json

import pytest
import torch
from torch_pruning.dependency.group import Group
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from dataset_builder.errors import StageError
from dataset_builder.manifest import read_manifest
from model_recipes import checkpoint
from model_recipes.bases.qwen2 import read_shape
from model_recipes.checkpoint import compare_logits, is_tied, load_model
from model_recipes.importance import choose_layers, measure_activity, score_ffn
from model_recipes.planner import Plan, ShapeConfig
from model_recipes.prune import PruneRecipe, prune_in_place, prune_model
from model_recipes.surgery import cut_widths, lowest, lowest_heads


@pytest.fixture
def recipe(text_file):
    def make(**changes):
        options = {"calibration_windows": 2, "perplexity_windows": 2, "text": {"path": str(text_file)}}
        return PruneRecipe.model_validate(options | changes)

    return make


def test_ratio_zero_is_the_base(recipe, base_dir, tmp_path):
    prune_model(recipe(ratio=0.0), base_dir, tmp_path / "pruned")
    base, pruned = load_model(base_dir)[0], load_model(tmp_path / "pruned")[0]
    assert compare_logits(base, pruned) == 0


@pytest.mark.parametrize("importance", ["activation", "magnitude"])
@pytest.mark.parametrize(
    "shape", [{"ffn": 64}, {"layers": 1}, {"layers": 1, "ffn": 32}, {"hidden": 32, "ffn": 64}, {"hidden": 32}]
)
def test_every_cut_reads_back_plain(recipe, base_dir, tmp_path, shape, importance):
    wanted = read_shape(load_model(base_dir)[0]).with_(**shape, **({"heads": 2} if "hidden" in shape else {}))
    manifest = prune_model(recipe(shape=shape, importance=importance), base_dir, tmp_path / "pruned")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    assert type(model) is Qwen2ForCausalLM
    assert read_shape(model) == wanted
    assert is_tied(model)
    assert manifest.facts["model"]["parameters"] == wanted.parameters < manifest.facts["before"]["parameters"]
    assert manifest.facts["model"]["reload_max_difference"] < 1e-5
    assert manifest.facts["base"]["name"] == "factory"
    assert manifest.metrics[0].name == "perplexity"
    assert manifest.recipe["text"]["path"] == "short.txt"
    answer = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert answer.shape[1] <= 7


def test_channels_go_through_torch_pruning(base_dir, monkeypatch):
    calls = []
    prune = Group.prune
    monkeypatch.setattr(
        Group, "prune", lambda group, *args, **kw: (calls.append(len(group)), prune(group, *args, **kw))
    )
    model, _ = load_model(base_dir)
    base = read_shape(model)
    assert cut_widths(model, base.with_(ffn=64), None) == base.layers == len(calls)
    assert min(calls) > 3  # gate, up and down projection hang together


def test_cut_channels_are_the_weakest_and_the_rest_is_untouched(base_dir):
    model, _ = load_model(base_dir)
    windows = torch.arange(256).view(2, 128) % model.config.vocab_size
    scores = score_ffn(model, 0, measure_activity(model, windows))
    kept = sorted(set(range(len(scores))) - set(lowest(scores, 96)))
    gate, down = (model.model.layers[0].mlp.gate_proj.weight[kept], model.model.layers[0].mlp.down_proj.weight[:, kept])
    cut_widths(model, read_shape(model).with_(ffn=32), measure_activity(model, windows))
    assert torch.equal(model.model.layers[0].mlp.gate_proj.weight, gate)
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight, down)


def test_cutting_dead_channels_changes_nothing(base_dir):
    """The surgery is exact: where the removed parts gave nothing, the output stays."""
    model, _ = load_model(base_dir)
    reference, _ = load_model(base_dir)
    shape, head = read_shape(model), read_shape(model).head_dim
    with torch.no_grad():
        for each in (model, reference):
            for layer in each.model.layers:
                layer.mlp.down_proj.weight[:, 10:42] = 0
                layer.self_attn.o_proj.weight[:, head : 2 * head] = 0
                layer.self_attn.o_proj.weight[:, 3 * head :] = 0
    windows = torch.arange(256).view(2, 128)
    cut_widths(model, shape.with_(ffn=96), measure_activity(model, windows))
    assert compare_logits(model, reference) < 1e-5
    heads = lowest_heads(torch.tensor([1.0, 0.0, 1.0, 0.0]), kv_heads=2, heads=2, head_dim=2)
    assert heads == [2, 3, 6, 7]


def test_tracing_leaves_no_trace(base_dir):
    model, _ = load_model(base_dir)
    attention, cache = model.config._attn_implementation, model.config.use_cache
    wanted = model.model.embed_tokens.weight.requires_grad
    from transformers.models.qwen2 import modeling_qwen2

    rotary = modeling_qwen2.apply_rotary_pos_emb
    cut_widths(model, read_shape(model).with_(ffn=64), None)
    assert modeling_qwen2.apply_rotary_pos_emb is rotary
    assert (model.config._attn_implementation, model.config.use_cache) == (attention, cache)
    assert model.model.embed_tokens.weight.requires_grad == wanted


def test_first_two_and_last_layer_stay():
    assert choose_layers([0.0, 0.0, 0.9, 0.1, 0.8, 0.0], keep=4) == [0, 1, 2, 5]
    assert choose_layers([0.1] * 5, keep=4) == [0, 1, 2, 4]


def test_broken_save_leaves_nothing(recipe, base_dir, tmp_path, monkeypatch):
    save = Qwen2ForCausalLM.save_pretrained

    def save_wrongly(model, folder, **options):
        save(model, folder, **options)
        config = json.loads((folder / "config.json").read_text())
        config["rms_norm_eps"] = 0.5
        (folder / "config.json").write_text(json.dumps(config))

    monkeypatch.setattr(checkpoint.Qwen2ForCausalLM, "save_pretrained", save_wrongly)
    with pytest.raises(StageError, match="logits differ"):
        prune_model(recipe(shape={"ffn": 64}), base_dir, tmp_path / "pruned")
    assert list(tmp_path.iterdir()) == []


def test_second_run_is_free_and_same_recipe_gives_same_bytes(recipe, base_dir, tmp_path):
    first = prune_model(recipe(shape={"ffn": 64}), base_dir, tmp_path / "one")
    again = prune_model(recipe(shape={"ffn": 64}), base_dir, tmp_path / "one")
    other = prune_model(recipe(shape={"ffn": 64}), base_dir, tmp_path / "two")
    assert first == again == read_manifest(tmp_path / "one")
    assert first.outputs == other.outputs


def test_wrong_plan_is_caught(base_dir):
    model, _ = load_model(base_dir)
    shape = read_shape(model)
    with pytest.raises(StageError, match="planned"):
        prune_in_place(
            model, Plan(shape.with_(vocab=512), 0.5, [], ""), torch.zeros((1, 16), dtype=torch.long), "magnitude"
        )
    assert ShapeConfig().ffn is None
