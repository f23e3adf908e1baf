"""The reader in ten folds: every person of a folder is read once by a model that never met them, in whole 30-s trials.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_reader_folds.py --faced FACED --out RUN``.
Ten times corpus, base, reader and evaluation with the recipes of ``reproduce faced-reader``, some five minutes a fold
on one core; what is finished in ``RUN`` is kept. All clips stand in training, so most of what is measured is knowing
FACED's films again: the recogniser of the 28 clips stands beside it, and `bench_evidence.py` tells what is left of the
code when the clips are new.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import write_result

from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.manifest import read_manifest
from dataset_builder.protocols import N_SUBJECT_FOLDS
from dataset_builder.recipe import load_recipe
from dataset_builder.types import EMOTIONS
from model_recipes.base import BaseRecipe, make_base
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.evaluation.bootstrap import bootstrap_difference
from model_recipes.evaluation.calibration import measure_calibration
from model_recipes.evaluation.metrics import accuracy, count_confusion, measure_answers
from model_recipes.reader import ReaderRecipe, train_reader

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "dataset_builder" / "recipes" / "faced-reader.yaml"
MODELS = ROOT / "model_recipes" / "recipes" / "tiny"
SEED = 17

#: Readers as `evaluate` names the files of their predictions.
LM, CODE, PROBE, CLIPS = "language-model", "the-code-itself", "linear-probe", "clip-recogniser"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", type=Path, help="folder of FACED; without it nothing is measured")
    parser.add_argument("--out", type=Path, default=Path("build/bench/reader_folds"), help="default: %(default)s")
    parser.add_argument("--normalization", default="session", choices=["session", "none"], help="default: %(default)s")
    args = parser.parse_args()
    if args.faced is None:
        print("reader_folds: skipped, needs --faced", file=sys.stderr)
        return
    folds = [run_fold(args.faced, args.out, fold, args.normalization) for fold in range(N_SUBJECT_FOLDS)]
    results = {name: measure_reader(folds, name) for name in (LM, CODE, PROBE, CLIPS)}
    for name, found in results.items():
        low, high = found["accuracy"]["interval"]
        print(
            f"10-fold {args.normalization}, {name}: accuracy {found['accuracy']['value']:.3f} [{low:.3f}, {high:.3f}]"
        )
    write_result(
        f"reader_folds_{args.normalization}",
        question="what does the reader tell of people it never met? Clips known: mostly recognition of FACED's films",
        chance=1 / len(EMOTIONS),
        model_minus_probe=compare(folds, LM, PROBE),
        promised_coverage=sum_up([read_metric(fold, "promised_coverage") for fold in folds]),
        results=results,
    )


def run_fold(faced: Path, out: Path, fold: int, normalization: str) -> Path:
    """Train and evaluate on one fold, unless that was done; return the evaluation's folder."""
    out = out / f"fold{fold}-{normalization}"
    changes = ("split.protocol=10-fold", f"split.fold={fold}", f"codec.normalization.mode={normalization}")
    build_corpus(load_recipe(CORPUS, CorpusRecipe, changes), faced, out / "corpus")
    make_base(load_recipe(MODELS / "base-reader.yaml", BaseRecipe), out / "base", out / "corpus")
    train_reader(load_recipe(MODELS / "reader.yaml", ReaderRecipe), out / "base", out / "corpus", out / "reader")
    asked = load_recipe(MODELS / "evaluate.yaml", EvaluateRecipe, ("held_out_fold=null", "split=test", "controls=off"))
    evaluate_models(asked, out / "corpus", [out / "reader"], out / "evaluation")
    return out / "evaluation"


def measure_reader(folds: list[Path], name: str) -> dict[str, Any]:
    """Return what one reader tells of the people of all folds, and its accuracy in each."""
    scores, emotions, subjects = read_predictions(folds, name)
    where = {"split": "test", "protocol": "10-fold", "reader": name}
    metrics = measure_answers(scores, emotions, subjects, seed=SEED, **where)
    truth = np.array([EMOTIONS.index(emotion) for emotion in emotions])
    metrics += measure_calibration(scores, truth, subjects, seed=SEED, **where)
    found: dict[str, Any] = {m.name: {"value": m.value, "interval": m.interval, "n": m.n} for m in metrics}
    return found | {"accuracy_by_fold": [float(accuracy(count([fold], name).sum(axis=0))) for fold in folds]}


def compare(folds: list[Path], name: str, other: str) -> dict[str, Any]:
    """Return by how much one reader is more accurate than another on the same trials."""
    value, interval = bootstrap_difference(count(folds, name), count(folds, other), accuracy, SEED)
    return {"accuracy": value, "interval": interval}


def count(folds: list[Path], name: str) -> np.ndarray:
    """Return a reader's confusion matrix of each subject."""
    scores, emotions, subjects = read_predictions(folds, name)
    truth = np.array([EMOTIONS.index(emotion) for emotion in emotions])
    return count_confusion(truth, scores.argmax(axis=1), subjects, len(EMOTIONS))


def read_predictions(folds: list[Path], name: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Return the nine probabilities of every trial, its emotion and its subject."""
    rows = pd.concat([pd.read_parquet(fold / f"predictions-{name}.parquet") for fold in folds])
    subjects = [row_id.split("-")[1] for row_id in rows["row_id"]]
    return rows[list(EMOTIONS)].to_numpy(), rows["emotion"].tolist(), subjects


def sum_up(values: list[float]) -> dict[str, Any]:
    """Return one number of every fold, and their mean: the folds hold equally many people."""
    return {"mean": float(np.mean(values)), "by_fold": values}


def read_metric(folder: Path, name: str) -> float:
    """Return one number that the evaluation measured of the model."""
    metrics = read_manifest(folder).metrics
    return next(m.value for m in metrics if m.name == name and m.reader == "language model")


if __name__ == "__main__":
    main()
