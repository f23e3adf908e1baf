"""Cut a Qwen2 model: layers in plain code, channels and heads through torch-pruning's dependency graph."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2 import modeling_qwen2

from dataset_builder.errors import StageError
from model_recipes.bases.qwen2 import Shape, read_shape
from model_recipes.checkpoint import count_parameters, is_tied
from model_recipes.pruning.importance import Scores, measure_weights


@dataclass(frozen=True)
class Cuts:
    """What `cut_widths` did.

    Parameters
    ----------
    groups : int
        Groups of coupled channels that torch-pruning cut.
    kept_hidden : list of int
        Channels of the residual stream that stayed, by their old numbers.
    """

    groups: int
    kept_hidden: list[int]


def share_weights(model: Qwen2ForCausalLM) -> Qwen2ForCausalLM:
    """Return a second model on the very same weights, which costs no memory.

    Cutting replaces weights and never writes into them, so one of the two can be pruned while the other stays whole.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    return copy.deepcopy(model, shared)


def drop_layers(model: Qwen2ForCausalLM, kept: list[int]) -> None:
    """Keep only some layers, in place, and make the config fit (torch-pruning cannot drop layers)."""
    layers = [model.model.layers[i] for i in kept]
    for position, layer in enumerate(layers):
        layer.self_attn.layer_idx = position  # the cache of keys and values is addressed by it
    model.model.layers = torch.nn.ModuleList(layers)
    config = model.config
    config.layer_types = [config.layer_types[i] for i in kept]
    config.num_hidden_layers = config.max_window_layers = len(kept)


def cut_widths(model: Qwen2ForCausalLM, target: Shape, scores: Scores | None) -> Cuts:
    """Cut feed-forward channels, heads and hidden channels down to `target`, in place.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        With as many layers as `target`.
    target : Shape
    scores : Scores or None
        Measured on this model; None scores by weights alone.

    Returns
    -------
    Cuts

    Raises
    ------
    StageError
        If the result is not of the target shape.
    """
    base = read_shape(model)
    scores = measure_weights(model) if scores is None else scores
    removed = lowest(scores.hidden, base.hidden - target.hidden)
    groups = _choose_cuts(model, base, target, scores, removed)
    if groups:
        with _traceable(model):
            example = torch.zeros((1, 8), dtype=torch.long, device=model.device)
            graph = tp.DependencyGraph().build_dependency(
                model,
                example_inputs=example,
                output_transform=lambda output: output.logits,
                unwrapped_parameters=_list_norms(model),
            )
            for module, prune, channels in groups:
                group = graph.get_pruning_group(module, prune, idxs=channels)
                _spare_shared_heads(model, group, module)
                if not graph.check_pruning_group(group):
                    raise StageError("prune: torch-pruning would remove every channel of a layer")
                group.prune()
    _fit_config(model, target)
    _check(model, target)
    gone = set(removed)
    return Cuts(len(groups), [channel for channel in range(base.hidden) if channel not in gone])


def lowest(scores: Tensor, count: int) -> list[int]:
    """Return the positions of the `count` lowest scores in ascending order; ties go to the higher position."""
    order = torch.argsort(scores.flip(0), stable=True)[:count]
    return sorted((len(scores) - 1 - order).tolist())


def lowest_heads(scores: Tensor, kv_heads: int, heads: int, head_dim: int) -> list[int]:
    """Return the query channels to remove: the weakest heads of each key-value group, the same number in each."""
    per_group = len(scores) // kv_heads
    drop = per_group - heads // kv_heads
    removed = [
        group * per_group + head
        for group, part in enumerate(scores.view(kv_heads, per_group))
        for head in lowest(part, drop)
    ]
    return [head * head_dim + channel for head in removed for channel in range(head_dim)]


def _spare_shared_heads(model: Qwen2ForCausalLM, group: Any, root: torch.nn.Module) -> None:
    """Take key and value projections out of a group of query heads: other query heads of the group still read them."""
    attentions = [layer.self_attn for layer in model.model.layers]
    if root not in [attention.q_proj for attention in attentions]:
        return
    shared = [module for attention in attentions for module in (attention.k_proj, attention.v_proj)]
    for position in range(len(group)):
        dependency, _ = group[position]
        if dependency.target.module in shared:
            group[position] = (dependency, [])


def _list_norms(model: Qwen2ForCausalLM) -> list[tuple[torch.nn.Parameter, int]]:
    """Return the norm weights with the axis to cut; torch-pruning knows no RMS norm and has to be told."""
    return [(parameter, 0) for name, parameter in model.named_parameters() if "norm" in name]


def _choose_cuts(
    model: Qwen2ForCausalLM, base: Shape, target: Shape, scores: Scores, hidden: list[int]
) -> list[tuple[torch.nn.Module, object, list[int]]]:
    cuts: list[tuple[torch.nn.Module, object, list[int]]] = []
    for index, layer in enumerate(model.model.layers):
        if target.ffn < base.ffn:
            channels = lowest(scores.ffn[index], base.ffn - target.ffn)
            cuts.append((layer.mlp.gate_proj, tp.prune_linear_out_channels, channels))
        if target.heads < base.heads:
            channels = lowest_heads(scores.heads[index], base.kv_heads, target.heads, base.head_dim)
            cuts.append((layer.self_attn.q_proj, tp.prune_linear_out_channels, channels))
    if hidden:
        cuts.append((model.get_input_embeddings(), tp.prune_embedding_out_channels, hidden))
    return cuts


@contextlib.contextmanager
def _traceable(model: Qwen2ForCausalLM) -> Iterator[None]:
    """Make the model one that torch-pruning 1.6 can trace, and undo it afterwards.

    Eager attention: with the fused one, key and value channels are mapped one to one on query channels although they
    are shared. No rotary embedding: its halves, swapped and joined, send the search for coupled channels round without
    end; it changes no channel structure. No cache. Gradients on: tracing follows autograd.
    """
    attention, use_cache = model.config._attn_implementation, model.config.use_cache
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    old = list(model.parameters())  # another model may hold them too, see `share_weights`
    rotary = modeling_qwen2.apply_rotary_pos_emb
    model.set_attn_implementation("eager")
    model.config.use_cache = False
    model.requires_grad_(True)
    modeling_qwen2.apply_rotary_pos_emb = lambda q, k, cos, sin, unsqueeze_dim=1: (q, k)
    try:
        with torch.enable_grad():
            yield
    finally:
        modeling_qwen2.apply_rotary_pos_emb = rotary
        model.config.use_cache = use_cache
        model.set_attn_implementation(attention)
        for parameter, flag in zip(old, wanted.values(), strict=True):
            parameter.requires_grad_(flag)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(wanted.get(name, True))  # the output layer has its own weight until tied again


def _fit_config(model: Qwen2ForCausalLM, target: Shape) -> None:
    """Write the new shape where Transformers keeps it, and restore the tie that pruning breaks."""
    config = model.config
    config.hidden_size, config.intermediate_size = target.hidden, target.ffn
    config.num_attention_heads = target.heads
    for layer in model.model.layers:
        layer.self_attn.num_key_value_groups = target.heads // target.kv_heads
    if target.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    embedding = model.model.embed_tokens
    embedding.embedding_dim = model.lm_head.in_features = target.hidden


def _check(model: Qwen2ForCausalLM, target: Shape) -> None:
    if read_shape(model) != target or count_parameters(model) != target.parameters:
        raise StageError(f"prune: {count_parameters(model):,} parameters left, {target.parameters:,} planned")
    if target.tied and not is_tied(model):
        raise StageError("prune: the tie between embedding and output layer is broken")
