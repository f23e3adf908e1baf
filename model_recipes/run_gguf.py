"""Export GGUF files: ``eeg-copilot gguf --model merged --corpus eeg-emotion-copilot --out gguf``."""

import argparse
from pathlib import Path

from dataset_builder.recipe import load_recipe
from model_recipes.gguf import GgufRecipe, export_gguf

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot gguf", description="Export a merged model as GGUF files.")
    parser.add_argument("--model", required=True, help="folder of the merged model")
    parser.add_argument("--corpus", required=True, help="corpus folder that the model was trained on")
    parser.add_argument("--out", default="gguf", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/gguf.yaml", help="YAML recipe (default: tiny/gguf.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, GgufRecipe, overrides=args.set)
    manifest = export_gguf(recipe, args.model, args.corpus, args.out)
    for file in manifest.facts["files"]:
        agreement = manifest.metric("label_agreement", reader=f"GGUF {file['type']}")
        checked = f"same best label in {agreement.value:.0%} of {agreement.n} prompts" if agreement else ""
        size = f"{file['bytes'] / 1e6:>8.1f} MB {file['bits_per_weight']:>6.2f} bits/weight"
        print(f"{file['name']:<40} {size}  {checked}")
        if file["fallback_tensors"]:
            print(f"  {file['fallback_tensors']} tensors take more bits than asked: their rows do not fit the blocks")
    print(f"wrote {args.out}")
    return 0
