"""Draw what the model reads of one trial: ``eeg-copilot inspect --raw FACED --subject sub003 --clip 7``."""

import argparse
from pathlib import Path

from dataset_builder.alphabets import load_tokenizer
from dataset_builder.codecs import Codec, make_codec
from dataset_builder.corpus import CorpusRecipe, load_codec, open_source
from dataset_builder.errors import InputError
from dataset_builder.inspection import Subject, render_inspection
from dataset_builder.manifest import read_manifest, write_text
from dataset_builder.prompts import get_style
from dataset_builder.recipe import load_recipe, validate
from dataset_builder.sources.recordings import read_recording

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="eeg-copilot inspect", description="Draw what the model reads of one trial.")
    parser.add_argument("--raw", help="folder of the raw data; with --subject and --clip")
    parser.add_argument("--subject", help="pseudonym, for example sub003")
    parser.add_argument("--clip", type=int, help="stimulus number, from 1")
    parser.add_argument("--recording", help="one recording file instead (EDF, BDF, FIF, EEGLAB, BrainVision)")
    parser.add_argument("--window", type=int, default=1, help="30-s window of the recording (default: %(default)s)")
    parser.add_argument("--corpus", help="finished corpus: its recipe and its fitted codec are used")
    parser.add_argument("--recipe", help="YAML recipe instead of a corpus; for codecs that learn nothing")
    parser.add_argument("--tokenizer", help="tokenizer.json, or a model's folder, that counts the tokens")
    parser.add_argument("--out", default="inspect.html", help="page to write (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    recipe, codec = _load_codec(args)
    tokenizer = None if args.tokenizer is None else load_tokenizer(args.tokenizer)
    subject, index = _load_recording(args, codec) if args.recording else _load_subject(args, recipe, codec)
    page = render_inspection(subject, index, codec, get_style(recipe.prompt), tokenizer)
    write_text(Path(args.out), page)
    print(f"wrote {args.out}")
    return 0


def _load_codec(args: argparse.Namespace) -> tuple[CorpusRecipe, Codec]:
    if bool(args.corpus) == bool(args.recipe):
        raise InputError("inspect: give either --corpus or --recipe")
    if args.corpus:
        name = f"{Path(args.corpus).name}: recipe in its manifest"
        return validate(CorpusRecipe, read_manifest(args.corpus).recipe, name), load_codec(args.corpus)
    recipe = load_recipe(args.recipe, CorpusRecipe, shipped=RECIPES)
    codec = make_codec(recipe.codec)
    if codec.needs_fit:
        raise InputError(f"inspect: codec {codec.name} is fitted on training subjects; give --corpus, not --recipe")
    return recipe, codec


def _load_subject(args: argparse.Namespace, recipe: CorpusRecipe, codec: Codec) -> tuple[Subject, int]:
    if not args.raw or not args.subject or args.clip is None:
        raise InputError("inspect: give --raw, --subject and --clip, or --recording")
    source = open_source(recipe, args.raw)
    known = source.subjects()
    if args.subject not in known:
        raise InputError(f"--subject {args.subject}: not found; {len(known)} subjects are there, such as {known[0]}")
    recording = source.read(args.subject, codec.reads)
    waveforms = recording if recording.signal_uv is not None else None
    if waveforms is None:
        try:
            waveforms = source.read(args.subject, "signal_uv")
        except InputError:  # features alone are enough for most of the page, which says what it lacks
            waveforms = None
    subject = Subject(recording, waveforms)
    return subject, subject.find_trial(args.clip)


def _load_recording(args: argparse.Namespace, codec: Codec) -> tuple[Subject, int]:
    recording = read_recording(args.recording)
    if not 1 <= args.window <= len(recording):
        raise InputError(f"--window {args.window}: accepted: 1 to {len(recording)}")
    return Subject(recording, recording), args.window - 1
