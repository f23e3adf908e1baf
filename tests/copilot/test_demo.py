"""The whole path as a user runs it, with budgets too small to learn anything."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copilot.demo import DemoOptions, load_recipes
from dataset_builder.errors import RecipeError
from dataset_builder.manifest import read_manifest

SMALL = (
    "base.tiny.train.steps=6 base.tiny.train.warmup_steps=1 base.tiny.train.checkpoint_every=2 "
    "base.perplexity_windows=2 prune.calibration_windows=2 prune.perplexity_windows=2 recover.train.steps=2 "
    "recover.train.warmup_steps=1 recover.perplexity_windows=2 adapter.steps=2 adapter.warmup_steps=1 "
    "adapter.eval_rows=2 merge.perplexity_windows=2 gguf.parity_prompts=1 gguf.perplexity_windows=2 "
    "evaluate.max_rows=18"
).split()
STAGES = "cohort eeg-emotion-copilot base pruned recovered adapter merged gguf evaluation record".split()


def start_demo(out: Path) -> subprocess.Popen[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    command = [sys.executable, "-m", "copilot.cli", "demo", "--out", str(out), *changes]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def without_times(table: str) -> list[str]:
    """The lines without seconds, which differ for the record: it is drafted anew each time."""
    return [" ".join(re.sub(r"\b\d+ s\b", "", line).split()) for line in table.splitlines()]


def press_ctrl_c(process: subprocess.Popen[str]) -> int:
    """Return how a process ends; one that goes on is asked again: a library may swallow what comes while it loads."""
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("goes on after thirty interrupts")


@pytest.mark.slow
def test_demo_survives_ctrl_c_ends_with_a_report_and_costs_nothing_again(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    process = start_demo(out)
    wait_for(out / "base.partial", process)
    assert press_ctrl_c(process) == 130
    assert "run the same command again" in process.communicate()[1]
    assert not (out / "base").exists()
    corpus_started = read_manifest(out / "eeg-emotion-copilot").started

    process = start_demo(out)
    table, messages = process.communicate(timeout=280)
    assert process.returncode == 0, messages
    manifests = {name: read_manifest(out / name) for name in STAGES}
    assert manifests["eeg-emotion-copilot"].started == corpus_started
    assert all(manifest.synthetic for manifest in manifests.values())
    assert all(name in table for name in (*STAGES, "linear probe", "chance", "Q8_0"))
    assert sorted(path.name for path in out.iterdir()) == sorted([*STAGES, "recording.edf", "report.html"])
    record = json.loads((out / "record" / "record.json").read_text())
    assert record["synthetic"]
    assert "not a medical device" in (out / "report.html").read_text().lower()
    before, after = (manifests[name].facts["model"]["parameters"] for name in ("base", "pruned"))
    assert 0.4 < after / before < 0.6

    process = start_demo(out)
    again, _ = process.communicate(timeout=120)
    assert without_times(again) == without_times(table)
    assert {name: read_manifest(out / name).started for name in STAGES if name != "record"} == {
        name: manifest.started for name, manifest in manifests.items() if name != "record"
    }
    assert not any(str(tmp_path) in path.read_text(errors="replace") for path in out.rglob("*.json"))


@pytest.mark.parametrize("change", ["adapter.steps", "steps=3", "adapter.=3"])
def test_a_change_that_fits_no_stage_is_shown_as_it_was_typed(change: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"^--set {re.escape(change)}: expected STAGE\.KEY=VALUE; stages: corpus, base"
    ):
        load_recipes(DemoOptions(out="demo", set=[change]))


def test_changes_reach_their_stage_and_go_before_the_other_options() -> None:
    recipes = load_recipes(
        DemoOptions(out="demo", text="mine.txt", set=["adapter.steps=7", "recover.text.path=other.txt"])
    )
    assert recipes.adapter.steps == 7
    assert (recipes.base.text.path, recipes.recover.text.path) == ("mine.txt", "other.txt")
