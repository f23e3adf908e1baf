"""The gguf stage: merged model + corpus -> GGUF files that hold model, tokenizer, chat template and codec in one.

Each file is then asked the same questions as the model it came from (`model_recipes.exporting.parity`); one that is
over a gate fails the stage, and no file is kept.
"""

from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset_builder.corpus import load_codec
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import MANIFEST, Manifest, hash_file, read_manifest
from dataset_builder.prompts import load_style
from dataset_builder.stage import Stage, find_finished, open_stage
from model_recipes.exporting.adapter_file import ADAPTER_FOLDER, measure_adapter, write_adapter
from model_recipes.exporting.general import describe_general, name_base, name_corpus
from model_recipes.exporting.gguf_file import CopilotGguf, read_copilot_gguf
from model_recipes.exporting.imatrix import Imatrix, make_imatrix, write_imatrix
from model_recipes.exporting.model import ModelFolder, check_intact, open_model
from model_recipes.exporting.ollama_files import write_ollama_files
from model_recipes.exporting.parity import compare_labels, measure_parity
from model_recipes.exporting.parity_gates import MIN_PROMPTS, check_gates
from model_recipes.exporting.parity_reference import Reference, make_reference
from model_recipes.exporting.recipe import GgufRecipe, SamplingConfig
from model_recipes.exporting.report import write_report
from model_recipes.exporting.types import WEIGHED, FileType
from model_recipes.exporting.weight_error import measure_weight_error
from model_recipes.exporting.write import Plan, plan_types, write_gguf
from model_recipes.lineage import find_training
from model_recipes.text import load_text

__all__ = ["CopilotGguf", "GgufRecipe", "SamplingConfig", "export_gguf", "read_copilot_gguf"]


