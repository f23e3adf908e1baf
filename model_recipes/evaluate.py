"""The evaluate stage: how often readers are right about people, and clips, that training never met.

Two protocols stand side by side because they say different things: on clips that the training subjects watched, much of
a score is recognising the film; only unseen clips tell something about emotion.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from matplotlib.figure import Figure
from pydantic import Field

from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Manifest, Metric, describe_file, read_manifest, write_bytes
from dataset_builder.prompts import Style, load_style
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.stage import Stage, find_finished, open_stage
from dataset_builder.types import EMOTIONS
from model_recipes.engine import Engine
from model_recipes.gguf_file import read_copilot_gguf
from model_recipes.lineage import check_training
from model_recipes.metrics import count_confusion, measure_answers
from model_recipes.probe import LinearProbe
from model_recipes.readers import GgufReader, HFReader, Reader
from model_recipes.rows import load_rows

OpenReader = Callable[[], AbstractContextManager[Reader]]

UNSEEN_SUBJECTS = "unseen subjects"
UNSEEN_CLIPS = "unseen subjects and clips"


class EvaluateRecipe(StrictModel):
    """What is evaluated.

    Parameters
    ----------
    split : {"auto", "test", "validation"}
        ``"auto"``: test, or validation where there are no test subjects.
    held_out_fold : int or None
        Clips of this fold were kept from training; None if none was.
    max_rows : int or None
        At most so many trials, drawn at random over both protocols.
    probes : list of str
        ``"emotion"``: a linear probe on the code. ``"clip"``: one that recognises clips.
    seed : int
    """

    split: Literal["auto", "test", "validation"] = "auto"
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    max_rows: int | None = Field(default=None, ge=1)
    probes: list[Literal["emotion", "clip"]] = ["emotion", "clip"]
    seed: int = 17


def evaluate_models(
    recipe: EvaluateRecipe,
    corpus_dir: str | Path,
    model_paths: Sequence[str | Path],
    out_dir: str | Path,
    n_threads: int | None = None,
) -> Manifest:
    """Evaluate models beside linear probes.

    Parameters
    ----------
    recipe : EvaluateRecipe
    corpus_dir : str or Path
    model_paths : sequence of str or Path
        Finished model folders and GGUF files.
    out_dir : str or Path
        Folder to write: per reader a confusion matrix (PNG) and all predictions (Parquet).
    n_threads : int, optional
        Threads of the GGUF engine.

    Returns
    -------
    Manifest
        Its metrics, per reader and protocol: see `model_recipes.metrics.measure_answers`.

    Raises
    ------
    InputError
        If a model cannot be read, was trained with other prompts or on clips that are to be called unseen, or there is
        no row.
    """
    paths = [Path(path) for path in model_paths]
    parents, inputs = [corpus_dir, *_list_parents(paths)], [describe_file(p, p.parent) for p in paths if p.is_file()]
    if finished := find_finished("evaluate", out_dir, recipe, parents=parents, inputs=inputs):
        return finished
    check_prompts(paths, load_style(corpus_dir))
    notes = [check_training(path, corpus_dir, recipe.held_out_fold) for path in paths]
    split, rows = choose_rows(recipe, corpus_dir)
    with open_stage("evaluate", out_dir, recipe, parents=parents, inputs=inputs, seed=recipe.seed) as stage:
        stage.notes += [note for note in notes if note]
        for open_reader in _list_readers(recipe, corpus_dir, paths, n_threads):
            _measure_reader(stage, open_reader, recipe, rows, split)
        stage.facts |= {"split": split, "rows": len(rows), "subjects": len({row["subject"] for row in rows})}
        if split != "test" and recipe.split == "auto":
            stage.notes.append("no test subjects: measured on validation subjects, whose loss training watched")
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def choose_rows(recipe: EvaluateRecipe, corpus_dir: str | Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the split's name and its rows.

    Raises
    ------
    InputError
        If no row is there.
    """
    wanted = ["test", "validation"] if recipe.split == "auto" else [recipe.split]
    loaded: list[tuple[str, Dataset]] = [(name, load_split(corpus_dir, name)) for name in wanted]
    split, table = next(((name, rows) for name, rows in loaded if len(rows)), (wanted[-1], None))
    if table is None:
        raise InputError(f"{Path(corpus_dir).name}: holds no row in split {' or '.join(wanted)}")
    rows = table.to_list()
    if recipe.max_rows is not None and recipe.max_rows < len(rows):
        chosen = make_rng(recipe.seed, "evaluate", "rows").choice(len(rows), recipe.max_rows, replace=False)
        rows = [rows[i] for i in sorted(chosen)]
    return split, rows


