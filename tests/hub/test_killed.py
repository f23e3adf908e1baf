"""A push whose process is killed in the middle: nothing is published by it, and the next one goes on from there."""

import random
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
LARGE = ("u.safetensors", "v.safetensors", "w.safetensors")
#: Way -> how the client is told to go it.
WAYS = {"lfs": {"HF_HUB_DISABLE_XET": "1"}, "xet": {"HF_XET_XORB_COMPRESSION_POLICY": "none"}}
#: The request during which the process dies, and how often it is asked before that.
POINTS = [
    ("xet", "POST", "/v1/xorbs/", 1),
    ("lfs", "POST", "/commit/", 1),
]
RARE_POINTS = [
    ("xet", "POST", "/v1/shards", 1),
    ("xet", "POST", "/commit/", 1),
    ("xet", "POST", "/preupload/", 1),
    ("xet", "GET", "/xet-write-token/", 1),
    ("lfs", "POST", "/repos/create", 1),
    ("lfs", "POST", "/preupload/", 1),
    ("lfs", "POST", "/objects/batch", 1),
    ("lfs", "PUT", "/lfs/", 3),
    ("lfs", "POST", "/verify/", 1),
]


def list_points() -> list[Any]:
    """Return all points by name; those that most pushes do not die at are for the nightly run."""
    marks = [(point, []) for point in POINTS] + [(point, [pytest.mark.nightly]) for point in RARE_POINTS]
    return [pytest.param(*point, id=f"{point[0]} {point[2]}", marks=mark) for point, mark in marks]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a finished model of three large files that compress badly."""
    large = {name: random.Random(name).randbytes(LFS_LIMIT + 1) for name in LARGE}
    facts = {"base": {"licence": "apache-2.0"}}
    finish_stage(tmp_path / "base", "base", large | {"config.json": b"{}"}, facts=facts)
    return tmp_path / "base"


@pytest.mark.parametrize(("way", "method", "pattern", "times"), list_points())
def test_a_killed_push_publishes_nothing_and_the_next_one_everything(tmp_path, base, way, method, pattern, times):
    with HubServer(xet=way == "xet", delay_s=120) as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN} | WAYS[way]
        server.faults.plan(method, pattern, "slow")  # longer than the test: its request is never done
        first = start(base, env)
        wait_for(lambda: server.count(f"{method} .*{pattern}") >= times)
        first.send_signal(signal.SIGKILL)
        assert first.wait(timeout=60) == -signal.SIGKILL
        assert all(repo.titles == ["initial commit"] for repo in server.repos.values())
        finish(base, env)
        check_complete(server, base)
        before = len(server.requests)
        assert "nothing changed" in finish(base, env)
        sent = [line for line in server.requests[before:] if not line.startswith(("GET", "HEAD"))]
        assert sent == [], "a repeated push sends nothing at all"


def test_only_what_was_under_way_is_sent_again(tmp_path, base):
    with HubServer(delay_s=120) as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN} | WAYS["lfs"]
        server.faults.plan("PUT", "/lfs/", "slow")
        first = start(base, env)
        repo = wait_for(lambda: server.repos.get(("models", "lab/base")))
        wait_for(lambda: len(repo.objects) == 2 and server.count("PUT /lfs/") >= 3)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=60)
        finish(base, env)
        assert server.count("PUT /lfs/") == 4
        check_complete(server, base)


@pytest.mark.nightly
@pytest.mark.parametrize("way", WAYS)
def test_a_push_that_is_killed_at_any_moment(tmp_path, base, way):
    """Eight pushes die at random moments, the ninth lives."""
    rng = random.Random(17)
    with HubServer(xet=way == "xet") as server:
        env = clean_environment(tmp_path) | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN} | WAYS[way]
        for _ in range(8):
            before, process = len(server.requests), start(base, env)
            wait_for(lambda before=before: len(server.requests) > before)
            time.sleep(rng.random() * 1.5)
            process.kill()
            process.wait(timeout=60)
            assert all(len(repo.titles) <= 2 for repo in server.repos.values())
        finish(base, env)
        check_complete(server, base)


def start(base: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Begin a push as a person would."""
    return subprocess.Popen(list_words(base), env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(base: Path, env: dict[str, str]) -> str:
    """Push to the end and return what it says."""
    done = subprocess.run(list_words(base), env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def list_words(base: Path) -> list[str]:
    """Return the command of a push."""
    command = [sys.executable, "-m", "copilot.cli", "push", "model", str(base)]
    return [*command, "--repo-id", "lab/base", "--yes"]


def check_complete(server: HubServer, base: Path) -> None:
    """Assert that one commit of ours holds all files, byte for byte."""
    files = server.files("models", "lab/base")
    assert set(files) == {*LARGE, "config.json", "README.md", "manifest.json", ".gitattributes"}
    assert all(files[name] == (base / name).read_bytes() for name in LARGE)
    assert len(server.repo("models", "lab/base").titles) == 2


def wait_for(look: Callable[[], Any]) -> Any:
    """Return what `look` finds, as soon as it finds something."""
    for _ in range(1200):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("waited for a minute")
