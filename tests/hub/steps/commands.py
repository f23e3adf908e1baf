"""The same by command: ``hf``, as a person types it."""

import subprocess
from pathlib import Path

from tests.hub.steps import CARD, Desk, noise, step

LARGE = noise(12_000_000, 31)


def _run(*arguments: object) -> str:
    done = subprocess.run(["hf", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout


@step("hf says who I am")
def _who(desk: Desk) -> None:
    assert "lab" in _run("auth", "whoami")


@step("hf makes a repository")
def _create(desk: Desk) -> None:
    _run("repos", "create", "lab/k")
    assert desk.api.repo_exists("lab/k")


@step("hf uploads a folder")
def _upload(desk: Desk) -> None:
    desk.write("f/README.md", CARD)
    desk.write("f/sub/m.gguf", LARGE)
    _run("upload", "lab/k", desk.folder / "f", ".")
    assert {"README.md", "sub/m.gguf"} <= set(desk.api.list_repo_files("lab/k"))


@step("hf downloads a file")
def _file(desk: Desk) -> None:
    _run("download", "lab/k", "README.md", "--local-dir", desk.folder / "one")
    assert (desk.folder / "one/README.md").read_text() == CARD


@step("hf downloads a repository into the cache and says where")
def _repository(desk: Desk) -> None:
    told = _run("download", "lab/k", "--quiet").split()[-1]
    assert (Path(told) / "sub/m.gguf").read_bytes() == LARGE
