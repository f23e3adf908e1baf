"""De-identify recordings: ``eeg-copilot deidentify FILE... --out shared``."""

import argparse
from collections import Counter
from typing import NoReturn

from copilot.deid.stage import DeidentifyOptions, deidentify_recordings
from copilot.deid.statement import NOTICE
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import validate


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line and quote nothing, for file names can be people's."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{self.prog}: {message.partition(':')[0]}; see --help")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = _Parser(
        prog="eeg-copilot deidentify",
        description="Write recordings without names, dates, free text and file names; samples stay as they are.",
        epilog=NOTICE,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="recording: .edf, .bdf, .fif, .set or .vhdr")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument(
        "--keep-annotation", action="append", default=[], metavar="TEXT", help="let this annotation stay (repeatable)"
    )
    parser.add_argument("--keep-year", action="store_true", help="state the year of each recording in the statement")
    parser.add_argument("--key", metavar="CSV", help="write which file became what, to a place outside of --out")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    values = {"keep_annotations": args.keep_annotation, "keep_year": args.keep_year}
    options = validate(DeidentifyOptions, values, where="options")
    statement, _ = deidentify_recordings(args.files, args.out, options, args.key)
    removed: Counter[str] = Counter()
    for file in statement.files:
        removed.update(file.removed)
    print(f"files      {len(statement.files)}, numbered in an order that tells nothing")
    print("removed    " + ", ".join(f"{letter}: {count}" for letter, count in sorted(removed.items())))
    kept = sum(file.annotations_kept for file in statement.files)
    print(f"annotations {kept} kept, {sum(file.annotations_removed for file in statement.files)} removed")
    equal = sum(file.signals_equal for file in statement.files)
    print(f"samples    equal in {equal} of {len(statement.files)} files, the others copied but not compared")
    print(NOTICE)
    return 0
