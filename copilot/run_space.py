"""Write the folder of a Gradio Space: ``eeg-copilot space --gguf demo/gguf/NAME.gguf --out demo/space``."""

import argparse

from dataset_builder.recipe import validate


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot space",
        description="Write the folder of a Gradio Space that shows the interface with a model and a made-up recording. "
        "Try it with: python OUT/app.py. Publish it with: eeg-copilot push space OUT --repo-id NAMESPACE/NAME.",
    )
    parser.add_argument("--gguf", required=True, metavar="FILE", help="small model file written by eeg-copilot gguf")
    parser.add_argument("--out", default="space", help="folder to write (default: %(default)s)")
    parser.add_argument("--title", help="the Space's title")
    parser.add_argument("--licence", help="the Hub's identifier of the code's licence")
    parser.add_argument(
        "--requirement",
        metavar="SPEC",
        help="how pip finds this project there, for example 'eeg-emotion-copilot[app] @ git+https://...'",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    from copilot.space import SpaceRecipe, build_space

    given = {"title": args.title, "licence": args.licence, "requirement": args.requirement}
    recipe = validate(SpaceRecipe, {key: value for key, value in given.items() if value is not None}, where="options")
    manifest = build_space(recipe, args.gguf, args.out)
    size = sum(item.bytes for item in manifest.outputs)
    print(
        f"wrote {args.out}: {len(manifest.outputs)} files, {size / 1e6:.1f} MB; try it with: python {args.out}/app.py"
    )
    return 0