def export_gguf(
    recipe: GgufRecipe,
    merged_dir: str | Path,
    corpus_dir: str | Path,
    out_dir: str | Path,
    adapter_dir: str | Path | None = None,
) -> Manifest:
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
    adapter_dir : str or Path, optional
        Finished adapter that `merged_dir` was merged with; needed if the recipe asks for it.

    Returns
    -------
    Manifest
        ``facts["files"]`` tells bytes, bits per weight, tensors by type, and tensors whose rows did not fit the wanted
        type.

    Raises
    ------
    InputError
        If the model's files are damaged or do not belong together.
    RecipeError
        If the architecture or the tokenizer is not one that we export, or a row does not fit and `strict` is set.
    StageError
        If a file tokenises differently, or is over a gate.
    """
    if len(set(recipe.types)) < len(recipe.types):
        raise RecipeError(f"types: given twice in {', '.join(recipe.types)}; accepted: each type once")
    if recipe.adapter != (adapter_dir is not None):
        raise RecipeError("adapter: give both the recipe's key and the folder (--adapter DIR), or neither")
    parents, text = [merged_dir, corpus_dir, *([] if adapter_dir is None else [adapter_dir])], load_text(recipe.text)
    if finished := find_finished("gguf", out_dir, recipe, parents=parents, inputs=[text.artifact]):
        return finished
    check_intact(merged_dir)
    model = open_model(merged_dir)
    if recipe.strict:
        refuse_fallbacks(model, recipe.types)
    with open_stage("gguf", out_dir, recipe, parents=parents, inputs=[text.artifact]) as stage:
        base = dict(read_manifest(merged_dir).facts.get("base", {}))
        reference = make_reference(merged_dir, corpus_dir, recipe.parity_prompts, text, recipe.perplexity_windows)
        stage.facts |= {"base": base, "parameters": model.n_parameters, "files": []}
        stage.metrics.append(reference.perplexity.model_copy(update={"reader": "Transformers fp32"}))
        imatrix = _keep_imatrix(recipe, reference, merged_dir, corpus_dir, stage)
        export = _Export(recipe, model, Path(merged_dir), Path(corpus_dir), base, reference, stage)
        for file_type in tqdm(recipe.types, desc="gguf", unit="file"):
            export.write(file_type, plan_types(model, file_type, imatrix))
        export.compare_with_f16()
        if adapter_dir is not None:
            export.write_adapter(adapter_dir)
        write_ollama_files(stage.folder / stage.facts["files"][-1]["name"], stage.folder)
        write_report(stage)
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def refuse_fallbacks(model: ModelFolder, types: list[FileType]) -> None:
    """Refuse a model of which some tensor would take another type than asked.

    Raises
    ------
    RecipeError
        Names the first such tensor, its row length and what fits.
    """
    for file_type in types:
        if fallbacks := plan_types(model, file_type).fallbacks:
            first = fallbacks[0]
            raise RecipeError(
                f"strict: {len(fallbacks)} tensors do not fit {file_type}; {first.tensor} has rows of {first.columns}, "
                f"{first.wanted} accepts multiples of {first.block}"
            )


class _Export:
    """One run of the stage: writes, checks and describes files."""

    def __init__(
        self,
        recipe: GgufRecipe,
        model: ModelFolder,
        merged_dir: Path,
        corpus_dir: Path,
        base: dict[str, Any],
        reference: Reference,
        stage: Stage,
    ) -> None:
        self.recipe, self.model, self.reference, self.stage = recipe, model, reference, stage
        self.general = describe_general(
            recipe.general, recipe.name, recipe.version, model.n_parameters, base, corpus_dir
        ) | {f"sampling.{key}": value for key, value in recipe.sampling.model_dump().items()}
        self.copilot = _describe_copilot(recipe, merged_dir, corpus_dir, base)
        self.scores: dict[str, np.ndarray] = {}

    def write(self, file_type: FileType, plan: Plan) -> None:
        """Write and check one file."""
        path = self.stage.folder / f"{self.recipe.name}-{file_type}.gguf"
        write_gguf(path, self.model, plan, replace(self.copilot, file_type=file_type), self.general)
        weight_error, worst = measure_weight_error(path, file_type, self.model)
        check_gates(f"{path.name}: {worst}", file_type, [weight_error], self.recipe.gates)
        metrics, self.scores[file_type] = measure_parity(path, file_type, self.reference)
        check_gates(path.name, file_type, metrics, self.recipe.gates)
        self.stage.facts["files"].append(_describe_file(path, file_type, self.model, plan) | {"worst_tensor": worst})
        self.stage.metrics += [weight_error, *metrics]

    def compare_with_f16(self) -> None:
        """Compare the label that each file chooses with that of the F16 file, where there is one."""
        n = len(self.reference.prompts)
        if n < MIN_PROMPTS:
            self.stage.notes.append(
                f"agreement of labels on {n} prompts is told, but a gate only from {MIN_PROMPTS} on"
            )
        if (exact := self.scores.get("F16")) is None:
            return
        for file_type, scores in self.scores.items():
            if file_type != "F16":
                found = compare_labels("label_agreement_f16", scores, exact, file_type, self.reference)
                check_gates(f"{self.recipe.name}-{file_type}.gguf", file_type, [found], self.recipe.gates)
                self.stage.metrics.append(found)

    def write_adapter(self, adapter_dir: str | Path) -> None:
        """Write the adapter and check it on the model that it was trained on."""
        base = open_model(find_parent(adapter_dir, "model"))
        (self.stage.folder / ADAPTER_FOLDER).mkdir()
        path = self.stage.folder / ADAPTER_FOLDER / f"{self.recipe.name}-lora-F16.gguf"
        n_matrices = write_adapter(path, adapter_dir, base.config["num_hidden_layers"], self.general)
        metrics = measure_adapter(path, base, replace(self.copilot, file_type="F32"), self.reference)
        # Its matrices are F16, so it is held to what an F16 file is held to.
        check_gates(path.name, "F16", metrics, self.recipe.gates)
        self.stage.metrics += metrics
        name = path.relative_to(self.stage.folder).as_posix()
        self.stage.facts["adapter"] = {"name": name, "bytes": path.stat().st_size, "matrices": n_matrices}


def find_parent(folder: str | Path, fact: str) -> Path:
    """Return the folder of the parent stage whose manifest has a fact, if it is still what it was.

    Raises
    ------
    InputError
        If it is not where it was, or was made again since.
    """
    folder = Path(folder)
    for parent in read_manifest(folder).parents:
        place = folder / parent.folder
        intact = (place / MANIFEST).is_file() and hash_file(place / MANIFEST) == parent.sha256
        if intact and fact in read_manifest(place).facts:
            return place
    raise InputError(f"{folder.name}: the {fact} that it was trained on is not where it was, or was made again")


def _keep_imatrix(
    recipe: GgufRecipe, reference: Reference, merged_dir: str | Path, corpus_dir: str | Path, stage: Stage
) -> Imatrix | None:
    """Compute the importance matrix if a type needs it, and keep it beside the files."""
    if recipe.imatrix is None or not WEIGHED & set(recipe.types):
        return None
    training, reader = find_training(merged_dir), reference.reader
    fold = None if training is None else training.held_out_fold
    imatrix = make_imatrix(recipe.imatrix, reader.model, reader.tokenizer, corpus_dir, fold)
    imatrix = replace(imatrix, file=f"{recipe.name}.imatrix")
    write_imatrix(stage.folder / imatrix.file, imatrix)
    stage.facts["imatrix"] = {
        "file": imatrix.file,
        "datasets": imatrix.datasets,
        "entries": len(imatrix.sums),
        "tokens": imatrix.n_tokens,
    }
    return imatrix


def _describe_copilot(
    recipe: GgufRecipe, merged_dir: str | Path, corpus_dir: str | Path, base: dict[str, Any]
) -> CopilotGguf:
    corpus = read_manifest(corpus_dir)
    train = corpus.facts.get("splits", {}).get("train", {})
    training = find_training(merged_dir)
    facts: dict[str, Any] = {
        "base": name_base(base),
        "trained_subjects": train.get("subjects"),
        "corpus_manifest_sha256": hash_file(Path(corpus_dir) / MANIFEST),
        "model_manifest_sha256": hash_file(Path(merged_dir) / MANIFEST),
    }
    if training is not None:
        facts["held_out_fold"] = training.held_out_fold
    if people := corpus.facts.get("trained_people"):
        facts["trained_people"] = people
    return CopilotGguf(
        codec=load_codec(corpus_dir),
        name=recipe.name,
        version=metadata.version("eeg-emotion-copilot"),
        corpus=name_corpus(corpus),
        synthetic=corpus.synthetic or read_manifest(merged_dir).synthetic,
        file_type="",
        facts=facts,
        prompt=load_style(corpus_dir).config,
    )


def _describe_file(path: Path, file_type: str, model: ModelFolder, plan: Plan) -> dict[str, Any]:
    size = path.stat().st_size
    kinds = [kind.name for kind in plan.types.values()]
    return {
        "name": path.name,
        "type": file_type,
        "bytes": size,
        "bits_per_weight": round(8 * size / model.n_parameters, 2),
        "tensors": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "fallback_tensors": len(plan.fallbacks),
        "fallbacks": [asdict(fell) for fell in plan.fallbacks],
        "imatrix": plan.imatrix is not None,
    }
