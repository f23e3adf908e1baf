"""Train a reader: ``eeg-copilot reader --base base --corpus eeg-emotion-copilot --out reader``."""

import argparse
from pathlib import Path

from dataset_builder.errors import CopilotError
from dataset_builder.recipe import load_recipe
from model_recipes.reader import ReaderRecipe, train_reader
from model_recipes.reading.judge import UNSEEN_SUBJECTS

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot reader", description="Train a whole model to read a code that states evidence for emotions."
    )
    parser.add_argument("--base", required=True, help="folder of the model to train")
    parser.add_argument("--corpus", required=True, help="corpus folder, of a recipe such as faced-reader")
    parser.add_argument("--out", default="reader", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--recipe", default=RECIPES / "tiny/reader.yaml", help="YAML recipe (default: tiny/reader.yaml)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, ReaderRecipe, overrides=args.set, shipped=RECIPES)
    manifest = train_reader(recipe, args.base, args.corpus, args.out, device=args.device)
    facts = manifest.facts
    print(f"{facts['rows']} rows, {facts['steps']} steps, {facts['tokens_per_second']:,.0f} tokens per second")
    for metric in manifest.metrics:
        if metric.name == "balanced_accuracy":
            low, high = metric.interval or (float("nan"), float("nan"))
            print(
                f"{metric.protocol}, {metric.split}: balanced accuracy {metric.value:.3f} [{low:.3f}, {high:.3f}], "
                f"chance {metric.chance:.3f}, n={metric.n}"
            )
            if metric.protocol == UNSEEN_SUBJECTS:
                print("  these clips were in training: most of that may be recognition of the clip")
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    # Started by accelerate launch or torchrun, past the command that turns our errors into one line.
    try:
        raise SystemExit(main())
    except CopilotError as error:
        raise SystemExit(f"error: {error}") from None
