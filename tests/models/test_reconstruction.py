import copy

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from model_recipes.bases.qwen2 import read_shape
from model_recipes.pruning.importance import measure_activity
from model_recipes.pruning.reconstruction import reconstruct, solve_ridge
from model_recipes.pruning.stream import run_layers, start_stream
from model_recipes.pruning.surgery import cut_widths, drop_layers, share_weights


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.15,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def windows():
    return torch.randint(128, (12, 32), generator=torch.Generator().manual_seed(0))


def measure_miss(model, dense, windows, hidden=None):
    """Return how far the pruned model's last stream is from the whole one's, as a share of its energy."""
    own, wanted = (run_layers(each.model.layers, *start_stream(each, windows)) for each in (model, dense))
    wanted = wanted if hidden is None else wanted[..., hidden]
    return ((own - wanted).square().mean() / wanted.square().mean()).item()


def test_running_by_layers_is_running_the_model(dense, windows):
    for attention in ("sdpa", "eager"):
        model = copy.deepcopy(dense)
        model.set_attn_implementation(attention)
        stream, context = start_stream(model, windows)
        found = model.lm_head(model.model.norm(run_layers(model.model.layers, stream, context)))
        assert (found - model(windows).logits).abs().max() < 1e-4


def test_solution_is_the_ridge_minimum():
    generator = torch.Generator().manual_seed(0)
    a, error = (torch.randn(50, n, generator=generator, dtype=torch.float64) for n in (7, 3))
    change = solve_ridge(a.T @ a, a.T @ error, 0.1).requires_grad_()
    strength = 0.1 * (a.T @ a).diagonal().mean()
    loss = (a @ change - error).square().sum() + strength * change.square().sum()
    (gradient,) = torch.autograd.grad(loss, change)
    assert gradient.abs().max() < 1e-9
    assert torch.equal(solve_ridge(torch.zeros(7, 7).double(), torch.zeros(7, 3).double(), 0.1), torch.zeros(7, 3))


def test_whole_model_is_left_as_it_is(dense, windows):
    model = share_weights(dense)
    reconstruct(model, dense, windows, [0, 1, 2, 3])
    assert (model(windows).logits - dense(windows).logits).abs().max() < 1e-4


@pytest.mark.parametrize("cut", [{"ffn": 64}, {"layers": [0, 1, 3]}, {"layers": [1, 3], "ffn": 64}])
def test_pruned_stream_comes_nearer(dense, windows, cut):
    before = {name: weight.clone() for name, weight in dense.state_dict().items()}
    model, kept = share_weights(dense), cut.get("layers", [0, 1, 2, 3])
    drop_layers(model, kept)
    cut_widths(model, read_shape(model).with_(ffn=cut.get("ffn", 96)), measure_activity(model, windows))
    missed = measure_miss(model, dense, windows)
    facts = reconstruct(model, dense, windows, kept)
    assert measure_miss(model, dense, windows) < 0.7 * missed
    assert [each["layer"] for each in facts] == kept
    assert all(each[part]["after"] <= each[part]["before"] for each in facts for part in ("attention", "ffn"))
    assert all(torch.equal(weight, before[name]) for name, weight in dense.state_dict().items())
    assert not any(parameter.requires_grad for parameter in dense.parameters())


def test_last_projection_before_a_gap_aims_behind_it(dense, windows):
    model = share_weights(dense)
    drop_layers(model, [0, 3])
    start, context = start_stream(dense, windows)
    behind = run_layers(dense.model.layers[:3], start, context)

    def measure():
        return (run_layers(model.model.layers[:1], start, context) - behind).square().mean()

    missed = measure()
    reconstruct(model, dense, windows, [0, 3], ridge=1e-4)
    assert measure() < 0.9 * missed


def test_narrower_stream_is_rescaled_and_fitted(dense, windows):
    model = share_weights(dense)
    cuts = cut_widths(model, read_shape(model).with_(hidden=32, heads=2), measure_activity(model, windows))
    missed = measure_miss(model, dense, windows, cuts.kept_hidden)
    reconstruct(model, dense, windows, [0, 1, 2, 3], cuts.kept_hidden)
    assert len(cuts.kept_hidden) == 32
    assert measure_miss(model, dense, windows, cuts.kept_hidden) < 0.7 * missed


def test_bf16_finds_nearly_the_same(dense, windows):
    missed = []
    for precision in ("fp32", "bf16"):
        model = share_weights(dense)
        cut_widths(model, read_shape(model).with_(ffn=64), None)
        reconstruct(model, dense, windows, [0, 1, 2, 3], precision=precision)
        missed.append(measure_miss(model, dense, windows))
    assert missed[1] == pytest.approx(missed[0], rel=0.2)
