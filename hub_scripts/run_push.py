"""Push a finished folder to the Hub: ``eeg-copilot push gguf demo/gguf --repo-id lab/eeg-copilot-GGUF``."""

import argparse

from huggingface_hub import HfApi

from cards.run_card import add_names, read_names
from dataset_builder.errors import InputError
from hub_scripts.payload import Payload, collect_payload
from hub_scripts.publish import Target, check_licence, push


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot push",
        description="Push a finished folder with its card and manifest to the Hub, in one commit. Without --yes it "
        "only shows what would be pushed and talks to nobody. New repositories are private.",
    )
    parser.add_argument("kind", choices=("dataset", "model", "adapter", "gguf"), help="what the folder holds")
    parser.add_argument("folder", metavar="FOLDER", help="folder of a finished stage")
    add_names(parser, required=True)
    parser.add_argument("--yes", action="store_true", help="really push")
    parser.add_argument("--public", action="store_true", help="make the repository public; needs --licence-confirmed")
    parser.add_argument("--licence-confirmed", action="store_true", help="you have read the licences and may publish")
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="branch (default: %(default)s)")
    parser.add_argument("--pr", action="store_true", help="propose the commit as a pull request")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if args.pr and args.revision != "main":
        raise InputError("--pr: a pull request goes to main; leave --revision away")
    payload = collect_payload(args.kind, args.folder, read_names(args), args.evaluation)
    check_licence(payload, public=args.public, confirmed=args.licence_confirmed)
    target = Target(repo_id=args.repo_id, revision=args.revision, public=args.public, create_pr=args.pr)
    print(describe_push(payload, target))
    if not args.yes:
        print("dry run: nothing was sent; add --yes to push")
        return 0
    outcome = push(payload, target, HfApi())
    if outcome.url is None:
        print("nothing changed: the repository already holds these files")
    else:
        print(f"pushed {len(outcome.uploaded)} files, removed {len(outcome.deleted)}: {outcome.url}")
    return 0


def describe_push(payload: Payload, target: Target) -> str:
    """Return the table that is shown before a push."""
    branch = "a pull request" if target.create_pr else target.revision
    lines = [
        f"to       {payload.repo_type} {target.repo_id}, {branch}, {'PUBLIC' if target.public else 'private if new'}",
        f"licence  {payload.licence}{', synthetic data' if payload.synthetic else ''}",
        *(f"{file.bytes:>13,} B  {file.name}" for file in payload.files),
        f"{sum(file.bytes for file in payload.files):>13,} B  in {len(payload.files)} files",
    ]
    return "\n".join(lines)
