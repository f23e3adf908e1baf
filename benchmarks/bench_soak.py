"""Does a day's work make the process grow? 500 records each through the engine, the app's steps and the app itself.

``python benchmarks/bench_soak.py`` drafts them one after the other in a process for each way, with a small model of
random weights and a noise recording. The last way is the app as a user starts it, and every record comes from a tab
that is opened, used and closed over HTTP as a browser does. After a warm-up, memory may grow by less than 5 %, and no
file handle, no thread and no temporary file may stay. It ends with 1 if anything does.

Two memories are measured, and both are bound: what is resident, and of that what is the process's own (`RssAnon` and
swapped pages, see proc(5)); the second does not shrink when the system lets go of pages of files.
"""

import argparse
import gc
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_engine import fit_codec, write_eeg
from engine_models import make_models
from harness import write_result
from soak_page import App, Server, Tab

from copilot.answer import answer_recording
from copilot.app import steps
from copilot.app.desk import Desk
from copilot.app.models import ModelShelf
from copilot.app.privacy import PrivateFolder
from copilot.record import FORMATS
from copilot.record.build import build_record
from copilot.record.provenance import describe_model
from dataset_builder.prompts import get_style
from dataset_builder.sources.recordings import read_recording
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import read_copilot_gguf
from model_recipes.runtime.prefix_cache import CACHE_VARIABLE

__all__ = ["Server", "Tab", "Work", "find_faults", "measure_apart", "soak"]

#: Largest growth of memory after the warm-up.
LIMIT = 0.05

#: Records of the warm-up, and of each end that is compared, at least: a thread of llama.cpp's server comes and goes.
_FEWEST = 10

#: Lines of /proc/PID/status that make up each memory.
_MEMORIES = {"resident": ("VmRSS",), "own": ("RssAnon", "VmSwap")}


@dataclass(frozen=True)
class Work:
    """How records are drafted.

    Parameters
    ----------
    draft : callable
        Drafts one.
    close : callable
        Ends it all.
    pid : int or None
        The process that is watched; None: this one.
    """

    draft: Callable[[], object]
    close: Callable[[], object]
    pid: int | None = None


def main() -> int:
    """Measure both ways, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=500, help="of each way (default: %(default)s)")
    parser.add_argument("--way", choices=list(WAYS), help="measure one way in this process and print it as JSON")
    parser.add_argument("--folder", type=Path, help="where model and recording lie")
    parser.add_argument("--no-result", action="store_true", help="do not write results/soak.json")
    args = parser.parse_args()
    if args.way:
        print(json.dumps(soak(WAYS[args.way], args.folder, args.records)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = {way: measure_apart(way, Path(folder), args.records) for way in WAYS}
    faults = [f"{way}: {fault}" for way, facts in found.items() for fault in find_faults(facts)]
    for way, facts in found.items():
        grown = ", ".join(f"{name} {memory['growth']:+.2%}" for name, memory in facts["memory"].items())
        print(f"soak, {way}: {facts['records']} records, after the first {facts['warm_up']} memory grew by {grown}")
    if not args.no_result:
        write_result("soak", question="Does memory stay bounded?", limit=LIMIT, ways=found, faults=faults)
    print("\n".join(faults) or "no growth beyond the limit, nothing left open")
    return 1 if faults else 0


def soak(way: Callable[[Path], Work], folder: Path, records: int) -> dict:  # type: ignore[type-arg]
    """Draft records one after the other and watch the process.

    Returns
    -------
    dict
        ``memory`` compares medians over the first and the last tenth after the warm-up, in bytes, and has the slope
        of a line through all of them. What is counted is told at its most in the first tenth and its least in the last.
    """
    warm_up = max(records // 10, _FEWEST)
    work = way(folder)
    pid = work.pid or os.getpid()
    try:
        for _ in range(warm_up):
            work.draft()
        memory, held = [], []
        for _ in range(records - warm_up):
            work.draft()
            gc.collect()
            memory.append(read_memory(pid))
            held.append(count_open(pid))
    finally:
        work.close()
    return {
        "records": records,
        "warm_up": warm_up,
        "memory": {name: compare([found[name] for found in memory]) for name in _MEMORIES},
        **{name: _range([found[name] for found in held]) for name in held[0]},
    }


def compare(memory: list[int]) -> dict:  # type: ignore[type-arg]
    """Return how a memory changed over the records."""
    tenth = max(len(memory) // 10, _FEWEST)
    first, last = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
    slope = np.polyfit(range(len(memory)), memory, 1)[0]
    return {"first": first, "last": last, "growth": last / first - 1, "bytes_per_record": round(float(slope))}


def _range(counts: list[int]) -> list[int]:
    """Return the most in the first tenth and the least in the last: threads and connections come and go."""
    tenth = max(len(counts) // 10, _FEWEST)
    return [max(counts[:tenth]), min(counts[-tenth:])]


def find_faults(facts: dict) -> list[str]:  # type: ignore[type-arg]
    """Return what grew."""
    grown = {name: memory["growth"] for name, memory in facts["memory"].items() if memory["growth"] >= LIMIT}
    faults = [f"memory ({name}) grew by {growth:.1%}" for name, growth in grown.items()]
    for what in ("handles", "threads", "temporary_files"):
        before, after = facts[what]
        if after > before:
            faults.append(f"{what.replace('_', ' ')} went from {before} to {after}")
    return faults


def read_memory(pid: int) -> dict[str, int]:
    """Return each memory of a process in bytes."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return {name: sum(int(found[line]) * 1024 for line in lines) for name, lines in _MEMORIES.items()}


