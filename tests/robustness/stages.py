"""Every stage of the pipeline with budgets too small to learn anything, each working on what the one before it wrote.

A new stage gets one line in `STAGES` and meets every trouble from then on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.recipe import validate

_LOOP = {"batch_size": 2, "window": 64, "learning_rate": 1e-3}


@dataclass(frozen=True)
class Case:
    """One stage.

    Parameters
    ----------
    run : callable
        Takes the folder with what all stages before it wrote, and the folder to write.
    loses : str
        What goes away when an input does, relative to the first folder; empty for a stage without inputs.
    """

    run: Callable[[Path, Path], Any]
    loses: str = ""


def _make(model: Any, values: dict[str, Any], inputs: Path) -> Any:
    if "text" in model.model_fields:
        values = values | {"text": {"path": str(inputs / "text.txt")}}
    return validate(model, values, where="test")


def _synth(inputs: Path, out: Path) -> None:
    from dataset_builder.sources.synthetic import SynthRecipe, write_cohort

    write_cohort(SynthRecipe(subjects=6, seed=3, signals=["sub005"]), out)


def _corpus(inputs: Path, out: Path) -> None:
    from dataset_builder.corpus import CorpusRecipe, build_corpus

    split = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [4, 5]}
    codec = {"name": "band_power", "space": "regions", "windows": 1}
    values = {"name": "test-qa", "version": 1, "codec": codec, "split": split}
    build_corpus(_make(CorpusRecipe, values, inputs), inputs / "synth", out)


def _base(inputs: Path, out: Path) -> None:
    from model_recipes.base import BaseRecipe, make_base

    train = {"steps": 4, "checkpoint_every": 2, "warmup_steps": 1, **_LOOP}
    shape = {"vocab": 768, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 64, "layers": 2}
    tiny = {**shape, "rows_share": 0.5, "train": train}
    values = {"name": "tiny", "tiny": tiny, "perplexity_windows": 2}
    make_base(_make(BaseRecipe, values, inputs), out, inputs / "corpus")


def _prune(inputs: Path, out: Path) -> None:
    from model_recipes.prune import PruneRecipe, prune_model

    values = {"shape": {"ffn": 32}, "calibration_windows": 1, "perplexity_windows": 2}
    prune_model(_make(PruneRecipe, values, inputs), inputs / "base", out, inputs / "corpus")


def _recover(inputs: Path, out: Path) -> None:
    from model_recipes.recover import RecoverRecipe, recover_model

    train = {"steps": 4, "checkpoint_every": 2, **_LOOP}
    values = {"train": train, "precision": "fp32", "perplexity_windows": 2}
    recover_model(_make(RecoverRecipe, values, inputs), inputs / "prune", inputs / "base", out, inputs / "corpus")


def _adapter(inputs: Path, out: Path) -> None:
    from model_recipes.adapter import AdapterRecipe, train_adapter

    values = {"steps": 4, "checkpoint_every": 2, "batch_size": 1, "warmup_steps": 1, "eval_rows": 1}
    values |= {"lora": {"r": 2, "alpha": 4}, "precision": "fp32", "learning_rate": 1e-3}
    train_adapter(_make(AdapterRecipe, values, inputs), inputs / "recover", inputs / "corpus", out)


def _merge(inputs: Path, out: Path) -> None:
    from model_recipes.merge import MergeRecipe, merge_adapter

    recipe = _make(MergeRecipe, {"perplexity_windows": 2}, inputs)
    merge_adapter(recipe, inputs / "recover", inputs / "adapter", out)


def _gguf(inputs: Path, out: Path) -> None:
    from model_recipes.gguf import GgufRecipe, export_gguf

    values = {"name": "tiny", "types": ["F16"], "perplexity_windows": 2, "parity_prompts": 1}
    export_gguf(_make(GgufRecipe, values, inputs), inputs / "merge", inputs / "corpus", out)


def _evaluate(inputs: Path, out: Path) -> None:
    from model_recipes.evaluate import EvaluateRecipe, evaluate_models

    recipe = _make(EvaluateRecipe, {"max_rows": 9, "probes": ["emotion"]}, inputs)
    evaluate_models(recipe, inputs / "corpus", [inputs / "merge"], out)


def _record(inputs: Path, out: Path) -> None:
    from copilot.record_stage import RecordOptions, draft_record

    draft_record(RecordOptions(synthetic=True), inputs / "recording.edf", next((inputs / "gguf").glob("*.gguf")), out)


STAGES: dict[str, Case] = {
    "synth": Case(_synth),
    "corpus": Case(_corpus, "synth/EEG_Features/DE"),
    "base": Case(_base, "corpus"),
    "prune": Case(_prune, "base"),
    "recover": Case(_recover, "base"),
    "adapter": Case(_adapter, "recover"),
    "merge": Case(_merge, "adapter"),
    "gguf": Case(_gguf, "merge"),
    "evaluate": Case(_evaluate, "merge"),
    "record": Case(_record, "recording.edf"),
}


def prepare_inputs(folder: Path) -> None:
    """Write what no stage makes: a text."""
    from tests.factories import make_text

    text = make_text()
    (folder / "text.txt").write_text(text.fit + text.measure, encoding="utf-8")


def write_recording(folder: Path) -> None:
    """Write the recording that the last stage reads."""
    from dataset_builder.sources.faced import FacedSource
    from dataset_builder.sources.synthetic import write_recording_file

    person = FacedSource(folder / "synth").read("sub005", reads="signal_uv")
    write_recording_file(person, folder / "recording.edf", [0, 1])
