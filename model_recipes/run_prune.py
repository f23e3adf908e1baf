"""Prune a model: ``eeg-copilot prune --base base --out pruned``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.prune import PruneRecipe, prune_model

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot prune", description="Cut a model to a share of its parameters.")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--out", default="pruned", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/prune.yaml", help="YAML recipe (default: tiny/prune.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, PruneRecipe, overrides=args.set)
    manifest = prune_model(recipe, args.base, args.out, device=args.device)
    before, after = manifest.facts["before"]["parameters"], manifest.facts["model"]["parameters"]
    print(f"{before:,} -> {after:,} parameters ({after / before:.1%}); {manifest.facts['plan']['reason']}")
    perplexity = manifest.metrics[0]
    print(f"perplexity {perplexity.value:.4g} on {perplexity.split} ({perplexity.n} tokens)")
    print(f"wrote {args.out}")
    return 0
