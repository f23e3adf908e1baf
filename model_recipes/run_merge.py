"""Merge an adapter: ``eeg-copilot merge --model recovered --adapter adapter --out merged``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.merge import MergeRecipe, merge_adapter

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot merge", description="Merge an adapter into its model.")
    parser.add_argument("--model", required=True, help="folder of the model that the adapter was trained on")
    parser.add_argument("--adapter", required=True, help="folder of the adapter")
    parser.add_argument("--out", default="merged", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/merge.yaml", help="YAML recipe (default: tiny/merge.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, MergeRecipe, overrides=args.set, shipped=RECIPES)
    manifest = merge_adapter(recipe, args.model, args.adapter, args.out)
    print(f"largest difference of logits {manifest.facts['merge_max_difference']:.2g}")
    print(f"wrote {args.out}")
    return 0
