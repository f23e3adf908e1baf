"""Reproduce a result: ``eeg-copilot reproduce faced-reader|paper --faced FACED --out run``."""

import argparse
import os

from dataset_builder.errors import InputError
from model_recipes import run_reproduce

#: The experiment that ends with a record, which only this package can draft.
PAPER = "paper"

#: Options that only the paper's experiments take, and those that only a reader takes.
_OF_PAPER, _OF_READERS = ("base", "budget", "larger", "text"), ("normalization",)


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options: those of the readers, and what the paper's experiments take besides."""
    parser = run_reproduce.make_parser()
    parser.description = (
        "From FACED to a report: a reader for known and for new clips, or the paper's experiments (paper: signal "
        "length, retraining orders, five steps, model sizes, one record) beside its claims. Nothing is downloaded "
        "unless a base is named by a Hub id. Run it again to resume. Research use only, not a medical device."
    )
    (experiment,) = (action for action in parser._actions if action.dest == "experiment")
    experiment.choices = [*(experiment.choices or ()), PAPER]
    experiment.help = f"{experiment.help}, or the paper's experiments"
    only = parser.add_argument_group("only with paper")
    only.add_argument("--base", help="tiny, smollm2, a Hub id or a model folder (default: tiny)")
    only.add_argument(
        "--budget",
        choices=["small", "full"],
        help="36 people and few steps, or everything as published (default: small)",
    )
    only.add_argument(
        "--larger",
        action="append",
        default=[],
        metavar="BASE",
        help="Hub id or folder of a larger base to stand beside",
    )
    only.add_argument("--text", metavar="PATH", help="plain text to recover on, instead of the recipe's")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    check_arguments(args)
    if args.experiment != PAPER:
        return run_reproduce.main(argv)
    if args.base in (None, "tiny", "smollm2") and not args.larger:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the Hub's client is imported below
    from copilot.paper import PaperOptions, reproduce_paper

    options = PaperOptions(**run_reproduce.pick_options(args, ("faced", "out", *_OF_PAPER, "set")))
    print(reproduce_paper(options, workers=args.workers))
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse options that the experiment does not take.

    Raises
    ------
    InputError
    """
    foreign, owner = (_OF_READERS, "a reader") if args.experiment == PAPER else (_OF_PAPER, PAPER)
    if stray := [f"--{key}" for key in foreign if getattr(args, key)]:
        raise InputError(f"{', '.join(stray)}: only with {owner}; found {args.experiment}")
