"""Which heads and channels matter: by their weights, by what they do on text, or by what their loss would cost.

Which layers matter is asked in `model_recipes.pruning.layer_choice`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

Importance = Literal["activation", "taylor", "magnitude"]


@dataclass(frozen=True)
class Scores:
    """How much each part matters; only scores of the same kind within one layer are compared.

    Parameters
    ----------
    hidden : Tensor of shape (hidden,)
        Channels of the residual stream.
    heads : Tensor of shape (layers, heads)
        Query heads.
    ffn : Tensor of shape (layers, ffn)
        Channels of the feed-forward blocks.
    """

    hidden: Tensor
    heads: Tensor
    ffn: Tensor


def measure_importance(model: Qwen2ForCausalLM, windows: Tensor, name: Importance) -> Scores:
    """Score the parts of a model on calibration windows of shape (n_windows, length), int64."""
    if name == "activation":
        return measure_activity(model, windows)
    return measure_gradients(model, windows) if name == "taylor" else measure_weights(model)


@torch.no_grad()
def measure_weights(model: Qwen2ForCausalLM) -> Scores:
    """Score by weights alone: the norm of everything that belongs to a channel or head."""
    heads, ffn = [], []
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        heads.append(_norms(attention.q_proj.weight, attention.o_proj.weight.T))
        ffn.append(_norms(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight.T))
    hidden = model.get_input_embeddings().weight.float().norm(dim=0).cpu()
    return Scores(hidden, _join_heads(model, torch.stack(heads)), torch.stack(ffn))


@torch.no_grad()
def measure_activity(model: Qwen2ForCausalLM, windows: Tensor) -> Scores:
    """Score by activity on calibration windows.

    Heads and feed-forward channels: root mean square of what they put out, times the norm of the weights that read it
    (the activation times weight score of Sun et al. 2024, "Wanda", arXiv:2306.11695, over a whole channel). Hidden
    channels: their energy in the residual stream, each layer's input scaled to unit mean square first.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64
    """
    sums: dict[tuple[str, int], Tensor] = {}

    def watch(kind: str, index: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Tensor, ...]) -> None:
            squares = args[0].float().flatten(0, -2).square().mean(dim=0).cpu()
            squares = squares / squares.mean().clamp_min(1e-12) if kind == "residual" else squares
            sums[kind, index] = sums.get((kind, index), torch.zeros_like(squares)) + squares / len(windows)

        return hook

    handles = []
    for i, layer in enumerate(model.model.layers):
        handles.append(layer.register_forward_pre_hook(watch("residual", i)))
        handles.append(layer.self_attn.o_proj.register_forward_pre_hook(watch("heads", i)))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(watch("ffn", i)))
    try:
        for window in tqdm(windows, desc="activity", unit="window", leave=False):
            model.model(window[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    layers = list(enumerate(model.model.layers))
    heads = [sums["heads", i].sqrt() * _columns(layer.self_attn.o_proj) for i, layer in layers]
    ffn = [sums["ffn", i].sqrt() * _columns(layer.mlp.down_proj) for i, layer in layers]
    hidden = torch.stack([sums["residual", i] for i, _ in layers]).mean(dim=0)
    return Scores(hidden, _join_heads(model, torch.stack(heads)), torch.stack(ffn))


def measure_gradients(model: Qwen2ForCausalLM, windows: Tensor) -> Scores:
    """Score by the change of the loss that removing a part would cause, to first order.

    The sum of weight times gradient over all weights that read a part's output is that change (Molchanov et al. 2019,
    arXiv:1906.10771); taken at the output, no weight counts twice. It is squared in each window and then averaged,
    because a trained model's gradients cancel over many. Hidden channels are read by the norms: the squares of their
    weights times gradients, summed over the norms.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64
    """
    layers = list(model.model.layers)
    norms = [norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    norms.append(model.model.norm)
    wanted = [[layer.self_attn.o_proj.weight for layer in layers], [layer.mlp.down_proj.weight for layer in layers]]
    wanted.append([norm.weight for norm in norms])
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    flat = [weight.requires_grad_(True) for group in wanted for weight in group]
    sums = [torch.zeros(()) for _ in range(3)]
    try:
        for window in tqdm(windows, desc="gradients", unit="window", leave=False):
            ids = window[None].to(model.device)
            with torch.enable_grad():
                logits = model(ids, use_cache=False).logits[0, :-1].float()
                gradients = torch.autograd.grad(cross_entropy(logits, ids[0, 1:]), flat)
            changes = [_sum_rows(weight.detach() * grad) for weight, grad in zip(flat, gradients, strict=True)]
            changes = _join_changes(model, changes, len(layers))
            sums = [total + change / len(windows) for total, change in zip(sums, changes, strict=True)]
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])
    heads, ffn, hidden = sums
    return Scores(hidden, heads, ffn)


def _join_changes(model: Qwen2ForCausalLM, changes: list[Tensor], n_layers: int) -> list[Tensor]:
    """Return the squared changes of one window by heads, feed-forward and hidden channels."""
    attention, ffn, norms = changes[:n_layers], changes[n_layers : 2 * n_layers], changes[2 * n_layers :]
    by_head = torch.stack(attention).view(n_layers, model.config.num_attention_heads, -1).sum(dim=2)
    return [by_head.square(), torch.stack(ffn).square(), torch.stack(norms).square().sum(dim=0)]


def _sum_rows(product: Tensor) -> Tensor:
    return (product.sum(dim=0) if product.ndim == 2 else product).cpu()


def _columns(linear: torch.nn.Linear) -> Tensor:
    return linear.weight.float().norm(dim=0).cpu()


def _join_heads(model: Qwen2ForCausalLM, channels: Tensor) -> Tensor:
    """Return the norm over each head's width, (layers, heads * head_dim) -> (layers, heads)."""
    return channels.view(len(channels), model.config.num_attention_heads, -1).norm(dim=2)


def _norms(*weights: Tensor) -> Tensor:
    """Return for each row the norm over all matrices."""
    return torch.stack([w.float().norm(dim=1).cpu() for w in weights]).norm(dim=0)
