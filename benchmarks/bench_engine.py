"""How fast and how large is a pruned, quantised model beside the unpruned one, on one thread, and what is possible?

``python benchmarks/bench_engine.py --shape qwen2-0.5b`` makes four files of random weights (2 GB in a temporary folder,
or ``--models DIR`` to keep them) and measures each in a process of its own: tokens per second of prompt and of answer,
time to the first token without and with the prefix cache, memory, and the time from an EEG file to a finished record,
all with one thread and the file mapped. Answers are greedy, as the product's are. Then it writes answers with the
weights in large pages, with one thread and with all cores, beside how fast as many threads read memory: no answer can
be faster than its weights can be read. One thread's times are the processor's, which is the clock's on a quiet machine:
what else runs there does not count. Those of all cores are the clock's, the best of several.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from edfio import Edf, EdfSignal
from engine_models import SHAPES, make_models
from engine_speed import measure_speeds
from harness import write_result

from dataset_builder.codecs import BandPowerConfig, make_codec
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.types import SCALP_CHANNELS, Recording
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import read_copilot_gguf
from model_recipes.runtime.prefix_cache import CACHE_VARIABLE, PrefixCache

#: Tokens of a prompt; the shortest of the repeats counts.
_PROMPT, _REPEATS = 256, 2

_SFREQ_HZ = 250


def main() -> None:
    args = make_parser().parse_args()
    if args.measure:
        print(json.dumps(measure_model(Path(args.measure), Path(args.eeg), Path(args.models))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        eeg = write_eeg(folder / "noise.edf", args.seconds)
        rows = []
        for model in make_models(args.shape, fit_codec(), folder):
            facts = {"name": model.name, "parameters": model.parameters, "bytes": model.bytes}
            rows.append(facts | _measure_apart(model.path, eeg, folder))
            print(_describe(rows[-1]), flush=True)
    _report(rows, args.shape, args.seconds)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="tiny", help="default: %(default)s, a few seconds")
    parser.add_argument("--models", help="keep the files here for the next run")
    parser.add_argument("--seconds", type=int, default=60, help="length of the EEG (default: %(default)s)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--eeg", help=argparse.SUPPRESS)
    return parser


def measure_model(path: Path, eeg: Path, folder: Path) -> dict[str, Any]:
    """Measure one file in this process."""
    codec = read_copilot_gguf(path).codec
    system = DEFAULT_STYLE.render_system(codec)
    chat = [
        {"role": "system", "content": system},
        {"role": "user", "content": "EEG:\ndelta 012345678\ntheta 876543210"},
    ]
    cache = PrefixCache(folder / "cache" / "prefixes")
    found: dict[str, Any] = {"weight_bytes": _count_weight_bytes(path)}
    before = read_peak_memory()  # torch and what else makes the files
    with Engine(path, n_threads=1, cache=cache) as engine:
        found["first_token_cold_s"] = _time(lambda: engine.generate(chat, max_tokens=1))
        long = [{"role": "user", "content": "0123456789" * (_PROMPT // 10)}]
        speeds = []
        for i in range(_REPEATS):
            long[0]["content"] = f"{i}{long[0]['content']}"  # nothing of the prompt before is of use
            reading = _time(lambda: engine.generate(long, max_tokens=1))
            speeds.append(engine.timings["prompt_n"] / reading)
        found["prompt_per_s"] = max(speeds)
        engine.read_prefix(system)
        found["rss_bytes"] = read_peak_memory() - before
    with Engine(path, n_threads=1, cache=cache) as engine:
        restored = _time(lambda: engine.read_prefix(system))
        found["first_token_warm_s"] = restored + _time(lambda: engine.generate(chat, max_tokens=1))
    records = [_draft(path, eeg, folder) for _ in range(2)]
    found["record_s"], found["record_clock_s"] = (min(times) for times in zip(*records, strict=True))
    found["speeds"] = measure_speeds(path, found["weight_bytes"])
    found["generation_per_s"] = found["speeds"][0]["generation_per_s"]
    return found


def read_peak_memory() -> float:
    """Return the bytes that this process had in memory at most, files that it mapped included."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    # On Linux `getrusage` counts what the process that started this one had before.
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024.0


