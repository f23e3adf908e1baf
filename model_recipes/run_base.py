"""Fetch or make the base model: ``eeg-copilot base --corpus eeg-emotion-copilot --out base``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.base import BaseRecipe, make_base

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot base",
        description="Bring a base language model into one form: tiny, smollm2, a Hub id or a model folder.",
    )
    parser.add_argument("--corpus", help="corpus folder; needed by the tiny base")
    parser.add_argument("--cache", help="folder that keeps the download of smollm2")
    parser.add_argument("--out", default="base", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/base.yaml", help="YAML recipe (default: tiny/base.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, BaseRecipe, overrides=args.set, shipped=RECIPES)
    manifest = make_base(recipe, args.out, corpus_dir=args.corpus, cache_dir=args.cache)
    print(f"{manifest.facts['model']['parameters']:,} parameters")
    perplexity = manifest.metrics[0]
    print(f"perplexity {perplexity.value:.4g} on {perplexity.split} ({perplexity.n} tokens)")
    print(f"wrote {args.out}")
    return 0
