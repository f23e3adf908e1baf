"""Export GGUF files: ``eeg-copilot gguf --model merged --corpus eeg-emotion-copilot --out gguf``."""

import argparse
from pathlib import Path

from dataset_builder.manifest import Manifest
from dataset_builder.recipe import load_recipe
from model_recipes.gguf import GgufRecipe, export_gguf

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot gguf", description="Export a merged model as GGUF files.")
    parser.add_argument("--model", required=True, help="folder of the merged model")
    parser.add_argument("--corpus", required=True, help="corpus folder that the model was trained on")
    parser.add_argument(
        "--adapter", metavar="DIR", help="also write this LoRA adapter, which the model was merged with"
    )
    parser.add_argument("--strict", action="store_true", help="refuse a model whose rows do not fit a type")
    parser.add_argument("--out", default="gguf", help="folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "tiny/gguf.yaml", help="YAML recipe (default: tiny/gguf.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    flags = [f"{name}=true" for name in ("strict", "adapter") if getattr(args, name)]
    recipe = load_recipe(args.recipe, GgufRecipe, overrides=[*args.set, *flags], shipped=RECIPES)
    manifest = export_gguf(recipe, args.model, args.corpus, args.out, args.adapter)
    for file in manifest.facts["files"]:
        size = f"{file['bytes'] / 1e6:>8.1f} MB {file['bits_per_weight']:>6.2f} bits/weight"
        print(f"{file['name']:<40} {size}  {_describe_check(manifest, file['type'])}")
        if file["fallback_tensors"]:
            print(f"  {file['fallback_tensors']} tensors take more bits than asked: their rows do not fit the blocks")
    print(f"wrote {args.out}; all numbers in {args.out}/report.html")
    return 0


def _describe_check(manifest: Manifest, file_type: str) -> str:
    reader = f"GGUF {file_type}"
    agreement, kl = manifest.metric("label_agreement", reader=reader), manifest.metric("kl_divergence", reader=reader)
    if agreement is None or kl is None:
        return ""
    return f"same best label in {agreement.value:.0%} of {agreement.n} prompts, KL {kl.value:.2g} nats"
