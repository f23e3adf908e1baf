"""One page of a pruning: ``eeg-copilot prune-report recovered --out pruning.html``."""

import argparse
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import write_text
from model_recipes.pruning.report import read_entries, render_prune_report, tell_results


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot prune-report",
        description="Show shapes, costs and perplexity of pruned models beside those they were made from, on one page.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folders of finished models; ancestors are found")
    parser.add_argument("--out", default="pruning.html", help="page to write (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    out = Path(args.out)
    if out.is_dir():
        raise InputError(f"{out.name}: is a folder; a file is written here")
    entries = read_entries(args.models)
    write_text(out, render_prune_report(entries))
    for sentence in tell_results(entries):
        print(sentence)
    print(f"wrote {args.out}")
    return 0
