"""Render the Hub card of a finished folder: ``eeg-copilot card demo/gguf --repo-id lab/eeg-copilot-GGUF``."""

import argparse
import sys
from pathlib import Path

from cards.names import CardNames
from cards.render import make_card
from dataset_builder.errors import InputError, StageError
from dataset_builder.manifest import read_manifest, write_bytes, write_text


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot card",
        description="Render the Hub card of a finished folder from its manifests. The folder is not changed: the card "
        "goes to the screen or to --out, and 'eeg-copilot push' renders it into the upload.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of a finished stage")
    parser.add_argument(
        "--out", metavar="FILE", help="write the card here, its pictures beside it, instead of printing it"
    )
    add_names(parser)
    return parser


def add_names(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the options for what no folder knows; `read_names` reads them."""
    parser.add_argument("--repo-id", required=required, metavar="NS/NAME", help="repository of this card")
    parser.add_argument("--base-model", metavar="NS/NAME", help="repository of the model that this one was made from")
    parser.add_argument("--dataset", metavar="NS/NAME", help="repository of the corpus")
    parser.add_argument(
        "--licence", metavar="ID", help="licence of the base model, where its manifest does not tell it"
    )
    parser.add_argument(
        "--evaluation",
        action="append",
        default=[],
        metavar="FOLDER",
        help="an evaluation whose numbers go into the card",
    )


def read_names(args: argparse.Namespace) -> CardNames:
    """Return the options of `add_names`."""
    return CardNames(args.repo_id, args.base_model, args.dataset, args.licence)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if args.out and Path(args.out).resolve().is_relative_to(Path(args.folder).resolve()):
        raise InputError(
            "--out: lies in the folder, whose files are listed by size in its manifest; choose another place"
        )
    card = make_card(args.folder, read_names(args), args.evaluation)
    if problems := card.lint([item.name for item in read_manifest(args.folder).outputs]):
        raise StageError("card: " + "; ".join(problems))
    if not args.out:
        sys.stdout.write(card.text)
        return 0
    for name, data in card.files.items():
        write_bytes(Path(args.out).parent / name, data)
    write_text(Path(args.out), card.text)
    print(f"wrote {args.out}" + (f" and {len(card.files)} files beside it" if card.files else ""))
    return 0
