"""Pushes through trouble: all kinds at random, and a process that is killed while it uploads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished import finish_stage
from test_client import clean_environment

from tests.hub_server import LFS_LIMIT, TOKEN, HubServer

ROOT = Path(__file__).parents[2]


def weather(tmp_path: Path, pushes: int, seed: int, *options: str) -> dict[str, int]:
    """Run the storm in a fresh process; return how the pushes ended and which faults struck."""
    command = [sys.executable, "-m", "tests.hub.storm", "--folder", tmp_path / "files", *options]
    command += ["--pushes", pushes, "--seed", seed]
    env = clean_environment(tmp_path)
    done = subprocess.run(
        list(map(str, command)), env=env, cwd=ROOT, capture_output=True, text=True, timeout=290, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    ends = {what: count for what, count in told.items() if not what.startswith("fault")}
    assert sum(ends.values()) == pushes
    # A full account ends a push at once; all else is worth another try, and five of them are enough nearly always.
    assert sum(count for what, count in ends.items() if "gave up" in what) <= told.get("fault 507", 0) + pushes / 20
    return told


def test_twenty_pushes_are_complete_or_untouched(tmp_path):
    told = weather(tmp_path, 20, 17)
    assert told["pushed"] >= 10
    assert told["nothing to do"] >= 1
    assert {"fault lost", "fault drop", "fault foreign", "fault 503", "fault 429"} <= set(told)


@pytest.mark.nightly
@pytest.mark.parametrize(("pushes", "way"), [(200, ()), (40, ("--xet",))])
def test_two_hundred_pushes(tmp_path, pushes, way):
    told = weather(tmp_path, pushes, 3, *way)
    assert told["pushed"] > pushes / 2


def test_killed_while_uploading_and_pushed_again(tmp_path):
    """Nothing is published by the first push; the second does not send again what had arrived."""
    large = {f"{name}.safetensors": name.encode() * (LFS_LIMIT + 1) for name in "uvw"}
    facts = {"base": {"licence": "apache-2.0"}}
    finish_stage(tmp_path / "base", "base", large | {"config.json": b"{}"}, facts=facts)
    command = [sys.executable, "-m", "copilot.cli", "push", "model", str(tmp_path / "base")]
    command += ["--repo-id", "lab/base", "--yes"]
    with HubServer(delay_s=60) as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        server.faults.plan("PUT", "/lfs/", "slow")  # one of the three hangs for longer than the test
        first = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        repo = wait_for(lambda: server.repos.get(("models", "lab/base")))
        wait_for(lambda: len(repo.objects) == 2 and server.count("PUT /lfs/") >= 3)
        first.send_signal(signal.SIGKILL)
        assert first.wait(timeout=60) == -signal.SIGKILL
        assert repo.titles == ["initial commit"]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert server.count("PUT /lfs/") == 4, "only the object that was under way is sent again"
        assert set(server.files("models", "lab/base")) >= {*large, "config.json", "README.md", "manifest.json"}
        assert len(repo.titles) == 2


def wait_for(look: Callable[[], Any]) -> Any:
    """Return what `look` finds, as soon as it finds something."""
    for _ in range(1200):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("waited for a minute")
