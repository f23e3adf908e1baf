"""Round some weights of a model: ``eeg-copilot pseudo-quantise --model recovered --out pseudo-quantised``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.pseudo_quantise import PseudoQuantiseRecipe, pseudo_quantise_model

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot pseudo-quantise",
        description="Round the most important weights of a model, or all others, to few levels and back.",
    )
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--out", default="pseudo-quantised", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--recipe",
        default=RECIPES / "tiny/pseudo-quantise.yaml",
        help="YAML recipe (default: tiny/pseudo-quantise.yaml)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, PseudoQuantiseRecipe, overrides=args.set, shipped=RECIPES)
    manifest = pseudo_quantise_model(recipe, args.model, args.out, device=args.device)
    facts, (after, before) = manifest.facts["pseudo_quantised"], manifest.metrics
    print(
        f"{facts['rounded']:,} of {facts['weights']:,} weights rounded ({facts['rounded_share']:.1%}); a file would "
        f"take {facts['bytes'] / 1e6:.4g} MB, without rounding {facts['bytes_f16'] / 1e6:.4g} MB"
    )
    print(f"perplexity {before.value:.4g} -> {after.value:.4g} on {after.split} ({after.n} tokens)")
    print(f"wrote {args.out}")
    return 0