def measure_protocols(
    recipe: EvaluateRecipe, rows: Sequence[dict[str, Any]], scores: np.ndarray, split: str, reader: str
) -> list[Metric]:
    """Measure seen and unseen clips apart; a protocol without a row is left out."""
    held_out = np.array([row["clip_fold"] == recipe.held_out_fold for row in rows])
    metrics = []
    for protocol, chosen in ((UNSEEN_SUBJECTS, np.flatnonzero(~held_out)), (UNSEEN_CLIPS, np.flatnonzero(held_out))):
        if len(chosen):
            emotions, subjects = ([rows[i][key] for i in chosen.tolist()] for key in ("emotion", "subject"))
            where = {"split": split, "protocol": protocol, "reader": reader}
            metrics += measure_answers(scores[chosen], emotions, subjects, seed=recipe.seed, **where)
    return metrics


def check_prompts(paths: Sequence[Path], style: Style) -> None:
    """Refuse a GGUF file that says it was trained with prompts of another style or language than the corpus has.

    Raises
    ------
    InputError
    """
    wanted = f"{style.config.style} ({style.config.language})"
    for path in (path for path in paths if path.is_file()):
        prompt = read_copilot_gguf(path).prompt
        if (found := f"{prompt.style} ({prompt.language})") != wanted:
            raise InputError(f"{path.name}: was trained with prompts {found}; the corpus has {wanted}")


def name_readers(paths: Sequence[Path]) -> list[str]:
    """Return a name per model: ``language model``, and a GGUF file's type; with its folder where two would be equal."""
    kinds = [f"language model {read_copilot_gguf(p).file_type}" if p.is_file() else "language model" for p in paths]
    folders = [path.stem if path.is_file() else path.name for path in paths]
    return [
        kind if kinds.count(kind) == 1 else f"{kind} ({folder})" for kind, folder in zip(kinds, folders, strict=True)
    ]


def plot_confusion(confusion: np.ndarray, title: str) -> bytes:
    """Return a confusion matrix of shape (9, 9) as PNG, rows normalised to the share of each true label."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5.4, 5.0), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set(xlabel="answered", ylabel="intended by the clip", title=title)
    figure.colorbar(image, shrink=0.8, label="share of the row")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _list_parents(paths: Sequence[Path]) -> list[Path]:
    """Return the stages of models: a model folder itself, and the folder of a GGUF file if it is a stage."""
    for path in paths:
        if path.is_dir():
            read_manifest(path)
        elif path.suffix != ".gguf" or not path.exists():
            raise InputError(f"{path.name}: no such model; accepted: a finished model folder or a .gguf file")
    folders = [path if path.is_dir() else path.parent for path in paths]
    return [folder for folder in dict.fromkeys(folders) if (folder / MANIFEST).is_file()]


def _list_readers(
    recipe: EvaluateRecipe, corpus_dir: str | Path, paths: Sequence[Path], n_threads: int | None
) -> list[OpenReader]:
    """Return how to open each reader; only one is in memory at a time."""
    probes: list[OpenReader] = [partial(_open_probe, target, recipe, corpus_dir) for target in recipe.probes]
    names = zip(paths, name_readers(paths), strict=True)
    style = load_style(corpus_dir)
    return probes + [partial(_open_model, path, name, style, n_threads) for path, name in names]


def _measure_reader(
    stage: Stage, open_reader: OpenReader, recipe: EvaluateRecipe, rows: Sequence[dict[str, Any]], split: str
) -> None:
    with open_reader() as reader:
        scores = reader.score(rows)
        stage.metrics += measure_protocols(recipe, rows, scores, split, reader.name)
        _write_answers(stage, reader.name, rows, scores)


@contextmanager
def _open_probe(target: str, recipe: EvaluateRecipe, corpus_dir: str | Path) -> Iterator[Reader]:
    rows = load_rows(corpus_dir, "train", recipe.held_out_fold).to_list()
    name = {"emotion": "linear probe", "clip": "clip recogniser"}[target]
    yield LinearProbe(load_codec(corpus_dir), rows, target=target, name=name)


@contextmanager
def _open_model(path: Path, name: str, style: Style, n_threads: int | None) -> Iterator[Reader]:
    if path.is_dir():
        yield HFReader(path, style=style, name=name)
        return
    with Engine(path, n_threads=n_threads) as engine:
        yield GgufReader(engine, style, name)


def _write_answers(stage: Stage, reader: str, rows: Sequence[dict[str, Any]], scores: np.ndarray) -> None:
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", reader).strip("-")
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    counts = count_confusion(truth, scores.argmax(axis=1), [""] * len(rows), len(EMOTIONS))
    title = f"{reader}{' (synthetic data)' if stage.synthetic else ''}"
    write_bytes(stage.folder / f"confusion-{slug}.png", plot_confusion(counts[0], title))
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in ("row_id", "emotion", "clip_fold")}
    columns |= {emotion: scores[:, i].astype(np.float32) for i, emotion in enumerate(EMOTIONS)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_bytes(stage.folder / f"predictions-{slug}.parquet", sink.getvalue().to_pybytes())
