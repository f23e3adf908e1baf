"""Does a day's work make the process grow? 500 records through the engine, and 500 through what the app's buttons do.

``python benchmarks/bench_soak.py`` drafts them one after the other in a process for each way, with a small model of
random weights and a noise recording. After a warm-up, memory may grow by less than 5 %, and no file handle, no thread
and no temporary file may stay. It ends with 1 if anything does.
"""

import argparse
import gc
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from bench_engine import fit_codec, write_eeg
from engine_models import make_models
from harness import write_result

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
from model_recipes.gguf_file import read_copilot_gguf
from model_recipes.prefix_cache import CACHE_VARIABLE

#: Largest growth of memory after the warm-up.
LIMIT = 0.05

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


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
        found = {way: _measure_apart(way, Path(folder), args.records) for way in WAYS}
    faults = [f"{way}: {fault}" for way, facts in found.items() for fault in find_faults(facts)]
    for way, facts in found.items():
        print(f"soak, {way}: {facts['records']} records, memory {facts['growth']:+.1%} after {facts['warm_up']}")
    if not args.no_result:
        write_result("soak", question="Does memory stay bounded?", limit=LIMIT, ways=found, faults=faults)
    print("\n".join(faults) or "no growth beyond the limit, nothing left open")
    return 1 if faults else 0


def soak(way: Callable[[Path], tuple[Callable[[], object], Callable[[], object]]], folder: Path, records: int) -> dict:  # type: ignore[type-arg]
    """Draft records one after the other and watch the process.

    Returns
    -------
    dict
        ``growth`` compares medians over the first and the last tenth after the warm-up.
    """
    warm_up = max(records // 10, 3)
    draft, close = way(folder)
    for _ in range(warm_up):
        draft()
    handles, threads, files = count_open()
    memory = []
    for _ in range(records - warm_up):
        draft()
        gc.collect()
        memory.append(read_memory())
    tenth = max(len(memory) // 10, 3)
    first, last = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
    now = count_open()
    close()
    return {
        "records": records,
        "warm_up": warm_up,
        "memory_bytes": [first, last],
        "growth": last / first - 1,
        "handles": [handles, now[0]],
        "threads": [threads, now[1]],
        "temporary_files": [files, now[2]],
    }


def find_faults(facts: dict) -> list[str]:  # type: ignore[type-arg]
    """Return what grew."""
    faults = [f"memory grew by {facts['growth']:.1%}"] if facts["growth"] >= LIMIT else []
    for what in ("handles", "threads", "temporary_files"):
        before, after = facts[what]
        if after > before:
            faults.append(f"{what.replace('_', ' ')} went from {before} to {after}")
    return faults


def read_memory() -> int:
    """Return the resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def count_open() -> tuple[int, int, int]:
    """Return how many file handles, threads and temporary files there are."""
    files = sum(len(names) for _, _, names in os.walk(tempfile.gettempdir()))
    return len(os.listdir("/proc/self/fd")), threading.active_count(), files


def open_engine(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
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

    return draft, engine.close


def open_app(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return how a tab is opened, used and closed, and how the page ends."""
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

    return draft, desk.close


WAYS = {"engine": open_engine, "app": open_app}


def _find_model(folder: Path) -> Path:
    return next(path for path in sorted(folder.glob("*.gguf")) if path.stem.endswith("pruned-Q8_0"))


def _measure_apart(way: str, folder: Path, records: int) -> dict:  # type: ignore[type-arg]
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
