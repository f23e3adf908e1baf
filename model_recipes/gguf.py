"""The gguf stage: merged model + corpus -> GGUF files that hold model, tokenizer, chat template and codec in one.

Each file is then asked the same questions as the model it came from (`model_recipes.parity`); one that was not
quantised and still answers differently fails the stage.
"""

from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from dataset_builder.corpus import load_codec
from dataset_builder.errors import RecipeError
from dataset_builder.manifest import MANIFEST, Manifest, Metric, hash_file, read_manifest
from dataset_builder.prompts import load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage
from model_recipes.checkpoint import quiet_transformers
from model_recipes.gguf_file import NOTICE, CopilotGguf, read_copilot_gguf
from model_recipes.gguf_types import FileType
from model_recipes.gguf_write import ModelFolder, Plan, open_model, plan_types, write_gguf
from model_recipes.lineage import find_training
from model_recipes.parity import make_reference, measure_parity
from model_recipes.perplexity import measure_perplexity
from model_recipes.text import Text, TextConfig, load_text

__all__ = ["CopilotGguf", "GgufRecipe", "SamplingConfig", "export_gguf", "read_copilot_gguf"]


class SamplingConfig(StrictModel):
    """Sampling defaults that llama.cpp and its front ends take from the file."""

    temp: float = Field(default=0.0, ge=0, le=2)
    top_k: int = Field(default=20, ge=0)
    top_p: float = Field(default=0.8, gt=0, le=1)
    penalty_repeat: float = Field(default=1.0, ge=1, le=2)


class GgufRecipe(StrictModel):
    """Which GGUF files are written.

    Parameters
    ----------
    name : str
        Model name; files are called ``<name>-<type>.gguf``.
    version : str
    types : list of str
        ``F32``, ``F16``, ``BF16``, ``Q8_0``, ``Q5_K_M``, ``Q4_K_M``.
    description : str
    sampling : SamplingConfig
    parity_prompts : int
        How many prompts each file is checked with.
    text : TextConfig
        The perplexity of each file is measured on its last part.
    perplexity_windows : int
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
    version: str = "0.1"
    types: list[FileType] = Field(default=["F16", "Q8_0"], min_length=1)
    description: str = f"Estimates the emotion that a film clip evoked from coded EEG. {NOTICE}"
    sampling: SamplingConfig = SamplingConfig()
    parity_prompts: int = Field(default=8, ge=1)
    text: TextConfig = TextConfig()
    perplexity_windows: int = Field(default=24, ge=2)


def export_gguf(recipe: GgufRecipe, merged_dir: str | Path, corpus_dir: str | Path, out_dir: str | Path) -> Manifest:
    """Write GGUF files of a model.

    Parameters
    ----------
    recipe : GgufRecipe
    merged_dir : str or Path
        Finished folder of a ``Qwen2ForCausalLM``.
    corpus_dir : str or Path
        The corpus it was trained on: gives the codec and the prompts of the check.
    out_dir : str or Path
        Folder to write.

    Returns
    -------
    Manifest
        ``facts["files"]`` tells bits per weight and tensors whose rows did not fit the wanted type.

    Raises
    ------
    RecipeError
        If the architecture or the tokenizer is not one that we export.
    StageError
        If a file tokenises differently, or answers differently without being quantised.
    """
    if len(set(recipe.types)) < len(recipe.types):
        raise RecipeError(f"types: given twice in {', '.join(recipe.types)}; accepted: each type once")
    parents, text = [merged_dir, corpus_dir], load_text(recipe.text)
    if finished := find_finished("gguf", out_dir, recipe, parents=parents, inputs=[text.artifact]):
        return finished
    with open_stage("gguf", out_dir, recipe, parents=parents, inputs=[text.artifact]) as stage:
        model, base = open_model(merged_dir), _read_base(merged_dir)
        general = describe_general(recipe, model, base, corpus_dir)
        reference = make_reference(merged_dir, corpus_dir, recipe.parity_prompts)
        stage.facts |= {"base": base, "parameters": model.n_parameters, "files": []}
        for file_type in tqdm(recipe.types, desc="gguf", unit="file"):
            path, plan = stage.folder / f"{recipe.name}-{file_type}.gguf", plan_types(model, file_type)
            write_gguf(path, model, plan, _describe_copilot(recipe, file_type, merged_dir, corpus_dir, base), general)
            stage.facts["files"].append(_describe_file(path, file_type, model, plan))
            stage.metrics += measure_parity(path, file_type, reference)
            stage.metrics.append(measure_file(path, file_type, merged_dir, text, recipe.perplexity_windows))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def measure_file(path: Path, file_type: str, merged_dir: str | Path, text: Text, max_windows: int) -> Metric:
    """Return the perplexity of a file's weights, unpacked and computed by Transformers as those of other stages are."""
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(merged_dir, local_files_only=True)
    measured = measure_perplexity(model.eval(), tokenizer, text, max_windows)
    return measured.model_copy(update={"reader": f"GGUF {file_type}"})


