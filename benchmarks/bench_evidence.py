"""Evidence code on FACED: what nine letters tell of people whom nothing was fitted on, and of people and films.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_evidence.py --faced FACED``. Ten folds are
those of protocol ``10-fold``, all people of the folder; ``080-099`` is the validation range of ``faced-80-20-23``.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import write_result

from dataset_builder.codecs import Codec
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.recipe import load_recipe
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.calibration import measure_calibration
from model_recipes.evaluation.conformal import break_ties, fit_thresholds, name_device

RECIPES = Path(__file__).parents[1] / "dataset_builder" / "recipes"
SEED = 17
MODES = ("session", "none", "causal", "calibration")

_WHERE = {"split": "validation", "protocol": "unseen subjects", "reader": "the code itself"}

_SHOWN = ("calibration_error", "calibration_error_adaptive", "calibration_error_expected", "conformal_coverage")


def read_corpus(faced: Path, recipe: str, split: str, *overrides: str) -> tuple[dict[str, Any], float]:
    """Build a corpus; return what its code states of every row of a split, and the seconds it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        build_corpus(load_recipe(RECIPES / recipe, CorpusRecipe, overrides), faced, corpus)
        codec, train = load_codec(corpus), load_split(corpus, "train")
        rows = load_split(corpus, split)
        if codec.calibration_trials:  # which set the scale of the others
            rows = rows.filter(lambda row: row["rank"] > codec.calibration_trials)
    read, known = (read_codes(codec, part["code"]) for part in (rows, train))
    columns = {name: np.array(rows[name]) for name in ("label", "subject", "trial_id")}
    thresholds = fit_thresholds(known, np.array(train["label"]), train.to_list(), SEED)
    taken = break_ties(read, SEED, "measured") >= thresholds.pick([name_device(row) for row in rows])[0][:, None]
    columns |= {"held": taken[np.arange(len(read)), columns["label"]], "set_size": taken.sum(axis=1)}
    return {"read": read, **columns}, time.perf_counter() - start


def read_codes(codec: Codec, texts: Sequence[str]) -> np.ndarray:
    """Return the nine probabilities that each code states, shape (n_rows, 9)."""
    return np.array([codec.read_probabilities(codec.from_text(text)) for text in texts])


def score_corpus(faced: Path, recipe: str, split: str, *overrides: str) -> dict[str, Any]:
    """Build a corpus and read the labels off its code: the likeliest emotion that the letters state."""
    return measure(*read_corpus(faced, recipe, split, *overrides))


def measure(found: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return accuracy, calibration error with its interval over subjects, and the same per trial for segments."""
    read, labels = found["read"], found["label"]
    errors = {m.name: m for m in measure_calibration(read, labels, found["subject"].tolist(), seed=SEED, **_WHERE)}
    trials, owners = np.unique(found["trial_id"], return_inverse=True)
    sums, of_trial = np.zeros((len(trials), len(EMOTIONS))), np.zeros(len(trials), dtype=int)
    np.add.at(sums, owners, np.log(read))
    of_trial[owners] = labels
    whole = {"trials_balanced_accuracy": balance(sums, of_trial)} if len(trials) < len(labels) else {}
    return {
        "rows": len(labels),
        "accuracy": float((read.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": balance(read, labels),
        **whole,
        **{name: metric.value for name, metric in errors.items() if name in _SHOWN},
        "coverage_of_90_by_training_people": float(found["held"].mean()),
        "set_size_by_training_people": float(found["set_size"].mean()),
        "calibration_interval": errors["calibration_error"].interval,
        "corpus_s": seconds,
    }


def balance(scores: np.ndarray, labels: np.ndarray) -> float:
    guesses = scores.argmax(axis=1)
    return float(np.mean([(guesses[labels == k] == k).mean() for k in range(len(EMOTIONS)) if (labels == k).any()]))


def show(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{name:34s} {found['rows']:5d} rows  accuracy {found['accuracy']:.3f}  balanced "
        f"{found['balanced_accuracy']:.3f}  ECE {found['calibration_error']:.3f}  sets that hold the truth "
        f"{found['coverage_of_90_by_training_people']:.3f}  {found['corpus_s']:.0f} s",
        flush=True,
    )
    return found


def run_folds(faced: Path, mode: str) -> dict[str, Any]:
    """Score protocol 10-fold: each fold's people by a codec fitted on eight other folds, all people measured as one."""
    overrides = ("split.protocol=10-fold", f"codec.normalization.mode={mode}")
    folds = [read_corpus(faced, "faced-reader.yaml", "test", *overrides, f"split.fold={fold}") for fold in range(10)]
    parts = [found for found, _ in folds]
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = show(f"10-fold {mode}", measure(pooled, sum(seconds for _, seconds in folds)))
    return found | {"folds": [measure(part, 0.0)["accuracy"] for part in parts]}


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
    for mode in ("session", "none"):
        results[f"080-099 {mode}, 10-s segments, films in training"] = show(
            f"080-099 {mode}, 10 s",
            score_corpus(args.faced, "faced-reader-segments.yaml", "validation", f"codec.normalization.mode={mode}"),
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
