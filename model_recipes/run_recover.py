"""Recover a pruned model: ``eeg-copilot recover --model pruned --teacher base --out recovered``."""

import argparse
from pathlib import Path

from dataset_builder.errors import CopilotError
from dataset_builder.recipe import load_recipe
from model_recipes.recover import RecoverRecipe, recover_model
from model_recipes.training.distributed import is_main_process

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot recover", description="Train a pruned model on text, led by the unpruned one."
    )
    parser.add_argument("--model", required=True, help="folder of the pruned model")
    parser.add_argument("--teacher", required=True, help="folder of the unpruned model")
    parser.add_argument("--corpus", help="corpus folder; needed where rows_share is above 0")
    parser.add_argument("--out", default="recovered", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--recipe", default=RECIPES / "tiny/recover.yaml", help="YAML recipe (default: tiny/recover.yaml)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, RecoverRecipe, overrides=args.set, shipped=RECIPES)
    manifest = recover_model(recipe, args.model, args.teacher, args.out, corpus_dir=args.corpus, device=args.device)
    if not is_main_process():
        return 0
    perplexity = manifest.metrics[0]
    print(f"perplexity {perplexity.value:.4g} on {perplexity.split} ({perplexity.n} tokens)")
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    # Started by accelerate launch or torchrun, past the command that turns our errors into one line.
    try:
        raise SystemExit(main())
    except CopilotError as error:
        raise SystemExit(f"error: {error}") from None
