"""Do quantised files give the labels of the F16 file? A trained reader whose every row fits the k-quants, new people.

Needs FACED's features, so ``make bench`` skips it: ``python benchmarks/bench_quantised.py --faced FACED --out RUN``,
some ten minutes on two cores. The reader is that of ``reproduce faced-reader`` at twice the width: rows of 256 and 512,
so that no tensor falls back to another type (``strict``). Labels are compared on all trials of the validation people,
whose clips were in training: agreement of files is asked for, not what they know of emotions.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from harness import write_result

from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.manifest import Manifest
from dataset_builder.recipe import load_recipe
from dataset_builder.types import EMOTIONS
from model_recipes.base import BaseRecipe, make_base
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.gguf import GgufRecipe, export_gguf
from model_recipes.reader import ReaderRecipe, train_reader

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "dataset_builder" / "recipes" / "faced-reader.yaml"
MODELS = ROOT / "model_recipes" / "recipes" / "tiny"
TYPES = ["F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faced", type=Path, help="folder of FACED; without it nothing is measured")
    parser.add_argument("--out", type=Path, default=Path("build/bench/quantised"), help="default: %(default)s")
    args = parser.parse_args()
    if args.faced is None:
        print("quantised: skipped, needs --faced", file=sys.stderr)
        return
    exported, evaluated = run(args.faced, args.out)
    rows = [compare(args.out, file, evaluated) for file in exported.facts["files"]]
    for row in rows:
        agreed = f"{row['label_agreement_with_F16']:.1%} of {row['trials']} trials"
        print(f"{row['type']:7s} {row['bytes'] / 1e6:.1f} MB  {agreed}")
    write_result(
        "quantised",
        question="do quantised files give the labels of the F16 file? New people, known clips, every row fits the type",
        parameters=exported.facts["parameters"],
        results=rows,
    )


def run(faced: Path, out: Path) -> tuple[Manifest, Manifest]:
    """Train, export and evaluate, unless that was done; return the manifests of files and evaluation."""
    build_corpus(load_recipe(CORPUS, CorpusRecipe), faced, out / "corpus")
    make_base(load_recipe(MODELS / "base-reader.yaml", BaseRecipe, ["tiny.hidden=256"]), out / "base", out / "corpus")
    train_reader(load_recipe(MODELS / "reader.yaml", ReaderRecipe), out / "base", out / "corpus", out / "reader")
    wanted = ["name=eeg-wide", f"types=[{','.join(TYPES)}]", "parity_prompts=200", "strict=true"]
    exported = export_gguf(
        load_recipe(MODELS / "gguf.yaml", GgufRecipe, wanted), out / "reader", out / "corpus", out / "gguf"
    )
    asked = load_recipe(MODELS / "evaluate.yaml", EvaluateRecipe, ["held_out_fold=null", "controls=off"])
    files = [out / "gguf" / f"eeg-wide-{name}.gguf" for name in TYPES]
    return exported, evaluate_models(asked, out / "corpus", files, out / "evaluation")


def compare(out: Path, file: dict[str, Any], evaluated: Manifest) -> dict[str, Any]:
    """Return how often a file's best label is that of the F16 file, and what it scores."""
    name = f"language model {file['type']}"
    labels, exact = (read_labels(out / "evaluation", kind) for kind in (file["type"], "F16"))
    score = evaluated.metric("balanced_accuracy", reader=name)
    assert score is not None
    return {
        "type": file["type"],
        "bytes": file["bytes"],
        "trials": len(labels),
        "label_agreement_with_F16": float((labels == exact).mean()),
        "balanced_accuracy": score.value,
        "balanced_accuracy interval": score.interval,
    }


def read_labels(folder: Path, kind: str) -> Any:
    """Return the best label of every trial."""
    table = pd.read_parquet(folder / f"predictions-language-model-{kind}.parquet")
    return table.set_index("row_id")[list(EMOTIONS)].to_numpy().argmax(axis=1)


if __name__ == "__main__":
    main()
