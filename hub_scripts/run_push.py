"""Push finished folders to the Hub: ``eeg-copilot push gguf demo/gguf --repo-id lab/eeg-copilot-GGUF``."""

import argparse
import re
from pathlib import Path

from huggingface_hub import HfApi

from cards.run_card import add_names, read_names
from dataset_builder.errors import InputError
from hub_scripts.collection import Member, check_title, link_repositories
from hub_scripts.payload import PUSHABLE, Payload, collect_payload
from hub_scripts.publish import Outcome, Target, check_licence, push
from hub_scripts.stages import Item, list_items

_GATES = {"auto": "auto", "manual": "manual", "no": False, None: None}


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot push",
        description="Push a finished folder with its card and manifest to the Hub, in one commit; or with 'all' every "
        "stage of a run, each to its own repository. Without --yes it only shows what would be pushed and talks to "
        "nobody. New repositories are private, and new data sets are gated.",
    )
    parser.add_argument("kind", choices=(*PUSHABLE, "all"), help="what the folder holds")
    parser.add_argument("folder", metavar="FOLDER", help="folder of a finished stage; with all: of a whole run")
    add_names(parser)
    parser.add_argument("--namespace", metavar="NS", help="with all: user or organisation that the repositories get")
    parser.add_argument(
        "--name", default="eeg-emotion-copilot", help="with all: what the names begin with (default: %(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="really push")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--private", action="store_true", help="only you and your organisation see it (the default)")
    access.add_argument("--public", action="store_true", help="make the repository public; needs --licence-confirmed")
    parser.add_argument("--licence-confirmed", action="store_true", help="you have read the licences and may publish")
    parser.add_argument(
        "--gated",
        choices=("auto", "manual", "no"),
        help="who may read files: all who ask, those you let in, all who see it (default: manual for a new data set)",
    )
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="branch (default: %(default)s)")
    parser.add_argument("--pr", action="store_true", help="propose the commit as a pull request")
    parser.add_argument("--tag", metavar="VERSION", help="name of this version, such as v1; never moved later")
    parser.add_argument("--collection", metavar="TITLE", help="put the repositories into a collection of that title")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    _check_options(args)
    jobs = [(collect_payload(i.kind, i.folder, i.names, i.evaluations), _make_target(args, i)) for i in _list(args)]
    for payload, target in jobs:
        check_licence(payload, public=args.public, confirmed=args.licence_confirmed)
        print(describe_push(payload, target))
    if not args.yes:
        print("dry run: nothing was sent; add --yes to push")
        return 0
    api = HfApi()
    for payload, target in jobs:
        print(describe_outcome(target, push(payload, target, api)))
    if args.collection:
        members = [Member(target.repo_id, payload.repo_type) for payload, target in jobs]
        print(f"collection: {link_repositories(args.collection, members, api, public=args.public)}")
    return 0


def describe_push(payload: Payload, target: Target) -> str:
    """Return the table that is shown before a push."""
    branch = "a pull request" if target.create_pr else target.revision
    gate = "gated if new" if payload.kind == "dataset" else ""
    if target.gated is not None:
        gate = f"gated: {target.gated}" if target.gated else "not gated"
    where = [f"{payload.repo_type} {target.repo_id}", branch, "PUBLIC" if target.public else "private if new", gate]
    where += [f"tag {target.tag}"] if target.tag else []
    lines = [
        f"to       {', '.join(filter(None, where))}",
        f"licence  {payload.licence}{', synthetic data' if payload.synthetic else ''}",
        *(f"{file.bytes:>13,} B  {file.name}" for file in payload.files),
        f"{sum(file.bytes for file in payload.files):>13,} B  in {len(payload.files)} files",
    ]
    return "\n".join(lines)


def describe_outcome(target: Target, outcome: Outcome) -> str:
    """Return one line on what a push did."""
    if outcome.url is None:
        done = "nothing changed: the repository already holds these files"
    elif outcome.uploaded or outcome.deleted:
        done = f"pushed {len(outcome.uploaded)} files, removed {len(outcome.deleted)}: {outcome.url}"
    else:
        done = f"nothing sent: proposed already at {outcome.url}"
    return f"{target.repo_id}: {'; '.join((done, *outcome.notes))}"


def _check_options(args: argparse.Namespace) -> None:
    if args.pr and args.revision != "main":
        raise InputError("--pr: a pull request goes to main; leave --revision away")
    if args.pr and args.tag:
        raise InputError("--tag: a proposal is no version yet; tag it when it is merged")
    if args.gated and args.kind == "space":
        raise InputError("--gated: Spaces have no gate; keep it private")
    if args.tag is not None and not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,63}(?<![.])", args.tag):
        raise InputError(f"--tag: found {args.tag!r}, accepted letters, digits, '.', '_', '+', '-', such as v1.0")
    if args.collection is not None:
        check_title(args.collection)
    needed, unfit = ("--namespace", "--repo-id") if args.kind == "all" else ("--repo-id", "--namespace")
    values = {"--namespace": args.namespace, "--repo-id": args.repo_id}
    if not values[needed] or values[unfit]:
        raise InputError(f"push {args.kind}: needs {needed}, and not {unfit}")
    if args.kind == "all" and (args.base_model or args.dataset or args.evaluation):
        raise InputError("push all: --base-model, --dataset and --evaluation follow from the run; leave them away")


def _list(args: argparse.Namespace) -> list[Item]:
    if args.kind == "all":
        return list_items(args.folder, args.namespace, args.name, args.licence)
    return [Item(args.kind, Path(args.folder), read_names(args), tuple(args.evaluation))]


def _make_target(args: argparse.Namespace, item: Item) -> Target:
    gated = None if item.kind == "space" else _GATES[args.gated]
    return Target(
        repo_id=str(item.names.repo_id),
        revision=args.revision,
        public=args.public,
        gated=gated,  # type: ignore[arg-type]
        create_pr=args.pr,
        tag=args.tag,
    )
