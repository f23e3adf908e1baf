"""Starts workers, reads what they tell, and survives their death."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]

#: Fixed, so that every run reads the same inputs.
SEED = 20261

#: Longest silence of a worker: it starts (with torch, on a loaded machine), or reads one input in code that no timer of
#: Python's can stop.
_SILENCE_S = 600.0

#: What a reader may do with a damaged file.
_GOOD = {"read", "refused"}


@dataclass
class Outcome:
    """What came of a target's inputs.

    Parameters
    ----------
    counts : Counter
        Verdict -> number of inputs.
    faults : list of str
        One line each: the number of the input, the verdict, where.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, verdict: str, detail: str) -> None:
        """Count an input."""
        self.counts[verdict] += 1
        if verdict not in _GOOD:
            self.faults.append(f"input {number}: {verdict}: {detail}")


def fuzz_target(name: str, folder: Path, stop: int, start: int = 0, seed: int = SEED) -> Outcome:
    """Read damaged inputs number `start` to `stop` of a target, in as many processes as it takes.

    Raises
    ------
    AssertionError
        If a worker does not even read the valid files.
    """
    outcome, at = Outcome(), start
    while at < stop:
        at = _run_worker(name, folder / f"{name}-{at}", (at, stop), seed, outcome)
    return outcome


def share_inputs(total: int, weights: dict[str, int]) -> dict[str, int]:
    """Return how many inputs each target gets of at least `total`."""
    whole = sum(weights.values())
    return {name: -(-total * weight // whole) for name, weight in weights.items()}


def _run_worker(name: str, folder: Path, numbers: tuple[int, int], seed: int, outcome: Outcome) -> int:
    """Run one process until it is through or dies; return the number of the next input."""
    start, stop = numbers
    options = {"target": name, "folder": folder, "seed": seed, "start": start, "stop": stop}
    command = [sys.executable, "-m", "tests.robustness.worker"]
    command += [f"--{key}={value}" for key, value in options.items()]
    environment = os.environ | {"PYTHONPATH": f"{REPO}{os.pathsep}{REPO / 'tests'}", "OMP_NUM_THREADS": "1"}
    errors = folder.with_name(f"{folder.name}.stderr")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with errors.open("w") as stream:
        process = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=stream, env=environment, text=True)
    begun = None
    try:
        for line in _listen(process):
            if "begin" in line:
                begun = line["begin"]
            elif "end" in line:
                outcome.add(line["end"], line["verdict"], f"{line['file']}: {line['detail']}")
                begun, start = None, line["end"] + 1
            else:
                begun = start - 1  # from now on a death is an input's
    except TimeoutError:
        process.kill()
    code = process.wait()
    if code == 0 and start >= stop:
        return stop
    said = errors.read_text(errors="replace").strip().splitlines()[-1:]
    assert begun is not None, f"{name}: the worker does not read valid files (exit code {code}): {said}"
    died = "silence" if code == -signal.SIGKILL else f"exit code {code} {said}"
    outcome.add(max(begun, start), "death", died)
    return max(begun, start) + 1


def _listen(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what a worker tells.

    Raises
    ------
    TimeoutError
        If it is silent for too long.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def pump() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_SILENCE_S)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield json.loads(line)
