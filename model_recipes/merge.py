"""Merge an adapter into its model: one plain Qwen2 folder that answers as both together did."""

from pathlib import Path
from typing import Any

from pydantic import Field

from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import Manifest, read_manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage
from model_recipes.checkpoint import compare_logits, is_tied, load_adapter, load_model, read_base_facts, save_checked
from model_recipes.perplexity import measure_perplexity
from model_recipes.pruning.vocabulary import load_whole_tokenizer, read_kept_ids, write_kept_ids
from model_recipes.text import TextConfig, load_text


class MergeRecipe(StrictModel):
    """How strictly the merged model is compared, and on which text it is measured.

    Parameters
    ----------
    tolerance : float
        Largest accepted difference between the logits of model plus adapter and of the merged model.
    text : TextConfig
        Perplexity is measured on its last part.
    perplexity_windows : int
    """

    tolerance: float = Field(default=1e-4, gt=0)
    text: TextConfig = TextConfig()
    perplexity_windows: int = Field(default=24, ge=2)


def merge_adapter(recipe: MergeRecipe, model_dir: str | Path, adapter_dir: str | Path, out_dir: str | Path) -> Manifest:
    """Merge an adapter in fp32 and prove that nothing changed.

    Parameters
    ----------
    recipe : MergeRecipe
    model_dir : str or Path
        Folder of the model that the adapter was trained on.
    adapter_dir : str or Path
        Folder of a finished adapter.
    out_dir : str or Path

    Returns
    -------
    Manifest
        Facts: largest difference of logits. Metric: perplexity, which tells what the adapter did to the language.

    Raises
    ------
    InputError
        If the adapter was trained on another model.
    StageError
        If the merged model answers otherwise, or the saved one does not read back as it was.
    """
    text = load_text(recipe.text)
    known: dict[str, Any] = {"parents": [model_dir, adapter_dir], "inputs": [text.artifact]}
    if finished := find_finished("merge", out_dir, recipe, **known):
        return finished
    _refuse_stranger(model_dir, adapter_dir)
    with open_stage("merge", out_dir, recipe, **known) as stage:
        model, tokenizer = load_model(model_dir)
        plain, _ = load_model(model_dir)
        both = load_adapter(model, adapter_dir).eval()
        merged = load_adapter(plain, adapter_dir).eval().merge_and_unload(safe_merge=True)
        difference = compare_logits(both, merged)
        if not difference <= recipe.tolerance:
            raise StageError(f"merge: logits differ by {difference:.2g}; accepted: {recipe.tolerance:g}")
        if not is_tied(merged):
            raise StageError("merge: the tie between embedding and output layer is broken")
        change = compare_logits(load_model(model_dir)[0], merged)
        stage.facts |= {
            "base": read_base_facts(model_dir),
            "merge_max_difference": difference,
            "adapter_max_change": change,
        }
        write_kept_ids(stage.folder, read_kept_ids(model_dir))
        stage.facts["model"] = save_checked(merged, tokenizer, stage.folder)
        whole = load_whole_tokenizer(model_dir)
        stage.metrics.append(measure_perplexity(merged, tokenizer, text, recipe.perplexity_windows, reference=whole))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _refuse_stranger(model_dir: str | Path, adapter_dir: str | Path) -> None:
    """Refuse an adapter whose manifest tells other model weights than those in `model_dir`."""
    trained_on = read_manifest(adapter_dir).facts.get("trained_on_sha256")
    found = {item.name: item.sha256 for item in read_manifest(model_dir).outputs}.get("model.safetensors")
    if trained_on != found:
        raise InputError(
            f"{Path(adapter_dir).name}: was trained on another model than the one in {Path(model_dir).name}"
        )
