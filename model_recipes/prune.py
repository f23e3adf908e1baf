"""Prune a model to a share of its parameters: whole layers first, then channels, into a plain Qwen2 folder."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import Tensor
from transformers import Qwen2ForCausalLM

from dataset_builder.manifest import Manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import find_finished, open_stage
from model_recipes.bases.qwen2 import read_shape
from model_recipes.checkpoint import count_parameters, describe_model, load_model, read_base_facts, save_checked
from model_recipes.device import pick_device
from model_recipes.importance import choose_layers, measure_activity, measure_block_influence
from model_recipes.perplexity import WINDOW, cut_windows, measure_perplexity
from model_recipes.planner import Plan, ShapeConfig, plan_shape
from model_recipes.surgery import cut_widths, drop_layers
from model_recipes.text import TextConfig, load_text


class PruneRecipe(StrictModel):
    """How much is pruned and by what score.

    Parameters
    ----------
    ratio : float
        Share of the parameters to remove; 0 removes nothing.
    shape : ShapeConfig
        An explicit shape instead of a ratio.
    importance : {"activation", "magnitude"}
        Score of channels and heads: activity on text times weight, or weight alone.
    seed : int
    text : TextConfig
        Calibrated on its first part, perplexity measured on its last.
    calibration_windows : int
        Windows of 512 tokens to calibrate on.
    perplexity_windows : int
        Windows of 512 tokens to measure on.
    """

    ratio: float = Field(default=0.5, ge=0, lt=1)
    shape: ShapeConfig = ShapeConfig()
    importance: Literal["activation", "magnitude"] = "activation"
    seed: int = 17
    text: TextConfig = TextConfig()
    calibration_windows: int = Field(default=16, ge=1)
    perplexity_windows: int = Field(default=24, ge=2)


def prune_model(recipe: PruneRecipe, base_dir: str | Path, out_dir: str | Path, device: str = "auto") -> Manifest:
    """Prune a model.

    Layers of least influence are dropped, then feed-forward channels (if need be also heads and hidden channels) of
    least importance are cut, the same number in every layer, so that the result is a standard Qwen2 model.

    Parameters
    ----------
    recipe : PruneRecipe
    base_dir : str or Path
        Folder of a finished stage with a model.
    out_dir : str or Path
        Folder to write.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: shapes and parameters before and after, candidates, kept layers. Metric: perplexity right after pruning.

    Raises
    ------
    RecipeError
        If no admissible shape fits the ratio.
    StageError
        If the saved model does not read back as it was; nothing is left then.
    """
    text = load_text(recipe.text)
    known: dict[str, Any] = {"parents": [base_dir], "inputs": [text.artifact]}
    if finished := find_finished("prune", out_dir, recipe, **known):
        return finished
    with open_stage("prune", out_dir, recipe, **known, seed=recipe.seed) as stage:
        model, tokenizer = load_model(base_dir, pick_device(device))
        before = describe_model(model)
        plan = plan_shape(read_shape(model), 1 - recipe.ratio, recipe.shape)
        windows = cut_windows(tokenizer, text.fit, WINDOW, name=text.name)
        stage.facts |= {"base": read_base_facts(base_dir), "before": before}
        stage.facts["plan"] = {"reason": plan.reason, "candidates": plan.candidates}
        stage.facts["surgery"] = prune_in_place(model, plan, _draw(windows, recipe), recipe.importance)
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
        stage.facts["ratio_removed"] = round(1 - count_parameters(model) / before["parameters"], 4)
        stage.metrics.append(measure_perplexity(model, tokenizer, text, recipe.perplexity_windows))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def prune_in_place(model: Qwen2ForCausalLM, plan: Plan, windows: Tensor, importance: str) -> dict[str, Any]:
    """Bring a model to a planned shape.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    plan : Plan
    windows : Tensor of shape (n_windows, length), int64
        Calibration text.
    importance : {"activation", "magnitude"}

    Returns
    -------
    dict
        ``block_influence``, ``kept_layers``, ``groups_cut``.
    """
    facts: dict[str, Any] = {"importance": importance, "calibration_tokens": windows.numel()}
    if plan.shape.layers < read_shape(model).layers:
        influence = measure_block_influence(model, windows)
        facts["block_influence"] = [round(value, 4) for value in influence]
        facts["kept_layers"] = choose_layers(influence, plan.shape.layers)
        drop_layers(model, facts["kept_layers"])
    activity = (
        measure_activity(model, windows) if importance == "activation" and read_shape(model) != plan.shape else None
    )
    facts["groups_cut"] = cut_widths(model, plan.shape, activity)
    return facts


def _draw(windows: Tensor, recipe: PruneRecipe) -> Tensor:
    """Return calibration windows from all over the fitted text."""
    count = min(recipe.calibration_windows, len(windows))
    picks = make_rng(recipe.seed, "prune", "calibration").permutation(len(windows))[:count]
    return windows[sorted(picks.tolist())]
