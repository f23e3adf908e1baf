"""The probabilities of one reader on every trial as a file, and what can be counted from two such files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builder.manifest import write_bytes
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.bootstrap import bootstrap_difference
from model_recipes.evaluation.metrics import balanced_accuracy, count_confusion

_KEYS = ("row_id", "subject", "emotion", "clip_fold")


def make_slug(reader: str) -> str:
    """Return a reader's name as a part of file names."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", reader).strip("-")


def write_predictions(
    folder: Path,
    reader: str,
    rows: Sequence[dict[str, Any]],
    protocols: Mapping[str, np.ndarray],
    scores: np.ndarray,
) -> None:
    """Write ``predictions-READER.parquet``: one row per trial with its protocol and nine probabilities.

    Parameters
    ----------
    folder : Path
    reader : str
    rows : sequence of rows
    protocols : mapping of str to ndarray of int
        Protocol -> its trials.
    scores : ndarray of shape (n_rows, 9)
    """
    names = {i: protocol for protocol, trials in protocols.items() for i in trials.tolist()}
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in _KEYS}
    columns["protocol"] = [names.get(i, "") for i in range(len(rows))]
    columns |= {emotion: scores[:, i].astype(np.float32) for i, emotion in enumerate(EMOTIONS)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_bytes(folder / _name_file(reader), sink.getvalue().to_pybytes())


def count_predictions(folder: Path, reader: str, protocol: str) -> dict[str, np.ndarray]:
    """Return one confusion matrix per subject of a finished evaluation.

    Parameters
    ----------
    folder : Path
    reader, protocol : str

    Returns
    -------
    dict of str to ndarray of shape (9, 9)
        Empty where the file is missing or is of a version that did not name subjects and protocols.
    """
    path = folder / _name_file(reader)
    if not path.is_file() or not {"subject", "protocol"} <= set(pq.read_schema(path).names):
        return {}
    table = pq.read_table(path, filters=[("protocol", "=", protocol)])
    subjects = table["subject"].to_pylist()
    truth = np.array([EMOTIONS.index(emotion) for emotion in table["emotion"].to_pylist()], dtype=int)
    scores = np.stack([table[emotion].to_numpy() for emotion in EMOTIONS], axis=1)
    counts = count_confusion(truth, scores.argmax(axis=1), subjects, len(EMOTIONS))
    return dict(zip(sorted(set(subjects)), counts, strict=True))


def compare_leads(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], seed: int
) -> tuple[float, list[float], int] | None:
    """Return by how much balanced accuracy above chance is higher in the first of two evaluations.

    Parameters
    ----------
    first, second : mapping of str to ndarray of shape (9, 9)
        As `count_predictions` returns them. They may be of different trials; only people who stand in both count.
    seed : int

    Returns
    -------
    tuple of float, list of two floats and int, or None
        The difference, its 95 % interval, paired over subjects, and how many they are; None for fewer than two.
    """
    people = sorted(set(first) & set(second))
    if len(people) < 2:
        return None
    one, other = (np.stack([found[name] for name in people]) for found in (first, second))
    return *bootstrap_difference(one, other, measure_lead, seed), len(people)


def measure_lead(confusion: np.ndarray) -> np.ndarray:
    """Return balanced accuracy less what a guesser reaches, of matrices of shape (..., n, n)."""
    return balanced_accuracy(confusion) - 1 / (confusion.sum(axis=-1) > 0).sum(axis=-1)


def _name_file(reader: str) -> str:
    return f"predictions-{make_slug(reader)}.parquet"
