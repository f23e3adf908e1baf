import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import kl_div, log_softmax
from torch_pruning.dependency.group import Group
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from dataset_builder.errors import RecipeError, StageError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from model_recipes import checkpoint
from model_recipes.bases.qwen2 import read_shape
from model_recipes.checkpoint import compare_logits, is_tied, load_model, save_checked
from model_recipes.prune import PruneRecipe, prune_in_place, prune_model
from model_recipes.pruning.importance import measure_activity, measure_gradients, measure_importance, measure_weights
from model_recipes.pruning.layer_choice import choose_layers, choose_layers_greedily
from model_recipes.pruning.planner import Plan, ShapeConfig
from model_recipes.pruning.surgery import cut_widths, drop_layers, lowest, lowest_heads, share_weights
from model_recipes.pruning.vocabulary import read_kept_ids
from model_recipes.run_prune import main


@pytest.fixture
def recipe(text_file):
    def make(**changes):
        options = {"calibration_windows": 2, "perplexity_windows": 2, "text": {"path": str(text_file)}}
        options["ratio"] = None if "shape" in changes or "budget" in changes else 0.5
        return PruneRecipe.model_validate(options | changes)

    return make


def test_ratio_zero_is_the_base(recipe, base_dir, tmp_path):
    prune_model(recipe(ratio=0.0), base_dir, tmp_path / "pruned")
    base, pruned = load_model(base_dir)[0], load_model(tmp_path / "pruned")[0]
    assert compare_logits(base, pruned) == 0


@pytest.mark.parametrize(
    ("shape", "importance"),
    [
        ({"ffn": 64}, "activation"),
        ({"ffn": 64}, "taylor"),
        ({"layers": 1}, "magnitude"),
        ({"layers": 1, "ffn": 32}, "activation"),
        ({"hidden": 32, "ffn": 64}, "activation"),
        ({"hidden": 32, "ffn": 64}, "taylor"),
        ({"hidden": 32}, "magnitude"),
    ],
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
    assert cut_widths(model, base.with_(ffn=64), None).groups == base.layers == len(calls)
    assert min(calls) > 3  # gate, up and down projection hang together


def test_cut_channels_are_the_weakest_and_the_rest_is_untouched(base_dir):
    model, _ = load_model(base_dir)
    windows = torch.arange(256).view(2, 128) % model.config.vocab_size
    scores = measure_activity(model, windows).ffn[0]
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


@pytest.fixture(scope="module")
def deep():
    """Return a model of five layers, of which the third does nothing."""
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        model.model.layers[2].self_attn.o_proj.weight.zero_()
        model.model.layers[2].mlp.down_proj.weight.zero_()
    return model


def test_greedy_choice_drops_the_idle_layer_and_tells_what_it_cost(deep):
    windows = torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(0))
    kept, steps = choose_layers_greedily(deep, windows, 3)
    assert kept == [0, 1, 4]
    assert steps[0] == {"dropped": 2, "divergence": 0.0}
    cut = share_weights(deep)
    drop_layers(cut, kept)
    whole, left = (log_softmax(model(windows).logits, dim=-1) for model in (deep, cut))
    wanted = kl_div(left, whole, log_target=True, reduction="none").sum(dim=-1).mean().item()
    assert steps[1]["divergence"] == pytest.approx(wanted, rel=0.01)  # the whole model's predictions are kept in fp16


def test_gradient_scores_are_the_change_of_the_loss(deep):
    """Remove a little of a part: the loss changes by that share of what the score tells."""
    window = torch.randint(256, (1, 32), generator=torch.Generator().manual_seed(1))
    scores, share = measure_gradients(deep, window), 1e-2

    def measure_loss(model):
        with torch.no_grad():
            return model(window, labels=window).loss.item()

    for channel in (int(scores.ffn[0].argmax()), 5):
        model = copy.deepcopy(deep)
        model.model.layers[0].mlp.down_proj.weight.data[:, channel] *= 1 - share
        change = (measure_loss(model) - measure_loss(deep)) / share
        assert change**2 == pytest.approx(scores.ffn[0, channel].item(), rel=0.1, abs=1e-6)
    head = int(scores.heads[1].argmax())
    model = copy.deepcopy(deep)
    model.model.layers[1].self_attn.o_proj.weight.data[:, 16 * head : 16 * (head + 1)] *= 1 - share
    assert ((measure_loss(model) - measure_loss(deep)) / share) ** 2 == pytest.approx(
        scores.heads[1, head].item(), rel=0.1
    )
    assert scores.ffn[2].max() == 0  # the idle layer
    assert all(parameter.requires_grad for parameter in deep.parameters())


@pytest.mark.parametrize("name", ["activation", "taylor", "magnitude"])
def test_scores_have_a_place_for_every_part(deep, name):
    windows = torch.randint(256, (2, 16), generator=torch.Generator().manual_seed(2))
    scores = measure_importance(deep, windows, name)
    assert [tuple(each.shape) for each in (scores.hidden, scores.heads, scores.ffn)] == [(64,), (5, 4), (5, 64)]
    assert all((each >= 0).all() and each.isfinite().all() for each in (scores.hidden, scores.heads, scores.ffn))


def test_weight_scores_are_norms(deep):
    mlp = deep.model.layers[0].mlp
    rows = torch.cat([mlp.gate_proj.weight[7], mlp.up_proj.weight[7], mlp.down_proj.weight[:, 7]])
    assert measure_weights(deep).ffn[0, 7].item() == pytest.approx(rows.norm().item(), rel=1e-5)


