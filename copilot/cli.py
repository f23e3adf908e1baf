"""The one command, ``eeg-copilot``: it only looks up which script to run, so that its help is instant.

Subcommands are named as text and imported when called. That keeps this shell above every package without importing any.
"""

import atexit
import errno
import gc
import os
import sys
from importlib import import_module

from dataset_builder.errors import CopilotError

#: Subcommand -> (module with ``main(argv)``, one line of help), in the order of the work.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("copilot.run_demo", "the whole path, from EEG to a drafted record and a report"),
    "synth": ("dataset_builder.run_synth", "write a synthetic cohort in FACED's release layout"),
    "corpus": ("dataset_builder.run_corpus", "EEG recordings -> chat corpus for load_dataset"),
    "export": ("dataset_builder.run_export_rows", "the corpus as JSON lines for other trainers"),
    "inspect": ("dataset_builder.run_inspect", "draw what the model reads of one trial: signal, code, decoded code"),
    "base": ("model_recipes.run_base", "fetch or build the base language model"),
    "prune": ("model_recipes.run_prune", "cut the base to a fraction of its parameters"),
    "recover": ("model_recipes.run_recover", "recover the pruned model's language on plain text"),
    "prune-report": ("model_recipes.run_prune_report", "one page: models before, after and recovered"),
    "pseudo-quantise": ("model_recipes.run_pseudo_quantise", "round the most important weights, or all others"),
    "adapter": ("model_recipes.run_adapter", "train a LoRA adapter on the corpus"),
    "reader": ("model_recipes.run_reader", "train a whole model to read evidence codes"),
    "merge": ("model_recipes.run_merge", "merge the adapter into the model"),
    "gguf": ("model_recipes.run_gguf", "export GGUF files for llama.cpp and check that they answer the same"),
    "ollama": (
        "model_recipes.run_ollama",
        "write the Modelfile and the Hub's files with which ollama asks a GGUF file",
    ),
    "evaluate": ("model_recipes.run_evaluate", "label accuracy beside chance and a linear probe"),
    "reproduce": ("copilot.run_reproduce", "a published result, or the paper's experiments, with its report"),
    "record": ("copilot.run_record", "one EEG recording -> drafted assisted record (JSON, HTML, PDF, FHIR)"),
    "review": ("copilot.run_review", "edit, sign and export a drafted record"),
    "app": ("copilot.run_app", "the copilot in the browser: open, check, read, edit, sign, export"),
    "live": ("copilot.run_live", "read emotion from a live LSL stream; nothing is kept"),
    "replay": ("copilot.run_replay", "play a recording as an LSL stream"),
    "deidentify": ("copilot.run_deidentify", "recordings without names, dates and free text; samples as they are"),
    "space": ("copilot.run_space", "a Gradio Space that shows the copilot on a made-up recording"),
    "card": ("cards.run_card", "render the Hub card of a finished folder"),
    "push": ("hub_scripts.run_push", "push a finished folder to the Hub (a dry run unless told otherwise)"),
}

#: What the machine refuses, or a user did to it; any other error of the system's is a mistake of ours and shown whole.
_REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG),
)

_HELP = """usage: eeg-copilot COMMAND [options]

Reads coded EEG with a small local language model, names the emotion that a film was to evoke, and drafts a record.
Research use only. Not a medical device.

{commands}

eeg-copilot COMMAND --help tells the options of a command. Start with: eeg-copilot demo
"""


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand and turn our errors into one line and exit code 2.

    Parameters
    ----------
    argv : list of str, optional
        Default: the process's arguments.

    Returns
    -------
    int
        0 on success, 2 for a user's error, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(help_text(), flush=True)
            return 0
        if argv[0] not in COMMANDS:
            raise CopilotError(f"unknown command {argv[0]!r}; known: {', '.join(COMMANDS)}")
        return _run(COMMANDS[argv[0]][0], argv[1:])
    except CopilotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: package {error.name} is missing; pip install 'eeg-emotion-copilot[all]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        why = os.strerror(error.errno)
        print(
            f"error: a file cannot be read or written ({why}); run the same command again when it can", file=sys.stderr
        )
        return 2


def _run(module: str, argv: list[str]) -> int:
    """Run a command's module; spare Python the search for garbage among imports, and among everything at the end.

    What is imported lives as long as the process; together the two searches were a tenth of the time of a record.
    """
    atexit.register(gc.freeze)
    gc.disable()
    try:
        command = import_module(module)
    finally:
        gc.enable()
    try:
        code = int(command.main(argv))
    except SystemExit:  # argparse, after --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()  # here a reader who has left is still told apart
    return code


def help_text() -> str:
    """Return the overview that ``eeg-copilot --help`` prints."""
    width = max(map(len, COMMANDS))
    return _HELP.format(commands="\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()))


if __name__ == "__main__":
    raise SystemExit(main())
