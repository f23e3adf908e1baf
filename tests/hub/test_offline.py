"""``HF_HUB_OFFLINE``: whatever would need the Hub says so in one line before any work, and nothing is asked of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from finished import finish_stage
from test_client import clean_environment

from tests.hub_server import TOKEN, HubServer

ROOT = Path(__file__).parents[2]
REMEDY = "HF_HUB_OFFLINE is set and it is not in the cache; unset it, or give a"
CASES = {
    "push": ("push model m --repo-id lab/m --yes", "HF_HUB_OFFLINE is set: nothing was sent; unset it to push"),
    "base": ("base --out out --set name=lab/m", f"base lab/m: {REMEDY} model folder"),
    "base, its text": (
        "base --out out --set name=lab/m --set text.hub.id=lab/text",
        f"text lab/text: {REMEDY} local file or folder as text.path",
    ),
    "demo": ("demo --out out --base lab/m", f"base lab/m: {REMEDY} model folder"),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c == "push" else [pytest.mark.slow]) for c in CASES])
def test_offline_is_said_before_any_work(tmp_path, case):
    command, told = CASES[case]
    finish_stage(tmp_path / "m", "merge", {"config.json": b"{}"})
    with HubServer() as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}
        words = [sys.executable, "-m", "copilot.cli", *command.split()]
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2, done.stderr[-2000:]
        assert done.stderr.splitlines()[-1] == f"error: {told}"
        assert server.requests == []
    assert not (tmp_path / "out").exists()


def test_a_dry_run_needs_no_hub(tmp_path):
    finish_stage(tmp_path / "m", "merge", {"config.json": b"{}"})
    env = clean_environment(tmp_path) | {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    words = [sys.executable, "-m", "copilot.cli", "push", "model", "m", "--repo-id", "lab/m"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "dry run: nothing was sent" in done.stdout
