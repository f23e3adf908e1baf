"""Thirty records in one process, through the engine and through the app's steps; 500: ``benchmarks/bench_soak.py``."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():  # type: ignore[no-untyped-def]
    """Return the benchmark as a module."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import bench_soak
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return bench_soak


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bench) -> Path:  # type: ignore[no-untyped-def]
    """Return a folder with a tiny model and a recording of one window, made up."""
    from model_recipes.gguf_file import CopilotGguf
    from model_recipes.gguf_write import open_model, plan_types, write_gguf
    from tests.copilot.copilot_fakes import fitted_codec
    from tests.factories import make_tiny_model

    place = tmp_path_factory.mktemp("soak")
    model = open_model(make_tiny_model(place / "model"))
    copilot = CopilotGguf(fitted_codec(), "soak", "0", "noise", True, "F16", {"base": "noise"})
    write_gguf(place / "tiny-pruned-Q8_0.gguf", model, plan_types(model, "F16"), copilot, {"name": "soak"})
    bench.write_eeg(place / "noise.edf", seconds=31)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("way", ["engine", "app"])
def test_thirty_records_leave_nothing_behind(
    way: str,
    folder: Path,
    bench,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    facts = bench.soak(bench.WAYS[way], folder, 30)
    assert facts["records"] == 30
    assert bench.find_faults(facts) == []


def test_the_soak_sees_what_it_looks_for(bench, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    kept: list[object] = []

    def leak(_: Path) -> tuple[Callable[[], object], Callable[[], object]]:
        return lambda: kept.append((bytearray(b"x" * 8_000_000), (tmp_path / "x").open("w"))), lambda: None

    faults = bench.find_faults(bench.soak(leak, tmp_path, 40))
    for _memory, stream in kept:  # type: ignore[misc]
        stream.close()
    assert [fault.split(" ")[0] for fault in faults] == ["memory", "handles"]
