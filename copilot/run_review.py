"""Review a drafted record: ``eeg-copilot review record --set assessment.text=... --sign --name N --role R``."""

import argparse
from pathlib import Path
from typing import NoReturn

from copilot.record import FORMATS, name_file
from copilot.record.crisis import load_card
from copilot.record.review import AUDIT, Review
from copilot.record.review_files import load_review, save_review
from copilot.record.signing import load_checklist
from copilot.record.types import NOTICE
from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import write_bytes

#: Python reads no number of thousands of digits, and no field accepts one of more than these.
_MAX_DIGITS = 9


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all of ours."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{self.prog}: {message}")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    checks = "; ".join(f"{key}: {sentence}" for key, sentence in load_checklist().items())
    parser = _Parser(prog="eeg-copilot review", description="Edit, sign and export a drafted record.", epilog=NOTICE)
    parser.add_argument("folder", metavar="FOLDER", help="folder that eeg-copilot record wrote")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field (repeatable)")
    parser.add_argument("--note", action="append", default=[], metavar="TEXT", help="add a note (repeatable)")
    parser.add_argument("--hand-off", nargs=2, metavar=("TO", "WHEN"), help="who took over, and when (ISO 8601)")
    parser.add_argument("--role", default="", help="your role, such as psychologist; needed for every change")
    parser.add_argument("--name", default="", help="your name; needed to sign and to amend")
    parser.add_argument("--reason", default="", help="why a signed record is amended")
    parser.add_argument("--sign", action="store_true", help="sign the record; needs --name, --role and --checked")
    parser.add_argument("--checked", nargs="+", default=[], metavar="KEY", help=f"what you confirm. {checks}")
    parser.add_argument("--export", nargs="+", choices=[*FORMATS, AUDIT], default=[], help="formats to write")
    parser.add_argument("--out", metavar="DIR", help="where exports go (default: FOLDER/exports)")
    parser.add_argument("--locale", default="en", help="of the crisis card, such as en-US (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    review = load_review(args.folder)
    steps = len(review.log.entries)
    apply_changes(review, args)
    files = {name: review.export(name) for name in args.export}
    if len(review.log.entries) > steps:
        save_review(review, args.folder)
    out = Path(args.out) if args.out else Path(args.folder) / "exports"
    for name, data in files.items():
        write_bytes(out / name_file(name), data)
    for line in (*describe_review(review), *_name_crisis_card(review, args.locale)):
        print(line)
    if files:
        print("files      " + ", ".join(str(out / name_file(name)) for name in files))
    print(review.record.notice)
    return 0


def apply_changes(review: Review, args: argparse.Namespace) -> None:
    """Do what the options ask for, in the order: fields, notes, hand-off, signature.

    Raises
    ------
    InputError
        If one of them is refused; nothing is written then.
    """
    who = {"role": args.role, "name": args.name, "reason": args.reason}
    if args.hand_off and review.record.signed:
        review.record_handoff(*args.hand_off, **who)
    for text in args.set:
        field, sign, value = text.partition("=")
        if not sign:
            raise InputError(f"--set {field}: found no =; accepted: FIELD=VALUE")
        review.edit(field, parse_value(field, value), **who)
    for note in args.note:
        review.add_note(note, **who)
    if args.hand_off and not review.record.signed:
        review.record_handoff(*args.hand_off, **who)
    if args.sign:
        review.sign(args.name, args.role, args.checked)


def parse_value(field: str, value: str) -> object:
    """Return what a field takes from text: a list for suggestions, a number for items of sections, else the text."""
    if field == "suggestions":
        return [part.strip() for part in value.split(",") if part.strip()]
    if field == "assessment.text":
        return value.replace("\\n", "\n")
    if not value.strip():
        return None
    text = value.strip()
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else text


def describe_review(review: Review) -> list[str]:
    """Return the few lines that the command prints."""
    lines = [f"status     {review.status}, {len(review.log.entries)} entries in the audit log"]
    for state in review.list_fields():
        shown = ", ".join(state.value) if isinstance(state.value, list) else state.value
        value = "not stated" if shown in (None, "") else str(shown).replace("\n", " ")
        lines.append(f"{state.origin:<10} {state.field} = {value}")
    if not review.record.signed:
        lines += [f"to sign    {obstacle}" for obstacle in review.list_obstacles()]
    return lines


def _name_crisis_card(review: Review, locale: str) -> list[str]:
    """Return the crisis card while nobody has taken over."""
    if not review.needs_handoff:
        return []
    card = load_card(locale)
    lines = [" ".join(part for part in (line.text, line.contact) if part) for line in card.lines]
    return [f"NOW        {line}" for line in (card.title + ".", *lines, card.handoff)]