def describe_general(
    recipe: GgufRecipe, model: ModelFolder, base: dict[str, Any], corpus_dir: str | Path
) -> dict[str, Any]:
    """Return the ``general.*`` keys of a file, without their prefix."""
    general: dict[str, Any] = {
        "type": "model",
        "name": recipe.name,
        "version": recipe.version,
        "size_label": f"{model.n_parameters / 1e6:.0f}M",
        "description": recipe.description,
        "languages": [load_style(corpus_dir).config.language],
        "tags": ["eeg", "emotion", "research-only"],
        "dataset.count": 1,
        "dataset.0.name": _name_corpus(read_manifest(corpus_dir)),
        **{f"sampling.{key}": value for key, value in recipe.sampling.model_dump().items()},
    }
    if licence := base.get("licence"):
        general["license"] = str(licence)
    if name := _name_base(base):
        organization, slash, short = name.rpartition("/")
        general |= {"base_model.count": 1, "base_model.0.name": short}
        if slash:
            general["base_model.0.organization"] = organization
            general["base_model.0.repo_url"] = f"https://huggingface.co/{name}"
    return general


def _describe_copilot(
    recipe: GgufRecipe, file_type: str, merged_dir: str | Path, corpus_dir: str | Path, base: dict[str, Any]
) -> CopilotGguf:
    corpus = read_manifest(corpus_dir)
    train = corpus.facts.get("splits", {}).get("train", {})
    training = find_training(merged_dir)
    facts: dict[str, Any] = {
        "base": _name_base(base),
        "trained_subjects": train.get("subjects"),
        "corpus_manifest_sha256": hash_file(Path(corpus_dir) / MANIFEST),
        "model_manifest_sha256": hash_file(Path(merged_dir) / MANIFEST),
    }
    if training is not None:
        facts["held_out_fold"] = training.held_out_fold
    synthetic = corpus.synthetic or read_manifest(merged_dir).synthetic
    version = metadata.version("eeg-emotion-copilot")
    return CopilotGguf(
        codec=load_codec(corpus_dir),
        name=recipe.name,
        version=version,
        corpus=_name_corpus(corpus),
        synthetic=synthetic,
        file_type=file_type,
        facts=facts,
        prompt=load_style(corpus_dir).config,
    )


def _read_base(folder: str | Path) -> dict[str, Any]:
    return dict(read_manifest(folder).facts.get("base", {}))


def _name_base(base: dict[str, Any]) -> str:
    """Return a Hub id where the base has one, else the name that the recipe gave it."""
    return str(base.get("model_id") or base.get("name") or "")


def _name_corpus(manifest: Manifest) -> str:
    return str(manifest.recipe.get("name", "corpus"))


def _describe_file(path: Path, file_type: str, model: ModelFolder, plan: Plan) -> dict[str, Any]:
    size = path.stat().st_size
    return {
        "name": path.name,
        "type": file_type,
        "bytes": size,
        "bits_per_weight": round(8 * size / model.n_parameters, 2),
        "fallback_tensors": len(plan.fallbacks),
    }
