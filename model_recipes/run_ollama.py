"""Files for ollama: ``eeg-copilot ollama --gguf gguf/MODEL-Q4_K_M.gguf --out gguf``."""

import argparse

from model_recipes.exporting.ollama_files import write_ollama_files


def make_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="eeg-copilot ollama", description="Write the Modelfile and the Hub's template, system and params."
    )
    parser.add_argument("--gguf", required=True, metavar="FILE", help="model file written by eeg-copilot gguf")
    parser.add_argument("--out", default="ollama", help="folder to write into (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = make_parser().parse_args(argv)
    paths = write_ollama_files(args.gguf, args.out)
    print("wrote " + ", ".join(f"{args.out}/{path.name}" for path in paths))
    print(f"next  ollama create eeg-copilot -f {args.out}/Modelfile")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
