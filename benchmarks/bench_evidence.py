"""Evidence code on FACED: what nine letters tell of people whom nothing was fitted on, and of people and films.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_evidence.py --faced FACED``. Ten folds are
those of protocol ``10-fold``, all people of the folder; ``080-099`` is the validation range of ``faced-80-20-23``.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import write_result

from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.recipe import load_recipe
from dataset_builder.types import EMOTIONS

RECIPES = Path(__file__).parents[1] / "dataset_builder" / "recipes"
MODES = ("session", "none", "causal", "calibration")


def score_corpus(faced: Path, recipe: str, split: str, *overrides: str) -> dict[str, Any]:
    """Build a corpus and read the labels off its code: the likeliest emotion that the letters state."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        build_corpus(load_recipe(RECIPES / recipe, CorpusRecipe, overrides), faced, Path(folder) / "corpus")
        codec, rows = load_codec(Path(folder) / "corpus"), load_split(Path(folder) / "corpus", split)
    read = np.array([codec.read_probabilities(codec.from_text(text)) for text in rows["code"]])
    labels, guesses = np.array(rows["label"]), read.argmax(axis=1)
    recall = [float((guesses[labels == k] == k).mean()) for k in range(len(EMOTIONS)) if (labels == k).any()]
    return {
        "rows": len(labels),
        "accuracy": float((guesses == labels).mean()),
        "balanced_accuracy": float(np.mean(recall)),
        "calibration_error": measure_ece(read, labels),
        "corpus_s": time.perf_counter() - start,
    }


def measure_ece(read: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the likeliest class over equal bins of its probability."""
    confidence, right = read.max(axis=1), read.argmax(axis=1) == labels
    of_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs((right - confidence)[of_bin == k].sum()) for k in range(bins)) / len(labels))


def show(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{name:34s} {found['rows']:5d} rows  accuracy {found['accuracy']:.3f}  balanced "
        f"{found['balanced_accuracy']:.3f}  ECE {found['calibration_error']:.3f}  {found['corpus_s']:.0f} s",
        flush=True,
    )
    return found


def run_folds(faced: Path, mode: str) -> dict[str, Any]:
    """Score protocol 10-fold: each fold's people by a codec fitted on eight other folds."""
    overrides = ("split.protocol=10-fold", f"codec.normalization.mode={mode}")
    folds = [
        show(
            f"10-fold {mode} fold {fold}",
            score_corpus(faced, "faced-reader.yaml", "test", *overrides, f"split.fold={fold}"),
        )
        for fold in range(10)
    ]
    rows = [fold["rows"] for fold in folds]
    mean = {key: float(np.average([fold[key] for fold in folds], weights=rows)) for key in list(folds[0])[1:4]}
    return show(f"10-fold {mode}", {"rows": sum(rows), **mean, "corpus_s": sum(fold["corpus_s"] for fold in folds)}) | {
        "folds": [fold["accuracy"] for fold in folds]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", type=Path, help="folder of FACED; without it nothing is measured")
    parser.add_argument("--folds", action="store_true", help="protocol 10-fold too: twenty corpora, some ten minutes")
    args = parser.parse_args()
    if args.faced is None:
        print("evidence: skipped, needs --faced", file=sys.stderr)
        return
    results: dict[str, Any] = {}
    for mode in MODES:
        results[f"080-099 {mode}, films in training"] = show(
            f"080-099 {mode}",
            score_corpus(args.faced, "faced-reader.yaml", "validation", f"codec.normalization.mode={mode}"),
        )
    for target in ("emotion", "clip"):
        for fold in range(3):
            name = f"080-099 new films {fold}, target {target}"
            overrides = (f"split.held_out_fold={fold}", f"codec.target={target}")
            results[name] = show(name, score_corpus(args.faced, "faced-reader-unseen.yaml", "validation", *overrides))
    for mode in ("session", "none") if args.folds else ():
        results[f"10-fold {mode}, films in training"] = run_folds(args.faced, mode)
    question = (
        "what do nine letters of evidence tell of new people? Films in training: mostly recognition of FACED's clips"
    )
    write_result("evidence", question=question, chance=1 / len(EMOTIONS), results=results)


if __name__ == "__main__":
    main()
