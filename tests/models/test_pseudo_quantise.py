import json
import shutil

import pytest
import torch
from factories import NoRecipe
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.recipe import load_recipe, validate
from dataset_builder.stage import open_stage
from model_recipes import run_pseudo_quantise
from model_recipes.checkpoint import load_model, save_checked
from model_recipes.perplexity import cut_windows
from model_recipes.pruning.vocabulary import (
    VocabularyConfig,
    load_whole_tokenizer,
    prune_vocabulary,
    read_kept_ids,
    write_kept_ids,
)
from model_recipes.pseudo_quantise import (
    PseudoQuantiseRecipe,
    choose_weights,
    count_bits,
    list_matrices,
    measure_inputs,
    pseudo_quantise_model,
    quantise_in_place,
    round_groups,
)
from model_recipes.text import TextConfig, load_text

RECIPES = run_pseudo_quantise.RECIPES


def make_recipe(text_file, **changes):
    options = {"text": {"path": str(text_file)}, "calibration_windows": 2, "perplexity_windows": 2, "group": 32}
    return PseudoQuantiseRecipe.model_validate(options | changes)


def make_matrix(seed, rows=24, columns=70):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator), torch.rand(columns, generator=generator)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8), group=st.integers(8, 80), shift=st.floats(-3, 3))
def test_rounding_keeps_zero_few_levels_and_its_bound(seed, bits, group, shift):
    weight = make_matrix(seed)[0] + shift
    weight[:, 3] = 0
    rounded = round_groups(weight, bits, group)
    assert torch.equal(rounded[:, 3], torch.zeros(len(weight)))
    for old, new in zip(weight.split(group, dim=1), rounded.split(group, dim=1), strict=True):
        step = (old.amax(1).clamp_min(0) - old.amin(1).clamp_max(0)) / (2**bits - 1)
        assert ((old - new).abs() <= 1.001 * step[:, None] + 1e-6).all()
        assert max(len(row.unique()) for row in new) <= 2**bits


def test_rounding_twice_is_rounding_once():
    rounded = round_groups(make_matrix(0)[0], 4, 64)
    torch.testing.assert_close(round_groups(rounded, 4, 64), rounded)


def test_a_row_of_zeros_stays_finite():
    assert torch.equal(round_groups(torch.zeros(2, 16), 4, 8), torch.zeros(2, 16))


def test_important_channels_are_those_of_largest_activation():
    weight, activity = make_matrix(1)
    activity[[5, 40]] = torch.tensor([9.0, 8.0])
    recipe = PseudoQuantiseRecipe(mode="important", share=2 / 70)
    chosen = choose_weights(weight, activity, recipe)
    assert chosen.any(dim=0).nonzero().flatten().tolist() == [5, 40]
    assert chosen[:, [5, 40]].all()


def test_important_weights_are_those_of_largest_product():
    weight, activity = make_matrix(2)
    weight[3, 7], activity[7] = 50.0, 1.0
    chosen = choose_weights(weight, activity, PseudoQuantiseRecipe(mode="important", unit="weight", share=0.01))
    assert chosen[3, 7]
    assert chosen.sum() == round(0.01 * weight.numel())


@pytest.mark.parametrize("unit", ["channel", "weight"])
def test_the_inverse_mode_rounds_exactly_the_others(unit):
    weight, activity = make_matrix(3)
    important, others, everything = (
        choose_weights(weight, activity, PseudoQuantiseRecipe(mode=mode, unit=unit))
        for mode in ("important", "others", "all")
    )
    assert torch.equal(important, ~others)
    assert everything.all()


def test_bits_of_a_file_are_counted():
    rounded = torch.zeros(2, 16, dtype=torch.bool)
    rounded[0, :8] = True
    recipe = PseudoQuantiseRecipe(group=8)
    assert count_bits(rounded, recipe) == 8 * 4 + 24 * 16 + 1 * (16 + 4)
    assert count_bits(rounded, recipe.model_copy(update={"unit": "weight"})) == 8 * 4 + 24 * 16 + (16 + 4) + 8 * 16
    assert count_bits(torch.ones(2, 16, dtype=torch.bool), recipe) == 32 * 4 + 4 * 20


def test_inputs_are_measured_where_they_enter(base_dir):
    model, tokenizer = load_model(base_dir)
    windows = cut_windows(tokenizer, load_text(TextConfig()).fit[:3000], 64)[:2]
    found = measure_inputs(model, windows)
    assert found.keys() == dict(list_matrices(model)).keys()
    with torch.no_grad():
        first = model.model.layers[0].input_layernorm(model.model.embed_tokens(windows))
    torch.testing.assert_close(found["0.self_attn.q_proj"], first.abs().mean(dim=(0, 1)))
    torch.testing.assert_close(found["0.self_attn.q_proj"], found["0.self_attn.v_proj"])
    assert not any(module._forward_pre_hooks for module in model.modules()), "a hook was left behind"


