"""Evaluate models: ``eeg-copilot evaluate --corpus corpus --model merged --model x.gguf --out evaluation``."""

import argparse
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest
from dataset_builder.recipe import load_recipe
from dataset_builder.sources import SOURCES
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.evaluation.people import evaluate_people
from model_recipes.evaluation.protocols import PROTOCOL_NAMES
from model_recipes.evaluation.report import REPORT_FILE, format_table, tell_synthetic

RECIPES = Path(__file__).parent / "recipes"

#: Options that choose among the people of a folder, or the model under an adapter; a corpus has chosen.
_WITH_FACED = ("source", "subjects", "protocol", "base")


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot evaluate",
        description="Label accuracy of models beside chance, probes and controls: on a corpus' unseen people, or with "
        "--faced on the people of any folder in FACED's layout.",
    )
    add = parser.add_argument
    add(
        "--model", action="append", default=[], metavar="PATH", help="model folder, adapter or .gguf; repeat (--corpus)"
    )
    add("--corpus", help="corpus folder whose test people are scored; with --faced: the model's own, if it was moved")
    add("--faced", metavar="DIR", help="folder in FACED's layout whose people are scored with the model's own codec")
    add("--source", choices=sorted(SOURCES), help="layout of --faced (default: faced)")
    add("--subjects", metavar="LIST", help="with --faced: all, or names and ranges as 80-99,sub101 (default: all)")
    add(
        "--protocol",
        metavar="NAME",
        help="with --faced (default: auto): " + "; ".join(f"{name}: {what}" for name, what in PROTOCOL_NAMES.items()),
    )
    add("--base", metavar="PATH", help="with --faced: the model under an adapter, if it was moved")
    add("--out", default="evaluation", help="folder to write (default: %(default)s)")
    add("--threads", type=int, help="threads for .gguf files (default: physical cores less one)")
    add("--recipe", help="YAML recipe (default: tiny/evaluate.yaml; with --faced tiny/evaluate-people.yaml)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change one recipe key")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    check_arguments(args)
    default = "tiny/evaluate-people.yaml" if args.faced else "tiny/evaluate.yaml"
    recipe = load_recipe(args.recipe or RECIPES / default, EvaluateRecipe, overrides=args.set, shipped=RECIPES)
    print_summary(_evaluate(args, recipe))
    print(f"wrote {Path(args.out) / REPORT_FILE}")
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    InputError
    """
    if not args.faced and not args.corpus:
        raise InputError("evaluate: give --corpus (its unseen people) or --faced (the people of a folder)")
    if args.faced and len(args.model) != 1:
        raise InputError(f"--faced: takes one --model, found {len(args.model)}; each has a codec of its own")
    if not args.faced and (stray := [f"--{key}" for key in _WITH_FACED if getattr(args, key)]):
        raise InputError(f"{', '.join(stray)}: only with --faced")


def print_summary(manifest: Manifest) -> None:
    """Print the short table, the verdicts and the notes."""
    for note in manifest.notes:
        print(f"note: {note}")
    print(tell_synthetic(manifest.synthetic, manifest.facts) or f"split: {manifest.facts['split']}")
    print("\n".join(format_table(manifest.metrics)))
    for verdict in manifest.facts.get("verdicts", []):
        print(f"{verdict['reader']}, {verdict['protocol']}: {verdict['text']}")
        print(f"  {verdict['clips']}")


def _evaluate(args: argparse.Namespace, recipe: EvaluateRecipe) -> Manifest:
    if not args.faced:
        return evaluate_models(recipe, args.corpus, args.model, args.out, n_threads=args.threads)
    return evaluate_people(
        recipe,
        args.model[0],
        args.faced,
        args.out,
        subjects=args.subjects,
        protocol=args.protocol or "auto",
        source_name=args.source or "faced",
        base_dir=args.base,
        corpus_dir=args.corpus,
        n_threads=args.threads,
    )
