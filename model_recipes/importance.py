"""Which layers, heads and channels matter, read from activations on calibration text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm import tqdm
from transformers import Qwen2ForCausalLM


@dataclass(frozen=True)
class Activity:
    """Mean squares over calibration tokens.

    Parameters
    ----------
    residual : Tensor of shape (hidden,)
        Of the residual stream, each layer's input scaled to unit mean square, then averaged over the layers.
    heads : Tensor of shape (layers, heads * head_dim)
        Of the input of each output projection.
    ffn : Tensor of shape (layers, ffn)
        Of the input of each down projection.
    """

    residual: Tensor
    heads: Tensor
    ffn: Tensor


@torch.no_grad()
def measure_block_influence(model: Qwen2ForCausalLM, windows: Tensor) -> list[float]:
    """Measure how much each layer turns the residual stream.

    ``1 - cos(input, output)`` averaged over tokens (Men et al. 2024, "ShortGPT", arXiv:2403.03853).

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64

    Returns
    -------
    list of float, one per layer
    """
    totals = torch.zeros(len(model.model.layers))

    def watch(layer: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            after = output[0] if isinstance(output, tuple) else output
            totals[layer] += (1 - cosine_similarity(args[0].float(), after.float(), dim=-1)).mean().cpu()

        return hook

    handles = [layer.register_forward_hook(watch(i)) for i, layer in enumerate(model.model.layers)]
    _run(model, windows, handles, "block influence")
    return (totals / len(windows)).tolist()


def choose_layers(influence: list[float], keep: int) -> list[int]:
    """Return the layers to keep, in order: the first two and the last always, then those of highest influence."""
    n_layers = len(influence)
    protected = {0, 1, n_layers - 1} if keep >= 3 else {0, n_layers - 1} if keep == 2 else {0}
    others = sorted((i for i in range(n_layers) if i not in protected), key=lambda i: (-influence[i], i))
    return sorted([*protected, *others[: keep - len(protected)]])


@torch.no_grad()
def measure_activity(model: Qwen2ForCausalLM, windows: Tensor) -> Activity:
    """Measure `Activity` on calibration windows of shape (n_windows, length), int64."""
    layers = model.model.layers
    sums: dict[tuple[str, int], Tensor] = {}

    def watch(kind: str, index: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Tensor, ...]) -> None:
            squares = args[0].float().flatten(0, -2).square().mean(dim=0).cpu()
            squares = squares / squares.mean().clamp_min(1e-12) if kind == "residual" else squares
            sums[kind, index] = sums.get((kind, index), torch.zeros_like(squares)) + squares

        return hook

    handles = []
    for i, layer in enumerate(layers):
        handles.append(layer.register_forward_pre_hook(watch("residual", i)))
        handles.append(layer.self_attn.o_proj.register_forward_pre_hook(watch("heads", i)))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(watch("ffn", i)))
    _run(model, windows, handles, "calibrate")
    mean = {kind: torch.stack([sums[kind, i] for i in range(len(layers))]) for kind in ("residual", "heads", "ffn")}
    scale = 1 / len(windows)
    return Activity(mean["residual"].mean(dim=0) * scale, mean["heads"] * scale, mean["ffn"] * scale)


def score_ffn(model: Qwen2ForCausalLM, layer: int, activity: Activity | None) -> Tensor:
    """Score the channels of a feed-forward block.

    With `activity`: root mean square of the channel times the norm of its column in the down projection (the activation
    times weight score of Sun et al. 2024, "Wanda", arXiv:2306.11695, summed over a whole channel). Without: the norm of
    all weights of the channel.

    Returns
    -------
    Tensor of shape (ffn,)
    """
    mlp = model.model.layers[layer].mlp
    if activity is not None:
        return activity.ffn[layer].sqrt() * mlp.down_proj.weight.detach().float().norm(dim=0).cpu()
    return _norms(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight.T)


def score_heads(model: Qwen2ForCausalLM, layer: int, activity: Activity | None) -> Tensor:
    """Score the query heads of a layer as `score_ffn` scores channels; a head's score is the norm over its width.

    Returns
    -------
    Tensor of shape (heads,)
    """
    attention = model.model.layers[layer].self_attn
    if activity is not None:
        columns = activity.heads[layer].sqrt() * attention.o_proj.weight.detach().float().norm(dim=0).cpu()
    else:
        columns = _norms(attention.q_proj.weight, attention.o_proj.weight.T)
    return columns.view(model.config.num_attention_heads, -1).norm(dim=1)


def score_hidden(model: Qwen2ForCausalLM, activity: Activity | None) -> Tensor:
    """Score the channels of the residual stream: their energy, or without activity the norm of their embedding column.

    Returns
    -------
    Tensor of shape (hidden,)
    """
    if activity is not None:
        return activity.residual
    return model.get_input_embeddings().weight.detach().float().norm(dim=0).cpu()


def _norms(*weights: Tensor) -> Tensor:
    """Return for each row the norm over all matrices."""
    return torch.stack([w.detach().float().norm(dim=1).cpu() for w in weights]).norm(dim=0)


def _run(model: Qwen2ForCausalLM, windows: Tensor, handles: list[Any], title: str) -> None:
    try:
        for window in tqdm(windows, desc=title, unit="window", leave=False):
            model.model(window[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
