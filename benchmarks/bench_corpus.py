"""A corpus from all of FACED's waveforms (123 subjects, 6.6 GB, made up), against merely reading the files.

Both start with the files out of the page cache. Memory is that of the whole process tree, sampled ten times a second.
``--subjects 12`` asks the same of a tenth of the data.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from harness import write_result

from dataset_builder.manifest import read_manifest
from dataset_builder.sources.faced import SIGNAL_SHAPE
from dataset_builder.sources.safe_pickle import load_array
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort

FOLDER = Path("build/bench")
SPLIT = json.dumps({"protocol": "faced-80-20-23"})


def drop_from_cache(files: list[Path]) -> None:
    """Ask the system to forget the files' pages; they are clean, so it does."""
    for path in files:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_files(files: list[Path]) -> float:
    """Return the time in seconds to load every file's array, one after the other, as any reader must."""
    drop_from_cache(files)
    clock = time.perf_counter()
    for path in files:
        load_array(path, SIGNAL_SHAPE, path.name)
    return time.perf_counter() - clock


def build(raw: Path, out: Path, files: list[Path], workers: int) -> tuple[float, float]:
    """Return time in seconds and peak memory in bytes of the command that builds the corpus."""
    drop_from_cache(files)
    split = f"split={SPLIT if len(files) == 123 else json.dumps(ranges(len(files)))}"
    command = [sys.executable, "-m", "copilot.cli", "corpus", "--raw", str(raw), "--out", str(out)]
    command += ["--workers", str(workers), "--set", split]
    clock = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        peak: list[float] = [0.0]
        watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak))
        watcher.start()
        code = process.wait()
        elapsed = time.perf_counter() - clock
        watcher.join()
    assert code == 0, f"the build ended with {code}"
    return elapsed, peak[0]


def ranges(subjects: int) -> dict[str, object]:
    """Divide a smaller cohort like the whole one."""
    a, b = round(subjects * 80 / 123), round(subjects * 100 / 123)
    return {"protocol": "ranges", "train": [0, a - 1], "validation": [a, b - 1], "test": [b, subjects - 1]}


def _watch(process: psutil.Process, peak: list[float]) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0
        for member in [process, *process.children(recursive=True)]:
            try:
                total += member.memory_full_info().pss  # shared pages count once
            except psutil.Error:
                continue
        peak[0] = max(peak[0], total)
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=123)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()
    raw, out = FOLDER / f"faced-{args.subjects}", FOLDER / f"corpus-{args.subjects}"
    write_cohort(SynthRecipe(subjects=args.subjects, signals="all", features=False), raw)
    files = sorted((raw / "Processed_data").glob("*.pkl"))
    elapsed, peak = build(raw, out, files, args.workers)
    reading = read_files(files)
    rows = sum(split["rows"] for split in read_manifest(out).facts["splits"].values())
    print(
        f"corpus: {elapsed / reading:.2f} times as long as reading its files ({elapsed:.0f} s, {reading:.0f} s), "
        f"{peak / 1e9:.2f} GB at most"
    )
    write_result(
        "corpus",
        question="a corpus from all waveforms, against merely reading the files",
        ratio=elapsed / reading,
        build_s=elapsed,
        reading_s=reading,
        peak_memory_gb=peak / 1e9,
        gigabytes=round(sum(path.stat().st_size for path in files) / 1e9, 2),
        subjects=args.subjects,
        workers=args.workers,
        rows=rows,
    )


if __name__ == "__main__":
    main()
