"""Read a live stream: ``eeg-copilot live --model X.gguf``."""

import argparse
import os
import shutil
import sys
from contextlib import closing, nullcontext
from typing import NoReturn

from copilot.live.estimate import LiveReader
from copilot.live.loop import Update, follow_stream
from copilot.live.lsl import open_stream, stay_on_this_machine
from copilot.live.view import describe_stream, redraw, render_json, render_line, render_update
from dataset_builder.errors import RecipeError
from dataset_builder.prompts import get_style
from dataset_builder.sparse import fill_before, find_reconstruction, list_missing
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import NOTICE, read_copilot_gguf


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all of ours."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{self.prog}: {message}")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = _Parser(
        prog="eeg-copilot live",
        description="Read emotion from a stream of the Lab Streaming Layer; nothing is kept.",
        epilog=NOTICE,
    )
    parser.add_argument("--model", required=True, metavar="GGUF", help="model file written by eeg-copilot gguf")
    parser.add_argument("--stream", metavar="NAME", help="name of the stream (default: the only one of type EEG)")
    parser.add_argument("--age", type=int, help="age in years, 0 to 120 (not stated if left out)")
    parser.add_argument("--sex", choices=["F", "M"], help="sex (not stated if left out)")
    parser.add_argument(
        "--fill-channels", choices=["spline", "learned"], help="reconstruct missing scalp channels (default: do not)"
    )
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between estimates (default: 2)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds to search (default: 10)")
    parser.add_argument("--duration", type=float, metavar="S", help="stop after so many seconds")
    parser.add_argument("--jsonl", action="store_true", help="write one line of JSON per estimate, for programs")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: its own choice)")
    parser.add_argument(
        "--lab-network", action="store_true", help="search the whole network; without it this machine alone"
    )
    parser.add_argument(
        "--any-interface",
        action="store_true",
        help="let the ports of the search be reached through every network card, where the system (not Linux) cannot "
        "prevent it",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    _check(args)
    try:
        with nullcontext() if args.lab_network else stay_on_this_machine(any_interface=args.any_interface):
            _follow(args)
    except KeyboardInterrupt:
        pass
    if not args.jsonl:
        print("stopped; nothing was kept")
    return 0


def _check(args: argparse.Namespace) -> None:
    positive = {
        "--every": args.every,
        "--timeout": args.timeout,
        "--duration": args.duration,
        "--threads": args.threads,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise RecipeError(f"{name}: found {value:g}; accepted: more than 0")
    if args.age is not None and not 0 <= args.age <= 120:
        raise RecipeError(f"--age: found {args.age}; accepted: 0 to 120")


def _follow(args: argparse.Namespace) -> None:
    model = read_copilot_gguf(args.model)
    with (
        closing(open_stream(args.stream, args.timeout)) as stream,
        Engine(args.model, args.threads, large_pages=True) as engine,
    ):
        codec, notes = model.codec, []
        if args.fill_channels and list_missing(stream.channels):
            filling = find_reconstruction(codec, args.fill_channels)
            codec, notes = fill_before(codec, filling), [f"{filling.tell(stream.channels)}."]
        source = (stream.channels, stream.sfreq_hz, stream.unit_uv)
        person = {"age": args.age, "sex": args.sex}
        reader = LiveReader(engine, codec, get_style(model.prompt), *source, **person, step_s=args.every, notes=notes)
        head = describe_stream(stream, model.name, window_s=reader.window_s, synthetic=model.synthetic)
        print("\n".join(head), file=sys.stderr if args.jsonl else sys.stdout, flush=True)
        before = 0
        for update in follow_stream(stream, reader, step_s=args.every, duration_s=args.duration):
            before = _show(update, before, jsonl=args.jsonl)


def _show(update: Update, before: int, *, jsonl: bool) -> int:
    """Show an update; return how many lines are to be drawn over next time."""
    if jsonl:
        print(render_json(update), flush=True)
        return 0
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        print(render_line(update), flush=True)
        return 0
    lines = render_update(update)
    print(redraw(lines, before, shutil.get_terminal_size().columns), flush=True)
    return len(lines)
