"""Prune a model: ``eeg-copilot prune --base base --out pruned``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.prune import PruneRecipe, plan_pruning, prune_model
from model_recipes.pruning.plan_table import format_plan

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot prune", description="Cut a model to a share of its parameters.")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--out", default="pruned", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/prune.yaml", help="YAML recipe (default: tiny/prune.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--params", metavar="N", help="budget: share or number of parameters to keep")
    budget.add_argument("--bytes", metavar="SIZE", help="budget: size as a Q4_K_M file, for example 150MB")
    parser.add_argument("--plan-only", action="store_true", help="print the shapes that are possible, and stop")
    parser.add_argument("--corpus", help="corpus folder whose words stay in a cut vocabulary")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def list_overrides(args: argparse.Namespace) -> list[str]:
    """Return the changes of recipe keys that the options ask for; a budget replaces the recipe's own."""
    for name in ("params", "bytes"):
        if (value := getattr(args, name)) is not None:
            return ["ratio=null", "shape={}", f"budget={{{name}: {value}}}", *args.set]
    return list(args.set)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, PruneRecipe, overrides=list_overrides(args), shipped=RECIPES)
    if args.plan_only:
        print(format_plan(plan_pruning(recipe, args.base)))
        return 0
    manifest = prune_model(recipe, args.base, args.out, args.corpus, device=args.device)
    before, after = manifest.facts["before"]["parameters"], manifest.facts["model"]["parameters"]
    print(f"{before:,} -> {after:,} parameters ({after / before:.1%}); {manifest.facts['plan']['reason']}")
    perplexity = manifest.metrics[0]
    print(f"perplexity {perplexity.value:.4g} on {perplexity.split} ({perplexity.n} tokens)")
    print(f"wrote {args.out}")
    return 0
