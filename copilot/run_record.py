"""Draft a record: ``eeg-copilot record FILE --age 24 --sex F --model X.gguf --out record``."""

import argparse
from typing import NoReturn

from copilot.record import DEFAULT_FORMATS, FORMATS, Record
from copilot.record.types import NOTICE
from copilot.record_stage import RecordOptions, draft_record
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import validate


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all of ours."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{self.prog}: {message}")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = _Parser(
        prog="eeg-copilot record", description="Draft an assisted record of one EEG recording.", epilog=NOTICE
    )
    parser.add_argument("file", metavar="FILE", help="recording: .edf, .bdf, .fif, .set or .vhdr")
    parser.add_argument("--model", required=True, metavar="GGUF", help="model file written by eeg-copilot gguf")
    parser.add_argument("--age", type=int, help="age in years, 0 to 120 (not stated if left out)")
    parser.add_argument("--sex", choices=["F", "M"], help="sex (not stated if left out)")
    parser.add_argument("--synthetic", action="store_true", help="mark the recording as made up")
    parser.add_argument("--out", default="record", help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--format", nargs="+", choices=list(FORMATS), default=list(DEFAULT_FORMATS), help="default: json html"
    )
    parser.add_argument(
        "--fill-channels", choices=["spline", "learned"], help="reconstruct missing scalp channels (default: do not)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: its own choice)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    formats = list(dict.fromkeys(args.format))
    values = {"age": args.age, "sex": args.sex, "synthetic": args.synthetic, "formats": formats}
    values["fill_channels"] = args.fill_channels
    options = validate(RecordOptions, values, where="options")
    if args.threads is not None and args.threads < 1:
        raise RecipeError(f"--threads: found {args.threads}; accepted: 1 or more")
    record, manifest = draft_record(options, args.file, args.model, args.out, n_threads=args.threads)
    for line in _summary(record):
        print(line)
    print("files      " + ", ".join(f"{args.out}/{item.name}" for item in manifest.outputs))
    print(NOTICE)
    return 0


def _summary(record: Record) -> list[str]:
    """Return the few lines that the command prints."""
    estimate, quality = record.estimate, record.quality
    marked = ", ".join(quality.marked_channels) or "none"
    lines = [f"quality    {quality.usable_share:.0%} usable, bad channels: {marked}"]
    if estimate.abstained:
        return [f"estimate   none: {estimate.reason}", *lines]
    doubt = " (low confidence)" if estimate.low_confidence else ""
    lines.append(f"estimate   {estimate.emotion}{doubt}, mean of {record.recording.n_windows} windows; scores:")
    best = max(score.probability for score in estimate.scores)
    for score in estimate.scores:
        bar = "#" * round(24 * score.probability / best)
        lines.append(f"  {score.emotion:<12} {score.probability:>6.1%}  {bar}")
    lines += [f"caution    {caution}" for caution in estimate.cautions]
    return lines
