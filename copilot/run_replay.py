"""Play a recording as a stream: ``eeg-copilot replay FILE``, in one terminal, and ``eeg-copilot live`` in another."""

import argparse
import sys
from contextlib import nullcontext
from typing import NoReturn

from copilot.live.lsl import stay_on_this_machine
from copilot.live.replay import STREAM_NAME, open_replay, play_recording
from dataset_builder.errors import RecipeError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all of ours."""

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{self.prog}: {message}")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = _Parser(
        prog="eeg-copilot replay",
        description="Play a recording as a stream of the Lab Streaming Layer.",
        epilog="The stream is announced on this machine alone, and its ports take connections from it alone.",
    )
    parser.add_argument("file", metavar="FILE", help="recording: .edf, .bdf, .fif, .set or .vhdr")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="times real time (default: 1)")
    parser.add_argument(
        "--stream", default=STREAM_NAME, metavar="NAME", help="name of the stream (default: %(default)s)"
    )
    parser.add_argument("--repeat", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument("--wait", type=float, default=60.0, metavar="S", help="seconds to wait for a listener")
    parser.add_argument(
        "--lab-network", action="store_true", help="announce it in the whole network; without it on this machine alone"
    )
    parser.add_argument(
        "--any-interface",
        action="store_true",
        help="let the ports be reached through every network card, where the system (not Linux) cannot prevent it",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if not 0 < args.speed <= 100 or args.wait < 0:
        raise RecipeError("--speed, --wait: accepted: a speed above 0 and up to 100, a wait of 0 or more")
    raw = open_replay(args.file)
    local = nullcontext() if args.lab_network else stay_on_this_machine(any_interface=args.any_interface)
    with local as guard:
        print(f"stream {args.stream}: {len(raw.ch_names)} channels, {raw.info['sfreq']:g} Hz; Ctrl-C stops", flush=True)
        options = {"name": args.stream, "speed": args.speed, "repeat": args.repeat, "wait_s": args.wait}
        try:
            sent_s = play_recording(raw, **options, on_open=guard.sweep if guard else None, on_chunk=_show)
        except KeyboardInterrupt:
            print("\nstopped")
            return 0
    print(f"\n{sent_s:.0f} s sent")
    return 0


def _show(sent_s: float) -> None:
    if sys.stdout.isatty():
        print(f"\r{sent_s:7.1f} s sent", end="", flush=True)
