"""How many tokens a second a file writes with so many threads, and how many bytes a second they can read at all."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_recipes.engine import Engine

#: Tokens of one answer. An answer of many threads is spoilt by whatever else runs, so more of them are written.
_ANSWER, _REPEATS, _REPEATS_TOGETHER = 32, 4, 12

#: Larger than any cache of a processor.
_READ_BYTES = 512 * 2**20

_PROMPT = [{"role": "user", "content": "0123456789" * 10}]


def measure_speeds(path: Path, weight_bytes: int) -> list[dict[str, Any]]:
    """Measure a file mapped and in large pages by one thread, and in large pages by all cores.

    Returns
    -------
    list of dict
        ``threads``, ``large_pages``, ``generation_per_s``, ``read_bytes_per_s`` and ``share_of_bandwidth``.
    """
    torch.set_num_threads(1)  # of each thread of ours
    data = np.ones(_READ_BYTES // 8, np.int64)  # NumPy asks for large pages: what the memory gives at best
    return [_measure(path, weight_bytes, data, *way) for way in ((1, False), (1, True), (count_cores(), True))]


def count_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure(path: Path, weight_bytes: int, data: np.ndarray, n_threads: int, large_pages: bool) -> dict[str, Any]:
    # One thread's time is the processor's. Threads wait for each other, which costs time of the processor as well.
    clock = time.process_time if n_threads == 1 else time.perf_counter
    written, read = [], []
    with (
        Engine(path, n_threads=n_threads, large_pages=large_pages) as engine,
        ThreadPoolExecutor(n_threads) as pool,
    ):
        engine.generate(_PROMPT, max_tokens=1)
        for _ in range(_REPEATS if n_threads == 1 else _REPEATS_TOGETHER):
            written.append(_time(clock, lambda: engine.generate(_PROMPT, max_tokens=_ANSWER)))
            read.append(min(_time(clock, lambda: _read(pool, data, n_threads)) for _ in range(4)))
        rate, bandwidth = engine.timings["predicted_n"] / min(written), data.nbytes / min(read)
        large = engine.large_pages
    # A tied embedding is read whole for the output, so every byte of the weights is read for each token.
    share = rate * weight_bytes / bandwidth
    facts = {"threads": n_threads, "large_pages": large, "generation_per_s": rate, "read_bytes_per_s": bandwidth}
    return facts | {"share_of_bandwidth": share}


def _read(pool: ThreadPoolExecutor, data: np.ndarray, n_threads: int) -> None:
    """Read all of an array, each thread its part; PyTorch's sum of integers comes within 6 % of a loop in C."""
    parts = [torch.from_numpy(part) for part in np.array_split(data, n_threads)]
    assert sum(int(total) for total in pool.map(torch.sum, parts)) == len(data)


def _time(clock: Callable[[], float], function: Callable[[], object]) -> float:
    start = clock()
    function()
    return clock() - start
