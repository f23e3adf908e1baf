"""Run a Qwen2 model layer by layer: what calibration needs that looks between the layers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.masking_utils import create_causal_mask


@dataclass(frozen=True)
class Context:
    """What every layer is given beside the residual stream; the same for all windows of one length.

    Parameters
    ----------
    attention_mask : Tensor or None
        None where the attention implementation masks by itself.
    position_embeddings : pair of Tensor
        Cosines and sines of the rotary embedding.
    """

    attention_mask: Tensor | None
    position_embeddings: tuple[Tensor, Tensor]


@torch.no_grad()
def start_stream(model: Qwen2ForCausalLM, windows: Tensor) -> tuple[Tensor, Context]:
    """Embed windows.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64

    Returns
    -------
    stream : Tensor of shape (n_windows, length, hidden), float32
        The residual stream before the first layer.
    context : Context
    """
    stream = model.model.embed_tokens(windows.to(model.device))
    positions = torch.arange(windows.shape[1], device=stream.device)[None]
    mask = create_causal_mask(
        config=model.config,
        inputs_embeds=stream[:1],
        attention_mask=None,
        past_key_values=None,
        position_ids=positions,
    )
    return stream, Context(mask, model.model.rotary_emb(stream[:1], positions))


@torch.no_grad()
def run_layers(layers: Iterable[Any], stream: Tensor, context: Context) -> Tensor:
    """Return the residual stream after some layers, window by window; `stream` itself is left as it is."""
    layers = list(layers)
    if not layers:
        return stream
    return torch.cat([_run_window(layers, window[None], context) for window in stream])


@torch.no_grad()
def run_attention(layer: Any, stream: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """Run the attention half of a layer on one window of shape (1, length, hidden).

    Returns
    -------
    inputs : Tensor of shape (length, heads * head_dim)
        What the output projection reads.
    output : Tensor of shape (1, length, hidden)
        The residual stream after the attention.
    """
    inputs: list[Tensor] = []
    handle = layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        change, _ = layer.self_attn(
            hidden_states=layer.input_layernorm(stream),
            attention_mask=context.attention_mask,
            position_embeddings=context.position_embeddings,
        )
    finally:
        handle.remove()
    return inputs[0][0].float(), stream + change


@torch.no_grad()
def run_ffn(layer: Any, stream: Tensor) -> tuple[Tensor, Tensor]:
    """Run the feed-forward half of a layer on one window of shape (1, length, hidden).

    Returns
    -------
    inputs : Tensor of shape (length, ffn)
        What the down projection reads.
    output : Tensor of shape (1, length, hidden)
    """
    normed, mlp = layer.post_attention_layernorm(stream), layer.mlp
    inputs = mlp.act_fn(mlp.gate_proj(normed)) * mlp.up_proj(normed)
    return inputs[0].float(), stream + mlp.down_proj(inputs)


def _run_window(layers: list[Any], window: Tensor, context: Context) -> Tensor:
    for layer in layers:
        window = layer(
            window, attention_mask=context.attention_mask, position_embeddings=context.position_embeddings
        ).float()
    return window
