"""Prune a model to a budget: vocabulary first, then whole layers, then channels, into a plain Qwen2 folder."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.bases.qwen2 import read_shape
from model_recipes.checkpoint import (
    count_parameters,
    describe_model,
    load_model,
    quiet_transformers,
    read_base_facts,
    save_checked,
)
from model_recipes.device import pick_device, pick_precision
from model_recipes.perplexity import WINDOW, cut_windows, measure_perplexity
from model_recipes.pruning.budget import BudgetConfig, limit_cost, limit_share
from model_recipes.pruning.costs import describe_costs
from model_recipes.pruning.importance import Importance
from model_recipes.pruning.layer_choice import LayerChoice
from model_recipes.pruning.plan_cut import prune_in_place
from model_recipes.pruning.planner import Plan, Preference, ShapeConfig, plan_shape
from model_recipes.pruning.preflight import check_space, check_tokenizer, check_weights, read_checked_shape
from model_recipes.pruning.vocabulary import VocabularyConfig, prune_vocabulary, write_kept_ids
from model_recipes.text import Text, TextConfig, load_text


class PruneRecipe(StrictModel):
    """How much is pruned and by what score. Give one of `ratio`, `budget` and `shape`; a shape overrules the others.

    Parameters
    ----------
    ratio : float, optional
        Share of the parameters to remove; 0 removes nothing.
    budget : BudgetConfig, optional
        What the pruned model may cost, in parameters, bytes or tokens per second.
    shape : ShapeConfig
        An explicit shape.
    prefer : {"quality", "quantisation"}
        ``quantisation``: only widths that suit llama.cpp's K-quants.
    vocabulary : VocabularyConfig, optional
        Cut the vocabulary as well. Default: only where `shape` asks for one.
    importance : {"activation", "taylor", "magnitude"}
        Score of channels and heads: activity on text times weight, first-order change of the loss, or weight alone.
    layer_choice : {"influence", "greedy"}
        Layers dropped at once by block influence, or one at a time by what the predictions lose.
    reconstruct : bool
        Whether output and down projections are fitted anew to the unpruned model's stream. Measured on SmolLM2-135M:
        it halves the perplexity right after pruning and is no help any more once recovery has trained.
    ridge : float
        How strongly they are held to their old weights meanwhile.
    precision : {"auto", "fp32", "bf16"}
        Of the calibration passes; ``auto`` takes bf16 where the hardware multiplies it natively.
    seed : int
    text : TextConfig
        Calibrated on its first part, perplexity measured on its last.
    calibration_windows : int
        Windows of 512 tokens to calibrate on.
    perplexity_windows : int
        Windows of 512 tokens to measure on.
    """

    ratio: float | None = Field(default=None, ge=0, lt=1)
    budget: BudgetConfig | None = None
    shape: ShapeConfig = ShapeConfig()
    prefer: Preference = "quality"
    vocabulary: VocabularyConfig | None = None
    importance: Importance = "activation"
    layer_choice: LayerChoice = "greedy"
    reconstruct: bool = False
    ridge: float = Field(default=0.01, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 17
    text: TextConfig = TextConfig()
    calibration_windows: int = Field(default=16, ge=1)
    perplexity_windows: int = Field(default=24, ge=2)

    @model_validator(mode="after")
    def _check_one(self) -> "PruneRecipe":
        if self.ratio is not None and self.budget is not None:
            raise ValueError("ratio and budget are both given; accepted: one of them (ratio: null takes it back)")
        if self.ratio is None and self.budget is None and not self.shape.given:
            raise ValueError("neither ratio nor budget nor shape is given; accepted: one of them")
        return self

    @property
    def cut(self) -> VocabularyConfig | None:
        """The vocabulary to cut to, also where only the shape names its size."""
        size = self.shape.vocab
        return VocabularyConfig(size=size) if self.vocabulary is None and size is not None else self.vocabulary


def plan_pruning(recipe: PruneRecipe, base_dir: str | Path) -> Plan:
    """Choose the shape that a recipe asks for, from the base's config alone.

    Raises
    ------
    InputError
        If the base cannot be pruned.
    RecipeError
        If no admissible shape fits.
    """
    base = read_checked_shape(base_dir)
    vocab = None if recipe.cut is None else recipe.cut.size
    limit = limit_cost(base, recipe.budget) if recipe.budget else limit_share(base, 1 - (recipe.ratio or 0))
    return plan_shape(base, limit, recipe.shape, recipe.prefer, vocab)


def prune_model(
    recipe: PruneRecipe,
    base_dir: str | Path,
    out_dir: str | Path,
    corpus_dir: str | Path | None = None,
    device: str = "auto",
) -> Manifest:
    """Prune a model.

    The vocabulary is cut first where the recipe asks for it. Then the layers that matter least are dropped and channels
    and heads of least importance are cut, the same number in every layer, so that the result is a standard Qwen2 model.
    Last, what is left of each layer is fitted to what the whole one did.

    Parameters
    ----------
    recipe : PruneRecipe
    base_dir : str or Path
        Folder of a finished stage with a model.
    out_dir : str or Path
        Folder to write.
    corpus_dir : str or Path, optional
        A corpus whose words are kept when the vocabulary is cut.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: shapes, parameters by part and operations before and after, candidates, kept layers, errors of the
        reconstruction. Metric: perplexity right after pruning.

    Raises
    ------
    RecipeError
        If no admissible shape fits the budget.
    InputError
        If the base is no tied Qwen2 with finite weights and its own ChatML tokenizer.
    ResourceError
        If the disk has too little room.
    StageError
        If the saved model does not read back as it was; nothing is left then.
    """
    plan, text = plan_pruning(recipe, base_dir), load_text(recipe.text)
    corpus = [corpus_dir] if corpus_dir is not None and recipe.cut is not None and recipe.cut.rows else []
    words = [load_text(each).artifact for each in (recipe.cut.texts if recipe.cut else [])]
    known: dict[str, Any] = {"parents": [base_dir, *corpus], "inputs": [text.artifact, *words]}
    if finished := find_finished("prune", out_dir, recipe, **known):
        return finished
    check_tokenizer(_load_tokenizer(base_dir), read_checked_shape(base_dir), Path(base_dir).name)
    check_space(out_dir, plan.shape, base_dir)
    with open_stage("prune", out_dir, recipe, **known, seed=recipe.seed) as stage:
        model, tokenizer = load_model(base_dir, pick_device(device))
        check_weights(model, Path(base_dir).name)
        stage.facts |= {"base": read_base_facts(base_dir), "before": _describe(model)}
        stage.facts["plan"] = {"reason": plan.reason, "candidates": plan.candidates}
        _prune(stage, recipe, plan, text, model, tokenizer, corpus[0] if corpus else None)
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _prune(
    stage: Stage,
    recipe: PruneRecipe,
    plan: Plan,
    text: Text,
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    corpus_dir: str | Path | None,
) -> None:
    """Do the work of a stage whose inputs are checked."""
    reference = tokenizer
    if recipe.cut is not None:
        tokenizer, kept, stage.facts["vocabulary"] = prune_vocabulary(model, tokenizer, recipe.cut, text, corpus_dir)
        write_kept_ids(stage.folder, kept)
    windows = _draw(cut_windows(tokenizer, text.fit, WINDOW, name=text.name), recipe)
    ridge = recipe.ridge if recipe.reconstruct else None
    precision = pick_precision(recipe.precision, model.device)
    stage.facts["surgery"] = prune_in_place(
        model, plan, windows, recipe.importance, recipe.layer_choice, ridge, precision
    )
    stage.facts["model"] = save_checked(model, tokenizer, stage.folder) | describe_costs(read_shape(model))
    stage.facts["ratio_removed"] = round(1 - count_parameters(model) / stage.facts["before"]["parameters"], 4)
    stage.metrics.append(measure_perplexity(model, tokenizer, text, recipe.perplexity_windows, reference=reference))


def _describe(model: Qwen2ForCausalLM) -> dict[str, Any]:
    return describe_model(model) | describe_costs(read_shape(model))


def _load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged tokenizer raises nearly anything
        raise InputError(f"{Path(folder).name}: its tokenizer cannot be read ({type(error).__name__})") from None


def _draw(windows: Tensor, recipe: PruneRecipe) -> Tensor:
    """Return calibration windows from all over the fitted text."""
    count = min(recipe.calibration_windows, len(windows))
    picks = make_rng(recipe.seed, "prune", "calibration").permutation(len(windows))[:count]
    return windows[sorted(picks.tolist())]
