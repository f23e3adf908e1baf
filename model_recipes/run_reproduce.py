"""Reproduce a result from EEG features on: ``eeg-copilot reproduce faced-reader --faced FACED --out run``."""

import argparse
import os
from collections.abc import Iterable
from typing import Any


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot reproduce",
        description="From FACED features to a trained reader, its GGUF files and a report, for known and new clips. "
        "Nothing is downloaded. Run it again to resume. Research use only, not a medical device.",
    )
    parser.add_argument(
        "experiment", choices=["faced-reader", "faced-reader-segments"], help="30-s trials, or 10-s segments"
    )
    parser.add_argument("--faced", required=True, metavar="DIR", help="folder in FACED's release layout")
    parser.add_argument("--out", default="reproduction", metavar="DIR", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--normalization",
        choices=["session", "none", "calibration", "causal"],
        help="which trials of a person set the scale of a reader's codes (default: session)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that read recordings (default: %(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="change one key of one stage's recipe, for example reader.seed=18",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the Hub's client is imported below
    from model_recipes.reproduce import ReproduceOptions, reproduce

    keys = ("experiment", "faced", "out", "normalization", "set")
    print(reproduce(ReproduceOptions(**pick_options(args, keys)), workers=args.workers))
    return 0


def pick_options(args: argparse.Namespace, keys: Iterable[str]) -> dict[str, Any]:
    """Return the options that were given; the others keep the defaults of what takes them."""
    return {key: value for key in keys if (value := getattr(args, key)) is not None}
