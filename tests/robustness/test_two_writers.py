"""Two processes on one output folder: one wins, the other says so in one line, and nothing of the first is lost."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, _open_temporary, read_manifest, write_bytes, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage
from dataset_builder.stage_folder import clear_leftovers, lock_folder

_CONTEXT = multiprocessing.get_context("fork")
_LIMIT_S = 60


class Recipe(StrictModel):
    value: int = 1


def write_slowly(out: str, value: int, started: Any, go_on: Any, told: Any) -> None:
    """Run a stage that waits in the middle."""
    try:
        with open_stage("test", out, Recipe(value=value)) as stage:
            write_text(stage.folder / "result.txt", f"of {value}")
            started.set()
            go_on.wait(_LIMIT_S)
        told.put("done")
    except InputError as error:
        told.put(str(error))


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    """Start a process that writes to ``out`` and waits; it is told to go on by the event that is returned."""
    started, go_on, told = _CONTEXT.Event(), _CONTEXT.Event(), _CONTEXT.Queue()
    process = _CONTEXT.Process(target=write_slowly, args=(str(tmp_path / "out"), 1, started, go_on, told))
    process.start()
    assert started.wait(_LIMIT_S)
    yield process, go_on, told
    if process.is_alive():  # an event would wait for ever for one that was killed while it waited
        go_on.set()
    process.join(_LIMIT_S)
    assert not process.is_alive()


def test_the_second_says_who_is_first(tmp_path: Path, writer: Any) -> None:
    process, go_on, told = writer
    with pytest.raises(InputError) as caught, open_stage("test", tmp_path / "out", Recipe(value=2)):
        raise AssertionError("two at once")
    expected = f"out: process {process.pid} is writing this folder; wait until that is done, or choose another"
    assert str(caught.value) == expected
    go_on.set()
    assert told.get(timeout=_LIMIT_S) == "done"
    process.join(_LIMIT_S)
    assert (tmp_path / "out" / "result.txt").read_text() == "of 1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path, writer: Any) -> None:
    process, _, _ = writer
    process.kill()
    process.join(_LIMIT_S)
    with open_stage("test", tmp_path / "out", Recipe()) as stage:
        assert stage.resumed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_many_at_once_and_one_wins(tmp_path: Path) -> None:
    started, go_on, told = _CONTEXT.Event(), _CONTEXT.Event(), _CONTEXT.Queue()
    rivals = [
        _CONTEXT.Process(target=write_slowly, args=(str(tmp_path / "out"), value, started, go_on, told))
        for value in range(4)
    ]
    for rival in rivals:
        rival.start()
    losers = [told.get(timeout=_LIMIT_S) for _ in range(3)]
    go_on.set()
    assert told.get(timeout=_LIMIT_S) == "done"
    for rival in rivals:
        rival.join(_LIMIT_S)
    assert all("is writing this folder" in text and "\n" not in text for text in losers)
    value = read_manifest(tmp_path / "out").recipe["value"]
    assert (tmp_path / "out" / "result.txt").read_text() == f"of {value}"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_threads_of_one_process(tmp_path: Path) -> None:
    with open_stage("test", tmp_path / "out", Recipe()) as stage:
        caught: list[str] = []

        def intrude() -> None:
            try:
                with open_stage("test", tmp_path / "out", Recipe()):
                    caught.append("two at once")
            except InputError as error:
                caught.append(str(error))

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join(_LIMIT_S)
        write_text(stage.folder / "result.txt", "mine")
    assert caught == ["out: somebody else is writing this folder; wait until that is done, or choose another"]
    assert (tmp_path / "out" / "result.txt").read_text() == "mine"


def test_the_lock_is_let_go_whatever_happens(tmp_path: Path) -> None:
    for error in (InputError("bad"), KeyboardInterrupt(), RuntimeError()):
        with pytest.raises(type(error)), open_stage("test", tmp_path / "out", Recipe()):
            raise error
        assert not (tmp_path / "out.lock").exists()
    with lock_folder(tmp_path / "out"):
        assert (tmp_path / "out.lock").read_text() == str(os.getpid())
    assert not (tmp_path / "out.lock").exists()


def test_workers_that_outlive_a_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    read, write = os.pipe()
    if (first := os.fork()) == 0:
        with lock_folder(tmp_path / "out"):
            if (worker := os.fork()) == 0:
                time.sleep(_LIMIT_S)
                os._exit(0)
            os.write(write, str(worker).encode())
            os._exit(0)
    os.waitpid(first, 0)
    worker = int(os.read(read, 20))
    try:
        os.kill(worker, 0)
        with lock_folder(tmp_path / "out"):
            assert (tmp_path / "out.lock").read_text() == str(os.getpid())
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_leftovers_of_a_finished_stage_go_and_those_of_others_stay(tmp_path: Path) -> None:
    out, replaced = tmp_path / "out", tmp_path / "out.replaced"
    with open_stage("test", out, Recipe()) as stage:
        write_text(stage.folder / "result.txt", "new")
    (tmp_path / "out.lock").write_text("1")
    replaced.mkdir()
    (replaced / "thesis.txt").write_text("years of work")
    assert find_finished("test", out, Recipe()) is not None
    assert (replaced / "thesis.txt").exists()
    assert not (tmp_path / "out.lock").exists()
    (replaced / MANIFEST).write_text("{}")
    clear_leftovers(out)
    assert not replaced.exists()


def test_a_finished_folder_of_another_stage_is_not_replaced(tmp_path: Path) -> None:
    """A mistyped --out would cost a signed record or a night of training."""
    for name in ("record", "base"):
        with open_stage(name, tmp_path / name, Recipe()) as stage:
            write_text(stage.folder / "work.txt", "of hours")
    with (
        pytest.raises(
            InputError, match=r"record: holds a finished stage 'record', not 'export'; choose an empty or new"
        ),
        open_stage("export", tmp_path / "record", Recipe()),
    ):
        pass
    with (
        pytest.raises(InputError, match="base: is read and would be replaced; choose another folder"),
        open_stage("base", tmp_path / "record" / ".." / "base", Recipe(), parents=[tmp_path / "base"]),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"record", "base"}
    assert [(tmp_path / name / "work.txt").read_text() for name in ("record", "base")] == ["of hours"] * 2


@pytest.mark.parametrize("left", [[".key"], [".key", "manifest.json"], ["manifest.json"]])
def test_a_death_in_the_last_steps_does_not_block_the_next_run(tmp_path: Path, left: list[str]) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    for name in (*left, "half.txt", ".half.txt.1.tmp"):
        (partial / name).write_text("old")
    with open_stage("test", tmp_path / "out", Recipe()) as stage:
        write_text(stage.folder / "result.txt", "new")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.txt", MANIFEST}


def test_half_written_files_of_a_killed_process_are_not_taken_along(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), open_stage("test", tmp_path / "out", Recipe()) as stage:
        (stage.folder / ".result.txt.77.tmp").write_text("half")
        raise RuntimeError
    with open_stage("test", tmp_path / "out", Recipe()) as stage:
        assert stage.resumed
        write_text(stage.folder / "result.txt", "whole")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.txt", MANIFEST}


def hold_temporary(path: str, started: Any) -> None:
    """Be in the middle of writing a file for ever."""
    _, descriptor = _open_temporary(Path(path))
    os.write(descriptor, b"half")
    started.set()
    time.sleep(_LIMIT_S)


@pytest.mark.parametrize("dead", [True, False])
def test_what_a_killed_writer_left_is_taken_over_and_what_another_writes_is_not(tmp_path: Path, dead: bool) -> None:
    started = _CONTEXT.Event()
    other = _CONTEXT.Process(target=hold_temporary, args=(str(tmp_path / "page.html"), started))
    other.start()
    assert started.wait(_LIMIT_S)
    if dead:
        other.kill()
        other.join(_LIMIT_S)
    write_bytes(tmp_path / "page.html", b"w")
    assert (tmp_path / "page.html").read_bytes() == b"w"
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "page.html"}
    assert left == ({} if dead else {".page.html.tmp": b"half"})
    other.kill()
    other.join(_LIMIT_S)


def test_no_locks_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def know_no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("dataset_builder.manifest.fcntl.lockf", know_no_locks)
    write_bytes(tmp_path / "page.html", b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"page.html": b"whole"}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".page.html.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        write_bytes(tmp_path / "page.html", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"
