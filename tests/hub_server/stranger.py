"""Somebody else: a token that owns nothing, a cache of their own, only the names of repositories and their cards."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.hub_server.store import READER_TOKEN

ROOT = Path(__file__).parents[2]
#: What a person who only uses things installs: our package without training, and the Hub's two clients.
NEEDED = ("datasets", "huggingface_hub")
_PACKAGES = ("cards", "copilot", "dataset_builder", "hub_scripts", "model_recipes")
_FILES = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt")


class Stranger:
    """Runs commands as a person on another machine would, or nearly so.

    Parameters
    ----------
    home : Path
        New folder for environment, cache and files; commands run in it.
    url : str
        Where the Hub is.
    fresh : bool
        Whether to install into a new virtual environment instead of using this one.
    """

    def __init__(self, home: Path, url: str, *, fresh: bool = False) -> None:
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
            "EEG_COPILOT_CACHE": str(self.home / "cache" / "engine"),
            "NO_COLOR": "1",
            "PATH": f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}",
        }

    def _install(self, env: dict[str, str]) -> None:
        """Install from a copy of the source: building in place would leave its traces there."""
        source = self.home / "source"
        for name in _PACKAGES:
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in _FILES:
            shutil.copy(ROOT / name, source / name)
        venv.create(self.home / "venv", with_pip=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--constraint", str(source / "constraints.txt"), f"{source}[local]", *NEEDED]
        subprocess.run(pip, env=env, check=True, timeout=900, stderr=subprocess.DEVNULL)

    def run(self, *command: str, **variables: str) -> str:
        """Run a command and return what it writes.

        Raises
        ------
        RuntimeError
            With the end of what it complained of, if it failed.
        """
        done = self.attempt(*command, **variables)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def attempt(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whether it succeeds or not."""
        env = self.env | variables
        return subprocess.run(command, env=env, cwd=self.home, capture_output=True, text=True, timeout=300, check=False)

    def program(self, text: str, **variables: str) -> str:
        """Run a Python program and return what it writes."""
        return self.run(str(self.python), "-c", text, **variables)


def list_blocks(card: str, language: str) -> list[str]:
    """Return the blocks of code in a card, as somebody would copy them."""
    return re.findall(rf"^```{language}\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
