"""Write a synthetic cohort in FACED's release layout: ``eeg-copilot synth OUT --subjects 24 --seed 17``."""

import argparse

from dataset_builder.recipe import validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot synth",
        description="Write a made-up cohort in FACED's release layout. Nobody was recorded; results on it say nothing "
        "about people. Research use only, not a medical device.",
    )
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--subjects", type=int, default=24, help="how many subjects (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=17, help="default: %(default)s")
    parser.add_argument(
        "--signals",
        type=_parse_signals,
        default=2,
        metavar="all|N|SUB,SUB",
        help="who gets waveforms, 54 MB each: all, the first N, or pseudonyms (default: %(default)s)",
    )
    parser.add_argument(
        "--features",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write band features, or not, which needs --signals all",
    )
    parser.add_argument(
        "--raw",
        type=int,
        default=0,
        metavar="N",
        help="the first N subjects get continuous recordings (BDF) with short films, 23 to 92 MB each "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--effect",
        type=float,
        default=1.0,
        help="strength of the planted effects: 1 as weak as on FACED, 0 none, at most 4 (default: %(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    values = {key: getattr(args, key) for key in SynthRecipe.model_fields}
    manifest = write_cohort(validate(SynthRecipe, values, where="eeg-copilot synth"), args.out)
    facts = manifest.facts
    print(
        f"{facts['subjects']} synthetic subjects, {facts['with_waveforms']} with waveforms, {facts['clips']} clips each"
    )
    print(f"wrote {args.out}")
    return 0


def _parse_signals(text: str) -> str | int | list[str]:
    if text.isdigit():
        return int(text)
    return text if text == "all" else text.split(",")


if __name__ == "__main__":
    raise SystemExit(main())
