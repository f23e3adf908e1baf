"""Pseudo-quantise: round some weights to few levels and back, so that a plain model shows what a format would cost.

A published EEG copilot rounds the most important 1 % of the weights to four bits and leaves the rest (``important``).
AWQ (Lin et al. 2023, arXiv:2306.00978) argues the other way round: keep that 1 %, round the rest (``others``). Both are
here, and both tell what they do to the perplexity and what a file that stored them so would weigh.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from dataset_builder.manifest import Manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.checkpoint import count_parameters, load_model, read_base_facts, save_checked
from model_recipes.device import pick_device
from model_recipes.perplexity import WINDOW, cut_windows, measure_perplexity
from model_recipes.pruning.vocabulary import load_whole_tokenizer, read_kept_ids, write_kept_ids
from model_recipes.text import Text, TextConfig, load_text

#: Bits of a weight that is not rounded, and of the step of a group.
_HALF = 16

#: Bits of the place of a single weight that is stored apart: its column.
_PLACE = 16


class PseudoQuantiseRecipe(StrictModel):
    """Which weights are rounded, and how.

    Parameters
    ----------
    mode : {"others", "important", "all"}
        Round all but the most important, only the most important (as published), or all.
    unit : {"channel", "weight"}
        What is important: an input channel of a matrix by its mean absolute activation, or a single weight by its
        absolute value times that activation.
    share : float
        How much is most important, of the channels or weights of each matrix.
    bits : int
        A rounded weight takes one of ``2 ** bits`` levels.
    group : int
        So many neighbouring weights of a row share their levels.
    seed : int
    text : TextConfig
        Activations are measured on its first part, perplexity on its last.
    calibration_windows, perplexity_windows : int
        Windows of 512 tokens.
    """

    mode: Literal["others", "important", "all"] = "others"
    unit: Literal["channel", "weight"] = "channel"
    share: float = Field(default=0.01, gt=0, lt=1)
    bits: int = Field(default=4, ge=2, le=8)
    group: int = Field(default=64, ge=8)
    seed: int = 17
    text: TextConfig = TextConfig()
    calibration_windows: int = Field(default=8, ge=1)
    perplexity_windows: int = Field(default=24, ge=2)


def pseudo_quantise_model(
    recipe: PseudoQuantiseRecipe, model_dir: str | Path, out_dir: str | Path, device: str = "auto"
) -> Manifest:
    """Round weights of a model's attention and feed-forward matrices; embedding, norms and biases stay.

    Parameters
    ----------
    recipe : PseudoQuantiseRecipe
    model_dir : str or Path
        Folder of a finished stage with a model.
    out_dir : str or Path
        Folder to write: a plain model of the same shape, fp32, whose weights sit on the levels.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: how many weights were rounded, what a file would weigh. Metrics: perplexity before and after.

    Raises
    ------
    InputError
        If the folder holds no model or the text is too short.
    """
    text = load_text(recipe.text)
    known: dict[str, Any] = {"parents": [model_dir], "inputs": [text.artifact]}
    if finished := find_finished("pseudo-quantise", out_dir, recipe, **known):
        return finished
    with open_stage("pseudo-quantise", out_dir, recipe, **known, seed=recipe.seed) as stage:
        _pseudo_quantise(stage, recipe, text, Path(model_dir), pick_device(device))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def quantise_in_place(
    model: Qwen2ForCausalLM, activity: dict[str, Tensor], recipe: PseudoQuantiseRecipe
) -> dict[str, Any]:
    """Round the wanted weights of every matrix of a model.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    activity : dict of str to Tensor of shape (n_inputs,)
        As `measure_inputs` returns it.
    recipe : PseudoQuantiseRecipe

    Returns
    -------
    dict
        ``weights`` of the matrices, ``rounded`` of them, their ``rounded_share``, ``bits_per_weight`` over the
        matrices, ``bytes`` of the whole model so stored and ``bytes_f16`` without rounding.
    """
    weights = rounded = 0
    bits = 0.0
    for name, linear in tqdm(list(list_matrices(model)), desc="pseudo-quantise", unit="matrix", leave=False):
        chosen = choose_weights(linear.weight.detach(), activity[name].to(linear.weight.device), recipe)
        with torch.no_grad():
            linear.weight.copy_(
                torch.where(chosen, round_groups(linear.weight, recipe.bits, recipe.group), linear.weight)
            )
        weights, rounded = weights + chosen.numel(), rounded + int(chosen.sum())
        bits += count_bits(chosen, recipe)
    rest = (count_parameters(model) - weights) * _HALF
    return {
        "weights": weights,
        "rounded": rounded,
        "rounded_share": round(rounded / weights, 6),
        "bits_per_weight": round(bits / weights, 4),
        "bytes": math.ceil((bits + rest) / 8),
        "bytes_f16": count_parameters(model) * _HALF // 8,
    }


def round_groups(weight: Tensor, bits: int, group: int) -> Tensor:
    """Round each weight to the nearest of ``2 ** bits`` evenly spaced levels of its group, zero always among them.

    Parameters
    ----------
    weight : Tensor of shape (n_outputs, n_inputs)
    bits, group : int
        Groups run along the inputs; the last of a row may be shorter.

    Returns
    -------
    Tensor of shape (n_outputs, n_inputs)
        No further from `weight` than one step of the group, (largest - smallest) / (2 ** bits - 1).
    """
    top = 2**bits - 1
    parts = []
    for part in weight.split(group, dim=1):
        low, high = part.amin(dim=1, keepdim=True).clamp_max(0), part.amax(dim=1, keepdim=True).clamp_min(0)
        step = ((high - low) / top).clamp_min(torch.finfo(weight.dtype).tiny)
        zero = (-low / step).round()
        parts.append((((part / step).round() + zero).clamp(0, top) - zero) * step)
    return torch.cat(parts, dim=1)


def choose_weights(weight: Tensor, activity: Tensor, recipe: PseudoQuantiseRecipe) -> Tensor:
    """Return which weights of a matrix are rounded, bool of shape (n_outputs, n_inputs)."""
    if recipe.mode == "all":
        return torch.ones_like(weight, dtype=torch.bool)
    score = activity if recipe.unit == "channel" else (weight.abs() * activity).flatten()
    important = torch.zeros_like(score, dtype=torch.bool)
    important[score.topk(max(1, round(recipe.share * score.numel()))).indices] = True
    important = important.expand_as(weight) if recipe.unit == "channel" else important.view_as(weight)
    return important if recipe.mode == "important" else ~important


def count_bits(rounded: Tensor, recipe: PseudoQuantiseRecipe) -> int:
    """Return what a matrix would take if it were stored as it was rounded.

    A rounded weight takes `bits`, every other 16; a group with any rounded weight takes its step (16 bits) and its zero
    (`bits`); single weights, if they are fewer than the others, are told by their column (16 bits).
    """
    groups = sum(int(part.any(dim=1).sum()) for part in rounded.split(recipe.group, dim=1))
    touched = int(rounded.sum())
    others = rounded.numel() - touched
    places = min(touched, others) * _PLACE if recipe.unit == "weight" else 0
    return touched * recipe.bits + others * _HALF + groups * (_HALF + recipe.bits) + places


@torch.no_grad()
def measure_inputs(model: Qwen2ForCausalLM, windows: Tensor) -> dict[str, Tensor]:
    """Measure the mean absolute input of every matrix.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64

    Returns
    -------
    dict of str to Tensor of shape (n_inputs,)
        Name of the matrix -> mean over all tokens.
    """
    sums: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            mean = inputs[0].float().abs().flatten(0, -2).mean(dim=0)
            sums[name] = sums[name] + mean if name in sums else mean

        return hook

    handles = [linear.register_forward_pre_hook(watch(name)) for name, linear in list_matrices(model)]
    try:
        for window in tqdm(windows, desc="calibrate", unit="window", leave=False):
            model.model(window[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / len(windows) for name, total in sums.items()}


def list_matrices(model: Qwen2ForCausalLM) -> Iterator[tuple[str, nn.Linear]]:
    """Yield name and module of every matrix in the layers."""
    for name, module in model.model.layers.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module


def _pseudo_quantise(
    stage: Stage, recipe: PseudoQuantiseRecipe, text: Text, model_dir: Path, device: torch.device
) -> None:
    model, tokenizer = load_model(model_dir, device)
    stage.facts["base"] = read_base_facts(model_dir)
    windows = cut_windows(tokenizer, text.fit, WINDOW, name=text.name)
    picks = make_rng(recipe.seed, "pseudo-quantise").permutation(len(windows))[: recipe.calibration_windows]
    whole = load_whole_tokenizer(model_dir)
    before = measure_perplexity(model, tokenizer, text, recipe.perplexity_windows, reference=whole)
    activity = measure_inputs(model, windows[sorted(picks.tolist())])
    stage.facts["pseudo_quantised"] = quantise_in_place(model, activity, recipe)
    after = measure_perplexity(model, tokenizer, text, recipe.perplexity_windows, reference=whole)
    stage.metrics += [after, before.model_copy(update={"protocol": "before pseudo-quantisation"})]
    write_kept_ids(stage.folder, read_kept_ids(model_dir))
    stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
