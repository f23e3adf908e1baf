"""Train a LoRA adapter: ``eeg-copilot adapter --model recovered --corpus eeg-emotion-copilot --out adapter``."""

import argparse
from pathlib import Path

from dataset_builder.errors import CopilotError
from dataset_builder.recipe import load_recipe
from model_recipes.adapter import AdapterRecipe, train_adapter
from model_recipes.training.distributed import is_main_process

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot adapter", description="Train a LoRA adapter on the corpus.")
    parser.add_argument("--model", required=True, help="folder of the model to adapt")
    parser.add_argument("--corpus", required=True, help="corpus folder")
    parser.add_argument("--out", default="adapter", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--recipe", default=RECIPES / "tiny/adapter.yaml", help="YAML recipe (default: tiny/adapter.yaml)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, AdapterRecipe, overrides=args.set, shipped=RECIPES)
    manifest = train_adapter(recipe, args.model, args.corpus, args.out, device=args.device)
    if not is_main_process():
        return 0
    print(f"{manifest.facts['rows']} rows, {manifest.facts['trainable_parameters']:,} trainable parameters")
    if loss := manifest.facts.get("label_loss"):
        print(f"label loss on validation rows {loss['before']} -> {loss['after']} {loss['unit']}")
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    # Started by accelerate launch or torchrun, past the command that turns our errors into one line.
    try:
        raise SystemExit(main())
    except CopilotError as error:
        raise SystemExit(f"error: {error}") from None
