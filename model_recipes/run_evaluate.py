"""Evaluate models: ``eeg-copilot evaluate --corpus corpus --model merged --model x.gguf --out evaluation``."""

import argparse
from pathlib import Path

from dataset_builder.manifest import Metric
from dataset_builder.recipe import load_recipe
from model_recipes.evaluate import EvaluateRecipe, evaluate_models

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot evaluate", description="Label accuracy of models beside chance and linear probes."
    )
    parser.add_argument("--corpus", required=True, help="corpus folder")
    parser.add_argument("--model", action="append", default=[], metavar="PATH", help="model folder or .gguf; repeat")
    parser.add_argument("--out", default="evaluation", help="folder to write (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="threads for .gguf files (default: physical cores less one)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/evaluate.yaml", help="YAML recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, EvaluateRecipe, overrides=args.set)
    manifest = evaluate_models(recipe, args.corpus, args.model, args.out, n_threads=args.threads)
    for note in manifest.notes:
        print(f"note: {note}")
    print("synthetic data" if manifest.synthetic else f"split: {manifest.facts['split']}")
    for metric in manifest.metrics:
        if metric.name in ("accuracy", "balanced_accuracy", "valence_accuracy"):
            print(format_metric(metric))
    print(f"wrote {args.out}")
    return 0


def format_metric(metric: Metric) -> str:
    """Return one line of the summary."""
    low, high = metric.interval or (float("nan"), float("nan"))
    value = f"{metric.value:.3f} [{low:.3f}, {high:.3f}]  chance {metric.chance:.3f}  n={metric.n}"
    return f"{metric.reader:<28} {metric.protocol:<26} {metric.name:<18} {value}"