def _draft(path: Path, eeg: Path, folder: Path) -> tuple[float, float]:
    """Draft a record by the command, imports included, on one core; return processor's and clock's seconds."""
    command = [
        "record",
        str(eeg),
        "--model",
        str(path),
        "--out",
        str(folder / "record"),
        "--threads",
        "1",
        "--synthetic",
    ]
    environment = os.environ | {CACHE_VARIABLE: str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    pin = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if hasattr(os, "sched_getaffinity") else []
    run = [*pin, sys.executable, "-m", "copilot.cli", *command]
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(run, check=True, capture_output=True, env=environment)
    after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - clock
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, clock


def _count_weight_bytes(path: Path) -> int:
    """Return the bytes of all tensors."""
    from gguf import GGUFReader

    return sum(int(tensor.n_bytes) for tensor in GGUFReader(path).tensors)


def _measure_apart(path: Path, eeg: Path, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", str(path), "--eeg", str(eeg), "--models", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_eeg(path: Path, seconds: int) -> Path:
    """Write noise as an EDF file."""
    signal_uv = make_noise(seconds * _SFREQ_HZ, seed=1)
    rows = zip(SCALP_CHANNELS, signal_uv.astype(float), strict=True)
    facts = {"physical_dimension": "uV", "physical_range": (-400, 400)}
    Edf([EdfSignal(row, _SFREQ_HZ, label=f"EEG {name}", **facts) for name, row in rows]).write(path)
    return path


def make_noise(n_times: int, seed: int) -> np.ndarray:
    """Return pink noise within bounds, shape (n_channels, n_times), µV."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=(len(SCALP_CHANNELS), n_times)))
    frequency_hz = np.fft.rfftfreq(n_times, 1 / _SFREQ_HZ)
    spectrum *= np.where((frequency_hz > 0.5) & (frequency_hz < 47), 1 / np.maximum(frequency_hz, 0.5) ** 0.8, 0)
    signal = np.fft.irfft(spectrum, n_times)
    return np.clip(9 * signal / signal.std(), -400, 400)


def fit_codec():  # type: ignore[no-untyped-def]
    """Return the band-power codec, fitted on noise."""
    codec = make_codec(BandPowerConfig())
    people = []
    for seed in (101, 102):
        signal = np.stack([make_noise(30 * _SFREQ_HZ, seed + part) for part in (0, 10)]).astype(np.float32)
        facts = {"clips": (None, None), "emotions": (None, None), "age": 24, "sex": "F"}
        people.append(Recording("noise", SCALP_CHANNELS, signal_uv=signal, sfreq_hz=float(_SFREQ_HZ), **facts))
    return codec.fit(map(codec.extract, people))


def _time(function) -> float:  # type: ignore[no-untyped-def]
    clock = time.process_time()
    function()
    return time.process_time() - clock


def _describe(row: dict[str, Any]) -> str:
    lines = [
        f"{row['name']:<16} {row['bytes'] / 1e6:6.0f} MB {row['rss_bytes'] / 1e6:6.0f} MB RSS  prompt "
        f"{row['prompt_per_s']:6.0f}/s  first token {row['first_token_cold_s']:.2f} s, prefix kept "
        f"{row['first_token_warm_s']:.2f} s  record {row['record_s']:.2f} s"
    ]
    for speed in row["speeds"]:
        pages = "large pages" if speed["large_pages"] else "as loaded"
        lines.append(
            f"  {speed['threads']} thread(s), {pages:<11} answer {speed['generation_per_s']:6.1f}/s, "
            f"{speed['share_of_bandwidth']:.0%} of {speed['read_bytes_per_s'] / 1e9:.1f} GB/s"
        )
    return "\n".join(lines)


def _report(rows: list[dict[str, Any]], shape: str, seconds: int) -> None:
    first, last = rows[0], rows[-1]
    smaller = first["bytes"] / last["bytes"]
    faster = last["generation_per_s"] / first["generation_per_s"]
    question = "pruned Q4_K_M beside the unpruned F16 on one thread"
    print(f"engine: {smaller:.1f}x fewer bytes, {faster:.1f}x the tokens per second  {question} ({shape})")
    name = "engine" if shape == "qwen2-0.5b" else f"engine-{shape}"
    facts = {"eeg_s": seconds, "fewer_bytes": smaller, "faster": faster, "files": rows}
    write_result(name, question=question, shape=shape, **facts)


if __name__ == "__main__":
    main()