def test_only_wanted_weights_of_the_layers_change(base_dir):
    model, tokenizer = load_model(base_dir)
    recipe = PseudoQuantiseRecipe(mode="important", group=32)
    activity = measure_inputs(model, cut_windows(tokenizer, load_text(TextConfig()).fit[:3000], 64)[:2])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    facts = quantise_in_place(model, activity, recipe)
    changed = {name: int((value != before[name]).sum()) for name, value in model.state_dict().items()}
    assert not any(count for name, count in changed.items() if "proj.weight" not in name)
    assert 0 < sum(changed.values()) <= facts["rounded"]
    widest = max(changed.values())
    assert widest <= 2 * 64, "one or two columns of any matrix at most"
    assert facts["bytes"] > facts["bytes_f16"], "levels of a group cost more than one weight of it saves"


def test_stage_tells_before_and_after_and_reads_back(base_dir, text_file, tmp_path):
    manifest = pseudo_quantise_model(make_recipe(text_file), base_dir, tmp_path / "out")
    after, before = manifest.metrics
    assert before.protocol == "before pseudo-quantisation"
    assert before.n == after.n
    assert before.value != after.value
    facts = manifest.facts["pseudo_quantised"]
    assert 0.95 < facts["rounded_share"] < 1
    assert 4 < facts["bits_per_weight"] < 6
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    row = model.model.layers[0].mlp.gate_proj.weight[0, :32]
    assert len(row.unique()) <= 16 + 1
    again = pseudo_quantise_model(make_recipe(text_file), base_dir, tmp_path / "again")
    assert [o.sha256 for o in again.outputs] == [o.sha256 for o in manifest.outputs]


def test_more_rounding_costs_more(base_dir):
    """On random weights too: the fewer the levels, the further the logits move."""
    model, tokenizer = load_model(base_dir)
    windows = cut_windows(tokenizer, load_text(TextConfig()).fit[:3000], 64)[:2]
    activity = measure_inputs(model, windows)
    with torch.no_grad():
        wanted = model(windows).logits
        moved = []
        for bits in (8, 4, 2):
            model, _ = load_model(base_dir)
            quantise_in_place(model, activity, PseudoQuantiseRecipe(mode="all", bits=bits))
            moved.append((model(windows).logits - wanted).norm().item())
    assert moved == sorted(moved)
    assert moved[0] > 0


def test_after_a_cut_vocabulary_perplexity_is_per_token_of_the_whole_one(base_dir, text_file, tmp_path):
    model, tokenizer = load_model(base_dir)
    text = load_text(TextConfig(path=str(text_file)))
    shutil.copytree(base_dir, tmp_path / "base")
    with open_stage("prune", tmp_path / "pruned", NoRecipe(), parents=[tmp_path / "base"]) as stage:
        cut, kept, _ = prune_vocabulary(model, tokenizer, VocabularyConfig(size=512), text)
        save_checked(model, cut, stage.folder)
        write_kept_ids(stage.folder, kept)
    for parent, out in (("pruned", "once"), ("once", "twice")):
        manifest = pseudo_quantise_model(make_recipe(text_file), tmp_path / parent, tmp_path / out)
        assert read_kept_ids(tmp_path / out) == kept
        assert "per token of the unpruned vocabulary" in manifest.metrics[0].method
    assert load_whole_tokenizer(tmp_path / "twice").get_vocab() == tokenizer.get_vocab()
    assert load_whole_tokenizer(base_dir) is None


def test_recipes_state_the_published_mode_and_its_inverse():
    for base in ("tiny", "smollm2", "qwen2-0.5b"):
        ours, paper = (
            load_recipe(RECIPES / base / name, PseudoQuantiseRecipe)
            for name in ("pseudo-quantise.yaml", "pseudo-quantise-paper.yaml")
        )
        assert (ours.mode, paper.mode) == ("others", "important")
        assert paper.model_copy(update={"mode": "others"}) == ours


def test_bad_requests_are_one_line(base_dir, text_file, tmp_path):
    with pytest.raises(RecipeError, match="bits"):
        validate(PseudoQuantiseRecipe, {"bits": 1}, where="x.yaml")
    with pytest.raises(InputError, match="no such folder"):
        pseudo_quantise_model(make_recipe(text_file), tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_prints_what_it_did(base_dir, text_file, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(make_recipe(text_file).model_dump() | {"text": {"path": str(text_file)}}))
    arguments = ["--model", str(base_dir), "--out", str(tmp_path / "out"), "--recipe", str(recipe)]
    assert run_pseudo_quantise.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "weights rounded" in printed
    assert "perplexity" in printed
