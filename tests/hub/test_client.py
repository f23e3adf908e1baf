"""The unmodified client against the server, area by area, over Xet and over LFS, each in a fresh process and cache."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from steps import AREAS

from tests.hub_server import TOKEN, HubServer

ROOT = Path(__file__).parents[2]
#: Way of large files -> how the server is set up and what the client is told.
WAYS = {
    "xet": ({"xet": True}, {"HF_XET_XORB_COMPRESSION_POLICY": "none"}),
    "xet-compressed": ({"xet": True}, {}),
    "lfs": ({}, {"HF_HUB_DISABLE_XET": "1"}),
    "lfs-parts": ({"part_bytes": 5_000_000}, {"HF_HUB_DISABLE_XET": "1"}),
}
#: Areas where the way of large files matters.
LARGE = ("uploads", "downloads", "proposals", "commands", "tables")
#: Seconds each: once a day over the ways that most people do not go.
RARE = {("lfs", "tables"), ("xet", "commands"), ("xet-compressed", "tables")}
CASES = [("lfs", area) for area in AREAS] + [("xet", area) for area in LARGE]
CASES += [("lfs-parts", "downloads"), ("xet-compressed", "downloads"), ("xet-compressed", "tables")]


def list_cases() -> list[Any]:
    """Return the cases by name; those that are rare are for the nightly run."""
    marks = {case: [pytest.mark.nightly] if case in RARE else [] for case in CASES}
    return [pytest.param(*case, id="-".join(case), marks=marks[case]) for case in CASES]


@pytest.mark.parametrize(("way", "area"), list_cases())
def test_client(way, area, tmp_path):
    settings, told = WAYS[way]
    with HubServer(**settings, page_rows=100) as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN} | told
        command = [sys.executable, "-m", "tests.hub.steps", area]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout.splitlines()[-1])
    failed = "\n".join(f"{sentence}\n{error}" for sentence, error in results if error)
    assert not failed, failed
    assert len(results) >= 5


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment without anything of this user or of the test run's offline mode."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    binaries = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {
        "PATH": binaries,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "PYTHONPATH": str(ROOT),
    }
