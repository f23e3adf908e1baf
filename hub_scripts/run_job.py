"""Show or start a job on rented machines: ``python -m hub_scripts.run_job FILE --bucket NAMESPACE/NAME``."""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from dataset_builder.errors import CopilotError, InputError
from hub_scripts.job_files import copy_project, make_job_command

#: Where the copy of the checkout lies that a job gets, below the checkout.
COPY = "build/job"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m hub_scripts.run_job",
        description="Print the hf command of a job file; with --yes start it, which costs money and sends a copy of "
        "the code. Recordings in the bucket leave your machine: never put there what you may not share with the Hub.",
    )
    parser.add_argument("file", help="YAML file of hub_scripts/jobs")
    parser.add_argument("--bucket", required=True, metavar="NAMESPACE/NAME", help="bucket with models and corpora")
    parser.add_argument("--project", default=".", metavar="DIR", help="checkout to install (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="start the job")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    try:
        if args.yes and shutil.which("hf") is None:
            raise InputError("--yes: no program hf on PATH; install it with: pip install huggingface_hub")
        command = make_job_command(args.file, args.bucket, str(Path(args.project) / COPY))
        copy_project(args.project, Path(args.project) / COPY)
    except CopilotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(shlex.join(command))
    return subprocess.run(command, check=False).returncode if args.yes else 0


if __name__ == "__main__":
    raise SystemExit(main())
