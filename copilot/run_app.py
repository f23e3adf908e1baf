"""Serve the page: ``eeg-copilot app --model demo/gguf``."""

import argparse
import sys
from pathlib import Path

from dataset_builder.errors import InputError, RecipeError


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot app",
        description="Open a recording, see whether its signal is usable, read a draft, edit, sign and save it, in the "
        "browser and on this computer only: the page is served at 127.0.0.1, nothing is sent anywhere and nothing is "
        "kept. Research use only, not a medical device.",
    )
    parser.add_argument(
        "--model",
        nargs="+",
        type=Path,
        metavar="GGUF",
        help="model files written by eeg-copilot gguf, or folders with some (default: those of ./demo and ./)",
    )
    parser.add_argument("--port", type=int, metavar="N", help="port (default: the first free one from 7860 on)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page, only print its address")
    parser.add_argument("--max-mb", type=int, default=1024, help="largest file accepted, MB (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: its own choice)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    _check(args)
    from copilot.app.serving import serve_page

    serve_page(
        args.model,
        sys.stdout,
        port=args.port,
        inbrowser=not args.no_browser,
        max_mb=args.max_mb,
        n_threads=args.threads,
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is imported."""
    for place in args.model or ():
        if not place.exists():
            raise InputError(
                f"--model {place.name}: no such file or folder; accepted: GGUF files and folders with some"
            )
    if args.port is not None and not 1 <= args.port <= 65535:
        raise RecipeError(f"--port: found {args.port}; accepted: 1 to 65535")
    if args.max_mb < 1:
        raise RecipeError(f"--max-mb: found {args.max_mb}; accepted: 1 or more")
    if args.threads is not None and args.threads < 1:
        raise RecipeError(f"--threads: found {args.threads}; accepted: 1 or more")
