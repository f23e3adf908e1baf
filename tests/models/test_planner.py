import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataset_builder.errors import RecipeError
from dataset_builder.recipe import validate
from model_recipes.bases.qwen2 import Shape
from model_recipes.exporting.write import open_model, plan_types
from model_recipes.pruning.budget import BudgetConfig, limit_cost, limit_share, read_size
from model_recipes.pruning.costs import count_flops, count_parts, measure_file
from model_recipes.pruning.plan_table import format_plan
from model_recipes.pruning.planner import ShapeConfig, list_candidates, plan_shape, predict_damage

QWEN = Shape(896, 14, 2, 64, 4864, 24, 151_936)
SMOL = Shape(576, 9, 3, 64, 1536, 30, 49_152)
TINY = Shape(128, 4, 2, 32, 512, 6, 2048)


def test_parameters_of_known_models():
    assert QWEN.parameters == 494_032_768
    assert SMOL.parameters == 134_515_008 + 30 * (576 + 2 * 192)  # SmolLM2 has no biases; its port has zero ones


@pytest.mark.parametrize("shape", [QWEN, SMOL, TINY, Shape(128, 4, 2, 32, 512, 6, 2048, tied=False)])
def test_parts_add_up(shape):
    assert sum(count_parts(shape).values()) == shape.parameters


def test_flops_are_two_per_weight_and_four_per_attended_value():
    small = Shape(hidden=4, heads=2, kv_heads=1, head_dim=2, ffn=8, layers=1, vocab=10)
    weights = 4 * 4 + 4 * 4 + 2 * (4 * 2) + 3 * 4 * 8 + 10 * 4
    assert count_flops(small, context=5) == 2 * weights + 4 * 4 * 5


@pytest.mark.parametrize("file_type", ["F32", "F16", "Q8_0", "Q4_K_M"])
def test_bytes_are_those_of_the_written_file(base_dir, file_type):
    from gguf import GGML_QUANT_SIZES

    model = open_model(base_dir)
    plan = plan_types(model, file_type)
    config = model.config
    shape = Shape(64, 4, 2, 16, config["intermediate_size"], config["num_hidden_layers"], config["vocab_size"])
    blocks = {name: GGML_QUANT_SIZES[kind] for name, kind in plan.types.items()}
    wanted = {n: model.shapes[n][-1] // block * size for n, (block, size) in blocks.items()}
    wanted = {n: row * (model.shapes[n][0] if len(model.shapes[n]) == 2 else 1) for n, row in wanted.items()}
    found = measure_file(shape, file_type)
    assert found.tensors == found.per_token == sum(wanted.values())
    assert found.fallbacks == len(plan.fallbacks)


def test_untied_models_look_up_one_row():
    tied, untied = measure_file(TINY, "F16"), measure_file(Shape(128, 4, 2, 32, 512, 6, 2048, tied=False), "F16")
    assert untied.tensors == tied.tensors + 2048 * 128 * 2
    assert untied.per_token == tied.per_token + 128 * 2


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([QWEN, SMOL, TINY]), st.floats(0.2, 0.95), st.sampled_from(["quality", "quantisation"]))
def test_every_plan_is_admissible_and_within_the_budget(base, keep, prefer):
    try:
        plan = plan_shape(base, keep, prefer=prefer)
    except RecipeError:  # the embedding of so small a model may be all of it
        assume(base is not TINY)
        raise
    shape = plan.shape
    assert shape.find_faults() == []
    assert shape.parameters <= keep * base.parameters
    assert (shape.head_dim, shape.kv_heads, shape.vocab) == (base.head_dim, base.kv_heads, base.vocab)
    assert all(getattr(shape, name) <= getattr(base, name) for name in ("hidden", "heads", "ffn", "layers"))
    if prefer == "quantisation":
        assert shape.ffn % 256 == 0
        assert shape.hidden % 256 == 0 or base is not QWEN


@pytest.mark.parametrize("base", [QWEN, SMOL])
def test_parameters_fall_with_the_budget(base):
    kept = [plan_shape(base, keep / 20).shape.parameters for keep in range(5, 21)]
    assert kept == sorted(kept)
    assert all(n > 0.85 * keep / 20 * base.parameters for n, keep in zip(kept, range(5, 21), strict=True))


def test_half_of_qwen2_in_friendly_widths():
    """The two shapes that suit K-quants best: one with the whole vocabulary, one with a fifth of it."""
    whole = plan_shape(QWEN, 0.5, prefer="quantisation")
    told = [(row["hidden"], row["heads"], row["kv_heads"], row["ffn"], row["layers"]) for row in whole.candidates]
    assert (512, 8, 2, 4096, 24) in told
    assert whole.candidates[told.index((512, 8, 2, 4096, 24))]["ratio"] == 0.495
    explicit = plan_shape(QWEN, 0.5, ShapeConfig(hidden=512, ffn=4096))
    assert explicit.shape == Shape(512, 8, 2, 64, 4096, 24, 151_936)
    small = plan_shape(QWEN, 0.5, prefer="quantisation", vocab=32_768)
    assert small.shape == Shape(768, 12, 2, 64, 3328, 24, 32_768)
    assert round(small.ratio, 3) == 0.490
    assert measure_file(small.shape, "Q4_K_M").fallbacks == 0


@pytest.mark.parametrize("base", [QWEN, SMOL])
def test_half_keeps_the_width_and_offers_a_smaller_vocabulary(base):
    plan = plan_shape(base, 0.5)
    assert (plan.shape.hidden, plan.shape.heads) == (base.hidden, base.heads)
    hint = plan.candidates[-1]
    assert hint["vocab"] == 32_768
    assert hint["damage"] < plan.candidates[0]["damage"] == round(predict_damage(plan.shape, base), 3)
    assert "with a vocabulary of 32,768 tokens" in plan.reason


