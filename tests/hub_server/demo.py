"""Publish a run on a server of this machine, then use it as a stranger would: ``python -m tests.hub_server.demo``.

The stranger has a virtual environment and a cache of its own, a token that owns nothing, and only the names of the
repositories. Packages for the environment come from where pip gets them; nothing else leaves this machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.hub_server import READER_TOKEN, TOKEN, HubServer

ROOT = Path(__file__).parents[2]
NAME = "lab/eeg-emotion-copilot"
#: What the stranger runs in Python, word for word as on the data set's card.
LOAD = f"""
from datasets import get_dataset_config_names, load_dataset
for config in get_dataset_config_names("{NAME}"):
    data = load_dataset("{NAME}", config)
    print(config, {{split: table.num_rows for split, table in data.items()}})
    split = next(iter(data))
    row = next(iter(load_dataset("{NAME}", config, split=split, streaming=True)))
    print("first row, as a stream:", {{key: str(value)[:60] for key, value in list(row.items())[:4]}})
"""


class Stranger:
    """Somebody on another machine, or nearly so.

    Parameters
    ----------
    home : Path
        New folder for environment, cache and files.
    url : str
        Where the Hub is.
    fresh : bool
        Whether to install into a new environment instead of using this one.
    """

    def __init__(self, home: Path, url: str, *, fresh: bool) -> None:
        home.mkdir(parents=True)
        self.home, self.python = home.resolve(), Path(sys.executable)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTHON", "VIRTUAL_"))}
        if fresh:
            self.python = self.home / "venv" / "bin" / "python"
            self._install(kept)
        self.env = kept | {
            "HF_ENDPOINT": url,
            "HF_TOKEN": READER_TOKEN,
            "HF_HOME": str(self.home / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "PATH": f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}",
        }

    def _install(self, env: dict[str, str]) -> None:
        venv.create(self.home / "venv", with_pip=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--constraint", str(ROOT / "constraints.txt"), f"{ROOT}[corpus,local,hub]"]
        subprocess.run(pip, env=env, check=True)

    def run(self, *command: str) -> str:
        """Run a command in the stranger's folder, show it and what it says, and return that."""
        shown = [Path(part).name if part.startswith("/") else part.strip().splitlines()[0] for part in command]
        tell(f"$ {' '.join(shown)}")
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
        for line in done.stdout.strip().splitlines():
            tell(f"  {line}")
        return done.stdout


def tell(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def publish(server: HubServer, run: Path, home: Path) -> None:
    """Push all stages of a run, and again to show that nothing is sent twice."""
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home / "publisher")}
    env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    push = [sys.executable, "-m", "copilot.cli", "push", "all", str(run), "--namespace", "lab", "--yes", "--tag", "v1"]
    for _ in range(2):
        done = subprocess.run(
            [*push, "--collection", "EEG Emotion Copilot"],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"push failed:\n{done.stderr[-2000:]}")
        for line in done.stdout.splitlines():
            if line.startswith((NAME, "collection")):
                tell(f"  {line}")


def open_doors(server: HubServer) -> None:
    """Do what the owner does on the web: show the repositories, and let the stranger through the gate."""
    for repo in server.repos.values():
        repo.private = False
        if repo.gated:
            repo.access["guest"] = "accepted"


def act(stranger: Stranger, recording: Path) -> None:
    """Load the data, download the model, let it answer."""
    stranger.run(str(stranger.python), "-c", LOAD)
    stranger.run("hf", "download", f"{NAME}-GGUF", "--local-dir", "model")
    models = sorted((stranger.home / "model").glob("*.gguf"), key=lambda path: path.stat().st_size)
    answer = ["eeg-copilot", "record", str(recording), "--model", str(models[0].relative_to(stranger.home))]
    stranger.run(*answer, "--synthetic", "--out", "record")
    size = (stranger.home / "record" / "record.json").stat().st_size
    tell(f"  the record has {size:,} bytes; all numbers are from synthetic data")


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
    with HubServer(xet=True) as server:
        tell(f"publishing {args.run.name} on {server.url}")
        publish(server, args.run, args.out)
        open_doors(server)
        tell("as a stranger")
        act(
            Stranger(args.out / "stranger", server.url, fresh=not args.this_venv),
            (args.run / "recording.edf").resolve(),
        )
        tell(f"done after {len(server.requests)} requests, all on this machine")


if __name__ == "__main__":
    main()
