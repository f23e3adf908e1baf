"""Bring a model to a planned shape: layers, then channels and heads, then what is left is fitted."""

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from model_recipes.bases.qwen2 import read_shape
from model_recipes.device import autocast
from model_recipes.pruning.importance import Importance, measure_importance
from model_recipes.pruning.layer_choice import (
    LayerChoice,
    choose_layers,
    choose_layers_greedily,
    measure_block_influence,
)
from model_recipes.pruning.planner import Plan
from model_recipes.pruning.reconstruction import reconstruct
from model_recipes.pruning.surgery import cut_widths, drop_layers, share_weights

#: Tokens that layers are tried on one at a time, in pieces of so many.
_TRIAL_TOKENS, _TRIAL_LENGTH = 1024, 256


def prune_in_place(
    model: Qwen2ForCausalLM,
    plan: Plan,
    windows: Tensor,
    importance: Importance,
    layer_choice: LayerChoice = "influence",
    ridge: float | None = 0.01,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Bring a model to a planned shape.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        Its vocabulary is the plan's already.
    plan : Plan
    windows : Tensor of shape (n_windows, length), int64
        Calibration text.
    importance : {"activation", "taylor", "magnitude"}
    layer_choice : {"influence", "greedy"}
    ridge : float or None
        See `model_recipes.pruning.reconstruction.reconstruct`; None leaves the projections as they were.
    precision : {"fp32", "bf16"}

    Returns
    -------
    dict
        ``kept_layers``, what they were chosen by, ``groups_cut``, ``reconstruction``.
    """
    facts: dict[str, Any] = {"importance": importance, "calibration_tokens": windows.numel()}
    start = read_shape(model)
    if start == plan.shape:
        return facts | {"kept_layers": list(range(start.layers)), "groups_cut": 0}
    dense = share_weights(model) if ridge is not None else None
    with autocast(model.device, precision):
        facts |= _drop_layers(model, plan.shape.layers, windows, layer_choice)
        scores = measure_importance(model, windows, importance) if read_shape(model) != plan.shape else None
    cuts = cut_widths(model, plan.shape, scores)
    facts["groups_cut"] = cuts.groups
    if dense is not None and ridge is not None:
        errors = reconstruct(model, dense, windows, facts["kept_layers"], cuts.kept_hidden, ridge, precision)
        facts |= {"ridge": ridge, "reconstruction": errors}
    return facts


def _drop_layers(model: Qwen2ForCausalLM, keep: int, windows: Tensor, layer_choice: LayerChoice) -> dict[str, Any]:
    n_layers = len(model.model.layers)
    if keep == n_layers:
        return {"kept_layers": list(range(n_layers))}
    facts: dict[str, Any] = {"layer_choice": layer_choice}
    if layer_choice == "greedy":
        pieces = windows.reshape(-1, min(_TRIAL_LENGTH, windows.shape[1]))
        spread = torch.linspace(0, len(pieces) - 1, min(len(pieces), _TRIAL_TOKENS // _TRIAL_LENGTH)).long()
        facts["kept_layers"], facts["dropped"] = choose_layers_greedily(model, pieces[spread], keep)
    else:
        influence = measure_block_influence(model, windows)
        facts["block_influence"] = [round(value, 4) for value in influence]
        facts["kept_layers"] = choose_layers(influence, keep)
    drop_layers(model, facts["kept_layers"])
    return facts
