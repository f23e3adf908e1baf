"""Let what is left of each layer stand in for what was cut, in closed form and without training.

Layer by layer, on calibration text, the output projection and the down projection are fitted anew so that the pruned
model's residual stream comes as near to the unpruned one's as they can bring it. Where layers were dropped, the down
projection before the gap aims at the stream behind it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from model_recipes.device import autocast
from model_recipes.pruning.stream import Context, run_attention, run_ffn, run_layers, start_stream


@torch.no_grad()
def reconstruct(
    model: Qwen2ForCausalLM,
    dense: Qwen2ForCausalLM,
    windows: Tensor,
    kept_layers: list[int],
    kept_hidden: list[int] | None = None,
    ridge: float = 0.01,
    precision: str = "fp32",
) -> list[dict[str, Any]]:
    """Fit the output and down projections of a pruned model, in place.

    With the projection's inputs ``A`` (tokens x channels) on the pruned model's own stream, its weight ``W0`` and the
    target ``T``, the change of the residual stream that the unpruned model's stream asks for, the new weight is

        ``argmin_W |A W - T|^2 + lambda |W - W0|^2``,  ``lambda = ridge * mean(diag(A'A))``,

    and the next part reads the stream that the new weight gives. Where hidden channels were cut, each norm is first
    scaled as if it still divided by the root mean square of all of them.

    One layer's inputs and the residual streams of both models are held in memory, all else comes and goes by window.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        The pruned model.
    dense : Qwen2ForCausalLM
        The unpruned one with the same vocabulary; it may share weights with `model` and is left as it is.
    windows : Tensor of shape (n_windows, length), int64
        Calibration text. A narrow text teaches its own domain at the cost of all others.
    kept_layers : list of int
        Which layer of `dense` each layer of `model` was.
    kept_hidden : list of int, optional
        Channels of the residual stream that stayed. Default: all.
    ridge : float
    precision : {"fp32", "bf16"}

    Returns
    -------
    list of dict
        One a layer: ``layer`` (its old position), ``attention`` and ``ffn``, each with the share of the target's energy
        that is missed ``before`` and ``after``.
    """
    own, context = start_stream(model, windows)
    whole, _ = start_stream(dense, windows)
    hidden = None if kept_hidden is None or len(kept_hidden) == whole.shape[-1] else torch.tensor(kept_hidden)
    ends = [*kept_layers[1:], len(dense.model.layers)]
    facts = []
    with autocast(model.device, precision):
        whole = run_layers(dense.model.layers[: kept_layers[0]], whole, context)
        pairs = zip(model.model.layers, kept_layers, ends, strict=True)
        for layer, index, end in tqdm(list(pairs), desc="reconstruct", unit="layer", leave=False):
            source = dense.model.layers[index]
            _rescale(layer, "input_layernorm", whole, hidden)
            whole = _follow(whole, _attend(source, context))
            own, attention = _fit(layer.self_attn, "o_proj", own, whole, hidden, ridge, _attend(layer, context))
            _rescale(layer, "post_attention_layernorm", whole, hidden)
            whole = _follow(whole, partial(run_ffn, source))
            whole = run_layers(dense.model.layers[index + 1 : end], whole, context)
            own, ffn = _fit(layer.mlp, "down_proj", own, whole, hidden, ridge, partial(run_ffn, layer))
            facts.append({"layer": index, "attention": attention, "ffn": ffn})
        _rescale(model.model, "norm", whole, hidden)
    return facts


def solve_ridge(gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Return the change of a weight that the residual errors ask for.

    Parameters
    ----------
    gram : Tensor of shape (channels, channels), float64
        ``A'A``.
    cross : Tensor of shape (channels, outputs), float64
        ``A'(T - A W0)``.
    ridge : float

    Returns
    -------
    Tensor of shape (channels, outputs), float64
        ``W - W0``.
    """
    diagonal = gram.diagonal()
    strength = max(ridge * diagonal.mean().item(), torch.finfo(torch.float32).tiny)
    factor = torch.linalg.cholesky(gram + strength * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return torch.cholesky_solve(cross, factor)


_Half = Callable[[Tensor], tuple[Tensor, Tensor]]


def _fit(
    block: nn.Module, name: str, own: Tensor, whole: Tensor, hidden: Tensor | None, ridge: float, run: _Half
) -> tuple[Tensor, dict[str, float]]:
    """Fit one projection; return the stream that it now gives, and the share of the target that it misses."""
    inputs, outputs = zip(*[run(window[None]) for window in own], strict=True)
    after = torch.cat(outputs).float()
    wanted = whole if hidden is None else whole[..., hidden.to(whole.device)]
    linear = getattr(block, name)
    channels = linear.in_features
    gram = torch.zeros((channels, channels), dtype=torch.float64, device=own.device)
    cross = torch.zeros((channels, linear.out_features), dtype=torch.float64, device=own.device)
    with torch.autocast(own.device.type, enabled=False):
        for a, goal, found in zip(inputs, wanted, after, strict=True):
            gram += (a.T @ a).double()
            cross += (a.T @ (goal - found)).double()
        change = solve_ridge(gram, cross, ridge).float()
        setattr(block, name, _replace_weight(linear, linear.weight + change.T))
        fitted = torch.stack([found + a @ change for a, found in zip(inputs, after, strict=True)])
    energy = max((wanted - own).square().mean().item(), torch.finfo(torch.float32).tiny)
    missed = [round((wanted - stream).square().mean().item() / energy, 6) for stream in (after, fitted)]
    return fitted, {"before": missed[0], "after": missed[1]}


def _attend(layer: Any, context: Context) -> _Half:
    return lambda window: run_attention(layer, window, context)


def _follow(stream: Tensor, run: _Half) -> Tensor:
    return torch.cat([run(window[None])[1].float() for window in stream])


def _replace_weight(linear: Any, weight: Tensor) -> Any:
    """Give a projection a new weight; the old tensor may belong to the unpruned model too."""
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=linear.weight.requires_grad)
    return linear


def _rescale(owner: Any, name: str, whole: Tensor, hidden: Tensor | None) -> None:
    """Scale a norm by what cutting hidden channels did to the root mean square that it divides by."""
    if hidden is None:
        return
    norm = getattr(owner, name)
    kept = whole[..., hidden.to(whole.device)].square().mean(dim=-1)
    factor = (kept / whole.square().mean(dim=-1).clamp_min(1e-12)).sqrt().mean()
    norm.weight = nn.Parameter(norm.weight * factor, requires_grad=norm.weight.requires_grad)