def test_pruning_one_of_two_models_on_the_same_weights_leaves_the_other_whole(deep):
    other, ids = share_weights(deep), torch.arange(16)[None]
    assert all(a is b for a, b in zip(deep.parameters(), other.parameters(), strict=True))
    before = deep(ids).logits
    cut_widths(other, read_shape(other).with_(hidden=32, heads=2, ffn=32), None)
    drop_layers(other, [0, 4])
    assert torch.equal(deep(ids).logits, before)
    assert read_shape(deep).layers == 5
    assert all(parameter.requires_grad for parameter in deep.parameters())
    assert is_tied(deep)


def test_first_two_and_last_layer_stay():
    assert choose_layers([0.0, 0.0, 0.9, 0.1, 0.8, 0.0], keep=4) == [0, 1, 2, 5]
    assert choose_layers([0.1] * 5, keep=4) == [0, 1, 2, 4]


def break_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))


def break_tie(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def break_number(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def lose_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.self_attn.k_proj.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def add_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.7.mlp.up_proj.weight"] = torch.zeros(4, 4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lose_config(folder):
    (folder / "config.json").unlink()


def ask_for_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "configuration.Config"}}
    (folder / "config.json").write_text(json.dumps(config))


def lose_template(folder):
    (folder / "chat_template.jinja").unlink()


def swap_merges(folder):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][::-1]
    path.write_text(json.dumps(tokenizer))


FAULTS = [
    (break_config, "logits differ"),
    (break_tie, "tie between embedding and output layer is broken"),
    (break_number, r"1 tensors read back with other numbers, the first is model\.layers\.0\.mlp\.up_proj"),
    (lose_tensor, r"missing keys: .*k_proj\.bias"),
    (add_tensor, r"unexpected keys: .*layers\.7"),
    (change_shape, "cannot be loaded|mismatched keys"),
    (truncate, "cannot be loaded"),
    (lose_config, "cannot be loaded"),
    (ask_for_code, "cannot be loaded"),
    (lose_template, "chat template is lost"),
    (swap_merges, "other ids after reading back"),
]


@pytest.mark.parametrize(("spoil", "says"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_broken_save_leaves_nothing(base_dir, tmp_path, monkeypatch, spoil, says):
    """Each fault is put into the folder after it was written, before it is read back."""
    model, tokenizer = load_model(base_dir)
    save = type(tokenizer).save_pretrained

    def save_wrongly(self, folder, **options):
        save(self, folder, **options)
        spoil(folder)

    monkeypatch.setattr(type(tokenizer), "save_pretrained", save_wrongly)
    (tmp_path / "model").mkdir()
    with pytest.raises(StageError, match=says) as error:
        save_checked(model, tokenizer, tmp_path / "model")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_stage_whose_save_is_broken_leaves_nothing(recipe, base_dir, tmp_path, monkeypatch):
    save = Qwen2ForCausalLM.save_pretrained

    def save_wrongly(model, folder, **options):
        save(model, folder, **options)
        break_config(folder)

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
    wrong = Plan(read_shape(model).with_(vocab=512), 0.5, [], "")
    with pytest.raises(StageError, match="planned"):
        prune_in_place(model, wrong, torch.zeros((1, 16), dtype=torch.long), "magnitude", ridge=None)
    assert ShapeConfig().given == {}


def test_facts_tell_parts_operations_and_choices(recipe, base_dir, tmp_path):
    manifest = prune_model(recipe(shape={"layers": 1, "ffn": 64}, reconstruct=True), base_dir, tmp_path / "pruned")
    before, after, surgery = (manifest.facts[key] for key in ("before", "model", "surgery"))
    assert sum(before["parts"].values()) == before["parameters"] > after["parameters"] == sum(after["parts"].values())
    assert before["flops_per_token"] > after["flops_per_token"] > 0
    assert surgery["kept_layers"] == [0]
    assert surgery["dropped"][0]["dropped"] == 1
    assert surgery["reconstruction"][0]["ffn"]["after"] < surgery["reconstruction"][0]["ffn"]["before"]
    assert manifest.facts["plan"]["reason"].startswith("shape given in the recipe; kept: ")


def test_vocabulary_is_cut_first_and_told(recipe, base_dir, corpus_dir, tmp_path):
    chosen = recipe(shape={"vocab": 640, "ffn": 64})
    manifest = prune_model(chosen, base_dir, tmp_path / "pruned", corpus_dir)
    model, tokenizer = load_model(tmp_path / "pruned")
    kept = read_kept_ids(tmp_path / "pruned")
    assert len(kept) == len(tokenizer) == model.config.vocab_size == 640
    assert read_shape(model) == read_shape(load_model(base_dir)[0]).with_(vocab=640, ffn=64)
    assert manifest.facts["vocabulary"]["tokens_after"] >= manifest.facts["vocabulary"]["tokens_before"]
    assert manifest.metrics[0].method.endswith("per token of the unpruned vocabulary; 95 % bootstrap over windows")
    assert [parent.stage for parent in manifest.parents] == ["base", "corpus"]


def test_command_plans_without_writing(base_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--base", str(base_dir), "--plan-only", "--params", "0.7"]) == 0
    table = capsys.readouterr().out
    assert "* " in table
    assert "asked: at most 70 % of" in table
    assert main(["--base", str(base_dir), "--plan-only", "--bytes", "120kB"]) == 0
    assert "0.1 MB as Q4_K_M" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_recipe_asks_for_one_thing(text_file):
    for values, says in [
        ({}, "neither ratio nor budget nor shape"),
        ({"ratio": 0.5, "budget": {"params": 0.5}}, "both"),
    ]:
        with pytest.raises(RecipeError, match=says):
            validate(PruneRecipe, values, "recipe")
