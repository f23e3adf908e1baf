"""Pushes through trouble of all kinds at random; `test_killed` kills the process itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_client import clean_environment

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
