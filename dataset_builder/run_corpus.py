"""Build a corpus from recordings: ``eeg-copilot corpus --raw FACED --out eeg-emotion-copilot``."""

import argparse
from pathlib import Path

from dataset_builder.corpus import REPORT_FILE, CorpusRecipe, build_corpus
from dataset_builder.recipe import load_recipe

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot corpus", description="Turn EEG recordings into a chat corpus.")
    parser.add_argument("--raw", required=True, help="folder of the raw data, for example a FACED download")
    parser.add_argument("--out", default="eeg-emotion-copilot", help="corpus folder to write (default: %(default)s)")
    parser.add_argument("--recipe", default=RECIPES / "faced-qa.yaml", help="YAML recipe (default: faced-qa.yaml)")
    parser.add_argument("--workers", type=int, default=1, help="processes that read (default: %(default)s)")
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="read on a Dask cluster: local, or a scheduler such as tcp://HOST:8786"
    )
    parser.add_argument("--tokenizer", help="tokenizer.json that the code's symbols are checked with and counted by")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe = load_recipe(args.recipe, CorpusRecipe, overrides=args.set, shipped=RECIPES)
    manifest = build_corpus(
        recipe, args.raw, args.out, workers=args.workers, tokenizer=args.tokenizer, cluster=args.cluster
    )
    for split, count in manifest.facts["splits"].items():
        print(f"{split:<11} {count['subjects']:>4} subjects {count['rows']:>6} rows")
    for reason, count in manifest.dropped.items():
        print(f"left out: {count} ({reason})")
    for subject in manifest.facts["subjects"]:
        if subject["state"] == "unreadable":
            print(f"unreadable: {subject['why']}")
    print(f"wrote {args.out}; how it came about is in {Path(args.out) / REPORT_FILE}")
    return 0
