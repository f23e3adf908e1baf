"""Time two ways to the same result and write down the ratio."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataset_builder.environment import describe_code, describe_hardware, list_package_versions

RESULTS = Path(__file__).parent / "results"


def best_time(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of several runs in seconds: what else the machine does only ever adds time."""
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        function()
        times.append(time.perf_counter() - clock)
    return min(times)


def report(name: str, question: str, ours_s: float, other_s: float, **facts: Any) -> None:
    """Print how many times faster ours is and write ``results/<name>.json``."""
    ratio = other_s / ours_s
    print(f"{name}: {ratio:.1f}x  ({ours_s * 1e3:.0f} ms instead of {other_s * 1e3:.0f} ms)  {question}")
    write_result(name, question=question, ratio=ratio, ours_s=ours_s, other_s=other_s, **facts)


def write_result(name: str, **facts: Any) -> None:
    """Write ``results/<name>.json`` with day, code, versions and machine beside the numbers."""
    RESULTS.mkdir(exist_ok=True)
    day = datetime.now(UTC).date().isoformat()
    ran = {"day": day, "code": describe_code(), "packages": list_package_versions(), "hardware": describe_hardware()}
    text = json.dumps(facts | ran, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