def count_open(pid: int) -> dict[str, int]:
    """Return how many file handles and threads a process has, and how many temporary files hold anything.

    Fonts do not count: Matplotlib opens its own for each thread and keeps the last 64. Gradio makes an empty temporary
    file for each upload; the app sweeps those that are older than half a minute.
    """
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(tempfile.gettempdir()) for name in names]
    files = sum(os.path.exists(path) and os.path.getsize(path) > 0 for path in paths)
    open_files = [os.path.realpath(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    handles = sum(not path.endswith(".ttf") for path in open_files)
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return {"handles": handles, "threads": threads, "temporary_files": files}


def open_engine(folder: Path) -> Work:
    """Return how a record is drafted with one engine that stays open, and how that ends."""
    path = _find_model(folder)
    model = read_copilot_gguf(path)
    engine, count = Engine(path, n_threads=1), itertools.count()

    def draft() -> list[bytes]:
        recording = model.codec.cut(read_recording(folder / "noise.edf", age=24, sex="F"))
        answer = answer_recording(recording, engine, model.codec, get_style(model.prompt), seed=17)
        record = build_record(recording, answer, describe_model(model, path), sha256="0" * 64)
        chosen = list(FORMATS) if next(count) % 10 == 0 else ["json"]  # pictures and pages take most of the time
        return [FORMATS[name](record) for name in chosen]

    return Work(draft, engine.close)


def open_steps(folder: Path) -> Work:
    """Return how the app's steps are taken for a tab without its page, and how they end."""
    (folder / "private").mkdir()
    desk = Desk(ModelShelf([_find_model(folder)], n_threads=1), PrivateFolder(folder / "private"))
    count = itertools.count()

    def draft() -> bytes:
        key = str(next(count))
        session = desk.open_session(key)
        steps.choose_model(session, desk.shelf, desk.shelf.files[0])
        upload = Path(shutil.copy(folder / "noise.edf", folder / f"{key}.edf"))  # which is removed when it was read
        steps.take_recording(session, [upload], synthetic=True)
        steps.describe_person(session, 24, "F")
        for _ in steps.ask(session, desk.shelf):
            pass
        data = steps.need_review(session).export("json")
        desk.close_session(key)
        return bytes(data)

    return Work(draft, desk.close)


def open_page(folder: Path) -> Work:
    """Return how a tab of the app is opened, used and closed over HTTP, and how the app ends."""
    app = App(_find_model(folder))
    return Work(lambda: Tab(app).draft(folder / "noise.edf"), app.close, app.process.pid)


WAYS = {"engine": open_engine, "steps": open_steps, "page": open_page}


def _find_model(folder: Path) -> Path:
    return next(path for path in sorted(folder.glob("*.gguf")) if path.stem.endswith("pruned-Q8_0"))


def measure_apart(way: str, folder: Path, records: int) -> dict:  # type: ignore[type-arg]
    if not (folder / "noise.edf").exists():
        write_eeg(folder / "noise.edf", seconds=31)
        make_models("tiny", fit_codec(), folder)
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder), "--records", str(records)]
    environment = os.environ | {CACHE_VARIABLE: str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    raise SystemExit(main())