def test_damage_is_what_was_measured():
    """Divergence of SmolLM2 from itself, nats per token, after each layer that was dropped for the least of it."""
    measured = {29: 0.11, 28: 0.22, 27: 0.34, 26: 0.47, 25: 0.59, 24: 0.72, 23: 0.85, 22: 1.00, 21: 1.16, 20: 1.29}
    measured |= {19: 1.56, 18: 1.80, 17: 2.15, 16: 2.49}
    for layers, divergence in measured.items():
        assert predict_damage(SMOL.with_(layers=layers), SMOL) == pytest.approx(divergence, abs=0.15)
    assert predict_damage(SMOL, SMOL) == 0


def test_table_marks_the_chosen_shape_and_says_why():
    plan = plan_shape(QWEN, limit_cost(QWEN, BudgetConfig(bytes="150MB")))
    lines = format_plan(plan).splitlines()
    assert lines[0].split()[:6] == ["hidden", "heads", "kv", "ffn", "layers", "vocab"]
    assert lines[1].startswith("* ")
    assert sum(line.startswith("* ") for line in lines) == 1
    assert lines[-1].startswith("asked: at most 150.0 MB as Q4_K_M; kept: ")
    assert measure_file(plan.shape, "Q4_K_M").total <= 150e6
    assert json.loads(json.dumps(plan.candidates)) == plan.candidates


def test_speed_is_bytes_read_per_token():
    measured = limit_cost(QWEN, BudgetConfig(tokens_per_second=80, base_tokens_per_second=40))
    assert measured.most == measure_file(QWEN, "Q4_K_M").per_token / 2
    assert limit_cost(QWEN, BudgetConfig(tokens_per_second=100, bandwidth="20GB", type="F16")).most == 2e8
    shape = plan_shape(QWEN, measured).shape
    assert measure_file(shape, "Q4_K_M").per_token <= measured.most
    assert limit_cost(QWEN, BudgetConfig(params=0.5)).most == QWEN.parameters / 2
    assert limit_cost(QWEN, BudgetConfig(params=2e8)).most == 2e8


def test_sizes_are_read_and_nonsense_is_refused():
    assert [read_size(each) for each in (7, "150MB", "1.5 GB", "2KiB", "3m")] == [
        7,
        150_000_000,
        1.5e9,
        2048,
        3_000_000,
    ]
    for bad in ("much", "1.2.3MB", ".", "-5MB", "0", "5 MBit"):
        with pytest.raises(ValueError, match=r"no size|at least one"):
            read_size(bad)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "exactly one of params, bytes and tokens_per_second"),
        ({"params": 0.5, "bytes": "1MB"}, "exactly one of params"),
        ({"tokens_per_second": 5.0}, "needs exactly one of bandwidth"),
        ({"params": 0.5, "bandwidth": "1GB"}, "only it uses them"),
        ({"bytes": "big"}, "150MB"),
        ({"params": 0.0}, "greater than 0"),
    ],
)
def test_budgets_that_say_too_little_or_too_much_are_refused(values, says):
    with pytest.raises(RecipeError, match=says):
        validate(BudgetConfig, values, "budget")


def test_keep_all_is_no_change():
    assert plan_shape(SMOL, 1.0).shape == SMOL
    assert plan_shape(SMOL, 0.9, vocab=16_384).shape == SMOL.with_(vocab=16_384)


def test_little_cuts_heads_and_hidden_together():
    shape = plan_shape(QWEN, 0.2).shape
    assert shape.hidden < QWEN.hidden
    assert shape.hidden == shape.heads * shape.head_dim


def test_explicit_shape_is_taken_or_refused():
    assert plan_shape(QWEN, 0.5, ShapeConfig(hidden=768, ffn=3328)).shape == QWEN.with_(hidden=768, heads=12, ffn=3328)
    assert plan_shape(QWEN, 0.5, ShapeConfig(heads=8)).shape.hidden == 512
    assert plan_shape(QWEN, 0.5, ShapeConfig(vocab=32_768)).shape == QWEN.with_(vocab=32_768)
    assert plan_shape(QWEN, 0.5, ShapeConfig(layers=20), vocab=32_768).shape == QWEN.with_(layers=20, vocab=32_768)
    for bad in ({"hidden": 448}, {"heads": 7}, {"ffn": 3000}, {"layers": 25}, {"vocab": 200_000}):
        with pytest.raises(RecipeError, match="accepted hidden/heads: 896/14, 768/12"):
            plan_shape(QWEN, 0.5, ShapeConfig(**bad))
    with pytest.raises(RecipeError, match=r"vocabulary\.size of 32768"):
        plan_shape(QWEN, 0.5, ShapeConfig(vocab=16_384), vocab=32_768)


def test_what_cannot_be_reached_says_why():
    with pytest.raises(RecipeError, match="embedding alone holds 28%") as error:
        plan_shape(QWEN, 0.02)
    assert "\n" not in str(error.value)
    with pytest.raises(RecipeError, match="200,000 tokens wanted, the base has 151,936"):
        plan_shape(QWEN, 0.5, vocab=200_000)


def test_candidates_are_sorted_and_differ():
    candidates = list_candidates(SMOL, limit_share(SMOL, 0.5))
    damages = [predict_damage(shape, SMOL) for shape in candidates]
    assert damages == sorted(damages)
    assert len(set(candidates)) == len(candidates) > 20
