"""A few records in one process, and what a closed tab leaves; 500 of each: ``benchmarks/bench_soak.py``."""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from copilot.app.desk import Desk
from copilot.app.privacy import PrivateFolder
from tests.copilot.app.app_fakes import make_desk, write_named_edf

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
    from model_recipes.exporting.gguf_file import CopilotGguf
    from model_recipes.exporting.write import open_model, plan_types, write_gguf
    from tests.copilot.copilot_fakes import fitted_codec
    from tests.factories import make_tiny_model

    place = tmp_path_factory.mktemp("soak")
    model = open_model(make_tiny_model(place / "model"))
    copilot = CopilotGguf(fitted_codec(), "soak", "0", "noise", True, "F16", {"base": "noise"})
    write_gguf(place / "tiny-pruned-Q8_0.gguf", model, plan_types(model, "F16"), copilot, {"name": "soak"})
    bench.write_eeg(place / "noise.edf", seconds=31)
    return place


@pytest.mark.slow
@pytest.mark.parametrize(("way", "records"), [("engine", 40), ("steps", 40)])
def test_records_leave_nothing_behind(way: str, records: int, folder: Path, bench) -> None:  # type: ignore[no-untyped-def]
    """In a process of its own: in this one, threads of other tests come and go."""
    facts = bench.measure_apart(way, folder, records)
    assert facts["records"] == records
    assert bench.find_faults(facts) == []


def leak(folder: Path) -> list[str]:
    """Leak 8 MB and a file handle with each record; return what the soak says of this process."""
    import bench_soak

    tempfile.tempdir = str(folder / "none")
    kept: list[object] = []

    def draft() -> None:
        kept.append((bytearray(b"x" * 8_000_000), (folder / "x").open("w")))

    return bench_soak.find_faults(bench_soak.soak(lambda _: bench_soak.Work(draft, lambda: None), folder, 40))


def test_the_soak_sees_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own too: this one may be so large that the same leak is less than its share."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # a spawned process takes the path along
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        faults = pool.submit(leak, tmp_path).result(timeout=120)
    assert [fault.split(" ")[:2] for fault in faults[:2]] == [["memory", "(resident)"], ["memory", "(own)"]]
    assert [fault.split(" ")[0] for fault in faults[2:]] == ["handles"]


def run_apart(work: Callable[[], Any]) -> Any:
    """Run something in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=60)


def test_an_answer_may_begin_in_one_thread_and_end_in_another(tmp_path: Path) -> None:
    """The page takes each step in any of its threads; the next answer waited for ever when two were not the same."""
    desk = make_desk(tmp_path / "desk")
    first = desk.first_model()
    assert first is not None
    for _ in range(2):
        lent = desk.shelf.borrow(desk.shelf.choose(first))
        engine = run_apart(lent.__enter__)
        assert engine is not None
        run_apart(lambda lent=lent: lent.__exit__(None, None, None))  # type: ignore[misc]
    desk.close()


def test_the_end_does_not_wait_for_ever_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot.app.models._PATIENCE_S", 0.1)
    desk = make_desk(tmp_path / "desk")
    first = desk.first_model()
    assert first is not None
    lent = desk.shelf.borrow(desk.shelf.choose(first))
    run_apart(lent.__enter__)
    desk.close()
    assert not desk.folder.path.exists()


def test_a_closed_tab_leaves_nothing_in_memory_or_on_disk(bench, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Gradio keeps what a tab was shown, pictures and record, for 10,000 tabs, and an empty file for every upload."""
    from copilot.app.launch import launch_page

    desk = make_desk(tmp_path / "desk")
    page, address = launch_page(desk)
    try:
        sent = write_named_edf(tmp_path / "raw")
        assert json.loads(bench.Tab(bench.Server(address)).draft(sent))["status"] == "draft"
        deadline = time.monotonic() + 60
        while (page.state_holder.session_data or list_kept(desk)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert dict(page.state_holder.session_data) == {}
        assert list_kept(desk) == []
    finally:
        page.close(verbose=False)
        desk.close()


def list_kept(desk: Desk) -> list[str]:
    """Return the files of a desk that hold anything."""
    return [path.name for path in desk.folder.path.rglob("*") if path.is_file() and path.stat().st_size]


def test_empty_files_of_gradio_are_swept_when_they_are_old(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    uploads = folder.make().parent
    for name in ("tmp-old", "tmp-new", "tmp-full"):
        (uploads / name).write_bytes(b"x" if name == "tmp-full" else b"")
    os.utime(uploads / "tmp-old", (0, 0))
    os.utime(uploads / "tmp-full", (0, 0))
    folder.sweep()
    assert sorted(path.name for path in uploads.glob("tmp*")) == ["tmp-full", "tmp-new"]
    folder.remove()
