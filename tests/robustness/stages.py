"""Every stage and every other command that writes, with budgets too small to learn anything.

Each works on what others before it wrote. A new one gets one line in `STAGES` and meets every trouble from then on; a
stage that has none fails `test_trouble`. Not here: ``demo`` and ``reproduce``, which run these stages one after the
other; ``push``, which writes to the Hub alone (``tests/hub/test_killed.py``); ``app``, ``live`` and ``replay``, which
keep nothing; ``review``, whose log holds the time of each step (`CHANGES`).
"""

import contextlib
import io
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
    needs : tuple of str
        The stages whose folders are read.
    prepare : callable, optional
        Takes the first folder and writes there what no stage makes.
    loose : bool
        Writes files by themselves into a folder without a manifest, and needs no room after the last of them.
    """

    run: Callable[[Path, Path], Any]
    loses: str = ""
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None
    loose: bool = False


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


def _evaluate_people(inputs: Path, out: Path) -> None:
    from model_recipes.evaluate import EvaluateRecipe
    from model_recipes.evaluation.people import evaluate_people

    recipe = _make(EvaluateRecipe, {"controls": "off", "max_rows": 4, "probes": ["emotion"]}, inputs)
    evaluate_people(recipe, inputs / "merge", inputs / "synth", out, subjects="4", corpus_dir=inputs / "corpus")


def _make_lessons(inputs: Path) -> Any:
    from model_recipes.training.adapter_recipe import AdapterRecipe

    values = {"schedule": [{"epochs": 1}] * 2, "batch_size": 32, "warmup_steps": 0, "eval_rows": 1}
    values |= {"lora": {"r": 2, "alpha": 4}, "precision": "fp32", "learning_rate": 1e-3}
    return _make(AdapterRecipe, values, inputs)


def _paper_steps(inputs: Path, out: Path) -> None:
    from model_recipes.evaluate import EvaluateRecipe
    from model_recipes.paper_study.steps import StepsRecipe, train_in_steps

    recipe = StepsRecipe(adapter=_make_lessons(inputs), evaluate=_make(EvaluateRecipe, {"max_rows": 2}, inputs))
    train_in_steps(recipe, inputs / "recover", inputs / "corpus", out)


def _paper_answers(inputs: Path, out: Path) -> None:
    from model_recipes.paper_study.answers import AnswersRecipe, Asked, compare_answers

    asked = [Asked(name, inputs / "corpus", inputs / "recover", inputs / "adapter") for name in ("control", "other")]
    compare_answers(AnswersRecipe(questions=2), asked, inputs / "base", out)


def _record(inputs: Path, out: Path) -> None:
    from copilot.record_stage import RecordOptions, draft_record

    draft_record(RecordOptions(synthetic=True), inputs / "recording.edf", next((inputs / "gguf").glob("*.gguf")), out)


def _reader(inputs: Path, out: Path) -> None:
    from model_recipes.reader import ReaderRecipe, train_reader

    train = {"steps": 4, "checkpoint_every": 2, "warmup_steps": 1, **_LOOP, "window": 640}
    recipe = _make(ReaderRecipe, {"train": train, "precision": "fp32", "check_every": 2}, inputs)
    train_reader(recipe, inputs / "read" / "base", inputs / "read" / "corpus", out)


def _pseudo_quantise(inputs: Path, out: Path) -> None:
    from model_recipes.pseudo_quantise import PseudoQuantiseRecipe, pseudo_quantise_model

    values = {"calibration_windows": 1, "perplexity_windows": 2}
    pseudo_quantise_model(_make(PseudoQuantiseRecipe, values, inputs), inputs / "base", out)


def _export(inputs: Path, out: Path) -> None:
    from dataset_builder.exports import ExportRecipe, export_rows

    export_rows(ExportRecipe(format="alpaca"), inputs / "corpus", out)


def _deidentify(inputs: Path, out: Path) -> None:
    from copilot.deid.stage import deidentify_recordings

    deidentify_recordings([inputs / "recording.edf"], out)


def _space(inputs: Path, out: Path) -> None:
    from copilot.space import SpaceRecipe, build_space

    build_space(SpaceRecipe(), next((inputs / "gguf").glob("*.gguf")), out)


def _card(inputs: Path, out: Path) -> None:
    _command("card", inputs / "corpus", "--out", out / "README.md", "--repo-id", "lab/made-up")


def _inspect(inputs: Path, out: Path) -> None:
    trial = ["--raw", inputs / "synth", "--subject", "sub005", "--clip", "1"]
    _command("inspect", *trial, "--corpus", inputs / "corpus", "--out", out / "trial.html")


def _prune_report(inputs: Path, out: Path) -> None:
    _command("prune-report", inputs / "recover", "--out", out / "pruning.html")


def _ollama(inputs: Path, out: Path) -> None:
    _command("ollama", "--gguf", next((inputs / "gguf").glob("*.gguf")), "--out", out)


def _review(inputs: Path, out: Path) -> None:
    _command("review", out, "--set", "assessment.text=Written by a person.", "--role", "psychologist")


def _review_again(inputs: Path, out: Path) -> None:
    _command("review", out, "--set", "assessment.text=Written anew.", "--role", "psychologist")


def _command(*argv: Any) -> None:
    """Run a command as a user does; what it says when it refuses is raised."""
    from copilot.cli import main
    from dataset_builder.errors import InputError

    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([str(item) for item in argv])
    if code:
        raise InputError(said.getvalue().strip())


def _write_text(folder: Path) -> None:
    from tests.factories import make_text

    text = make_text()
    (folder / "text.txt").write_text(text.fit + text.measure, encoding="utf-8")


def _write_recording(folder: Path) -> None:
    from dataset_builder.sources.faced import FacedSource
    from dataset_builder.sources.synthetic import write_recording_file

    person = FacedSource(folder / "synth").read("sub005", reads="signal_uv")
    write_recording_file(person, folder / "recording.edf", [0, 1])


def _write_evidence(folder: Path) -> None:
    """Write a corpus of evidence codes and a base that knows their alphabet."""
    from tests.models.test_reader import make_base, make_codec, make_corpus

    make_base(folder / "read" / "base", make_corpus(folder / "read" / "corpus", make_codec()))


STAGES: dict[str, Case] = {
    "synth": Case(_synth),
    "corpus": Case(_corpus, "synth/EEG_Features/DE", ("synth",)),
    "base": Case(_base, "corpus", ("corpus",), _write_text),
    "prune": Case(_prune, "base", ("base", "corpus")),
    "recover": Case(_recover, "base", ("prune",)),
    "adapter": Case(_adapter, "recover", ("recover",)),
    "merge": Case(_merge, "adapter", ("adapter",)),
    "gguf": Case(_gguf, "merge", ("merge",)),
    "evaluate": Case(_evaluate, "merge", ("merge",)),
    "evaluate-people": Case(_evaluate_people, "synth/EEG_Features/DE", ("merge",)),
    "paper-steps": Case(_paper_steps, "corpus", ("recover",)),
    "paper-answers": Case(_paper_answers, "adapter", ("adapter",)),
    "record": Case(_record, "recording.edf", ("gguf",), _write_recording),
    "reader": Case(_reader, "read/corpus", (), _write_evidence),
    "pseudo-quantise": Case(_pseudo_quantise, "base", ("base",)),
    "export": Case(_export, "corpus", ("corpus",)),
    "deidentify": Case(_deidentify, "recording.edf", ("synth",), _write_recording),
    "space": Case(_space, "gguf", ("gguf",)),
    "card": Case(_card, "corpus", ("corpus",), loose=True),
    "inspect": Case(_inspect, "corpus", ("corpus",), loose=True),
    "prune-report": Case(_prune_report, "recover", ("recover",), loose=True),
    "ollama": Case(_ollama, "gguf", ("gguf",), loose=True),
}

#: Changes what is there already; the times of the steps are part of what it writes.
CHANGES: dict[str, Case] = {"review": Case(_review), "review-again": Case(_review_again)}
