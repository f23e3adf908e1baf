"""Publish a run on a server of this machine, then use it as a stranger would: ``python -m tests.hub_server.demo``.

The stranger has a virtual environment and a cache of its own, a token that owns nothing, and only the names of the
repositories; what it runs stands in their cards. Packages come from where pip gets them; nothing else leaves this
machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.hub_server import TOKEN, HubServer
from tests.hub_server.stranger import NEEDED, ROOT, Stranger, list_blocks

NAME = "lab/eeg-emotion-copilot"
#: Beside the card's own lines: every configuration, whole and as a stream. The stream is read to its end: threads of
#: pyarrow that still read ahead can abort an interpreter that exits.
LOAD = f"""
from datasets import get_dataset_config_names, load_dataset
for config in get_dataset_config_names("{NAME}"):
    data = load_dataset("{NAME}", config)
    print(config, {{split: table.num_rows for split, table in data.items()}})
    rows = list(load_dataset("{NAME}", config, split=list(data)[-1], streaming=True))
    print(len(rows), "rows as a stream, the first:", {{key: rows[0][key] for key in ("row_id", "emotion", "code")}})
"""
#: Characters of a line that are shown.
_SHOWN = 160


def tell(text: str) -> None:
    """Write lines at once, long ones cut."""
    for line in text.rstrip().splitlines():
        sys.stdout.write((line if len(line) <= _SHOWN else line[:_SHOWN] + " ...") + "\n")
    sys.stdout.flush()


def publish(server: HubServer, run: Path, home: Path) -> None:
    """Push all stages of a run, and again to show that nothing is sent twice."""
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home / "publisher")}
    env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    push = [sys.executable, "-m", "copilot.cli", "push", "all", str(run.resolve()), "--namespace", "lab", "--yes"]
    push += ["--tag", "v1", "--collection", "EEG Emotion Copilot"]
    for _ in range(2):
        done = subprocess.run(push, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise SystemExit(f"push failed:\n{done.stderr[-2000:]}")
        told = [line for line in done.stdout.splitlines() if line.startswith((NAME, "collection"))]
        tell("\n".join(f"  {line}" for line in told))


def open_doors(server: HubServer) -> None:
    """Do what the owner does on the web: show the repositories, and let the stranger through the gate."""
    for repo in server.repos.values():
        repo.private = False
        if repo.gated:
            repo.access["guest"] = "accepted"


def act(stranger: Stranger) -> None:
    """Load the data, download the model, let it answer: the lines of the cards, word for word."""
    show(stranger, "python", "every configuration, whole and as a stream", stranger.program(LOAD))
    stranger.run("hf", "download", NAME, "README.md", "--repo-type", "dataset", "--local-dir", "cards/dataset")
    for block in list_blocks((stranger.home / "cards/dataset/README.md").read_text(encoding="utf-8"), "python"):
        show(stranger, "python", block, stranger.program(block))
    stranger.run("hf", "download", f"{NAME}-GGUF", "README.md", "--local-dir", "cards/gguf")
    blocks = list_blocks((stranger.home / "cards/gguf/README.md").read_text(encoding="utf-8"), "bash")
    for line in blocks[0].splitlines():
        marked = f"{line} --synthetic" if line.startswith("eeg-copilot record") else line
        show(stranger, "shell", marked, stranger.run(*marked.split()))
    size = (stranger.home / "record" / "record.json").stat().st_size
    tell(f"  the record has {size:,} bytes; all numbers are from synthetic data")


def show(stranger: Stranger, kind: str, asked: str, told: str) -> None:
    """Write what was run and what it said, without the folder in which it lies."""
    tell("\n".join(f"{'$' if kind == 'shell' else '>>>'} {line}" for line in asked.strip().splitlines() if line))
    tell("\n".join(f"  {line}" for line in told.replace(f"{stranger.home}/", "").strip().splitlines()))


def main(argv: list[str] | None = None) -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub_server.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("demo"), help="folder of eeg-copilot demo (default: demo)")
    parser.add_argument("--out", type=Path, default=Path("hub-demo"), help="folder to write (default: hub-demo)")
    parser.add_argument("--this-venv", action="store_true", help="no new environment: quicker, but less of a proof")
    args = parser.parse_args(argv)
    if not (args.run / "gguf").is_dir() or not (args.run / "recording.edf").is_file():
        raise SystemExit(f"{args.run.name}: not a finished run; make one with: make demo")
    shutil.rmtree(args.out / "stranger", ignore_errors=True)  # made by an earlier demonstration
    shutil.rmtree(args.out / "publisher", ignore_errors=True)  # its memory of what another server once held
    began = time.monotonic()
    with HubServer(xet=True) as server:
        tell(f"publishing {args.run.name} on {server.url}")
        publish(server, args.run, args.out)
        open_doors(server)
        installed = "with this environment" if args.this_venv else f"after pip install '.[local]' {' '.join(NEEDED)}"
        stranger = Stranger(args.out / "stranger", server.url, fresh=not args.this_venv)
        tell(f"as a stranger, {installed}")
        shutil.copy(args.run / "recording.edf", stranger.home)
        try:
            act(stranger)
        except RuntimeError as error:
            raise SystemExit(f"the stranger's {error}") from None
        tell(f"done in {time.monotonic() - began:.0f} s and {len(server.requests)} requests, all on this machine")


if __name__ == "__main__":
    main()
