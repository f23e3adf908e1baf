"""Write a corpus for another trainer: ``eeg-copilot export --corpus DIR --format alpaca --out DIR``."""

import argparse

from dataset_builder.exports import ROW_FORMATS, ExportRecipe, export_rows
from dataset_builder.recipe import validate


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot export", description="Write a corpus as JSON lines in the row format of another trainer."
    )
    parser.add_argument("--corpus", required=True, help="corpus folder to read")
    parser.add_argument("--format", choices=list(ROW_FORMATS), default="messages", help="default: %(default)s")
    parser.add_argument("--out", required=True, help="folder to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    manifest = export_rows(validate(ExportRecipe, {"format": args.format}, where="options"), args.corpus, args.out)
    for split, count in manifest.facts["splits"].items():
        print(f"{split:<11} {count:>6} rows")
    print(f"wrote {args.out}")
    return 0
