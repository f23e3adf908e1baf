"""What can happen to a process in the middle of its work, made to happen at a chosen write.

Every stage runs in a process of its own, forked from a server that has imported everything. There an audit hook counts
the files and folders that the stage opens for writing, makes, renames or removes; at the chosen one the trouble comes.
"""

import errno
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime as _datetime
from datetime import timedelta
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")

#: What the server imports before it forks; `preload` adds to it while there is none.
_PRELOAD = ["tests.robustness.stages", "dataset_builder.corpus", "dataset_builder.sources.synthetic"]

_LIMIT_S = 900

#: Times and speeds, which no two runs share; the key, into which the times of raw files go; the state of the checkout.
_TIMES = {"started", "hardware", "created", "key", "code", "tokens_per_second"}

_MOMENT = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")

_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Parameters
    ----------
    code : int
        0, 2 for an error of ours, 1 for any other, or minus the number of a signal.
    message : str
        Of the error.
    writes : int
        How many times it wrote.
    """

    code: int
    message: str
    writes: int


def preload(*modules: str) -> None:
    """Have the server import modules that many of its processes will need."""
    _PRELOAD.extend(module for module in modules if module not in _PRELOAD)


def run_stage(name: str, inputs: Path, out: Path, trouble: str = "", at: int = 0) -> Ending:
    """Run a stage in its own process, with a trouble at its write number `at`."""
    _SERVER.set_forkserver_preload(_PRELOAD)
    note = out.with_name(f"{out.name}.ending.json")
    note.unlink(missing_ok=True)
    process = _SERVER.Process(target=_work, args=(name, str(inputs), str(out), trouble, at, str(note)))
    process.start()
    process.join(_LIMIT_S)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{name}: still at work after {_LIMIT_S} s with trouble {trouble!r} at {at}")
    told = json.loads(note.read_text()) if note.exists() else {}
    note.unlink(missing_ok=True)
    return Ending(process.exitcode or told.get("code", 1), told.get("message", ""), told.get("writes", 0))


def read_tree(folder: Path) -> dict[str, Any]:
    """Return every file by name: bytes, or what a manifest says apart from times."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            found[name] = _without_times(json.loads(path.read_text()))
        elif path.suffix == ".html":
            found[name] = _MOMENT.sub("then", path.read_text(encoding="utf-8"))
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _TIMES and "seconds" not in key}
        if set(kept) == {"name", "bytes", "sha256"} and str(kept["name"]).endswith((".json", ".html", ".pdf")):
            kept = {"name": kept["name"]}  # of a file that holds a time
        if set(kept) == {"stage", "folder", "sha256"}:  # a parent: it lies elsewhere, and its manifest holds times
            kept = {"stage": kept["stage"]}
        return {key: _without_times(item) for key, item in kept.items()}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _work(name: str, inputs: str, out: str, trouble: str, at: int, note: str) -> None:
    """Run in the child: count, make trouble, leave a note of the end."""
    from dataset_builder.errors import CopilotError
    from tests.robustness.stages import CHANGES, STAGES

    case = (STAGES | CHANGES)[name]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    counter = _Counter(Path(out), Path(inputs), case.loses, trouble, at)
    code, message = 0, ""
    try:
        case.run(Path(inputs), Path(out))
    except CopilotError as error:
        code, message = 2, str(error)
    except BaseException as error:  # noqa: B036  (whatever it is, the parent is to know)
        code, message = 1, f"{type(error).__name__}: {error}"[:500]
    counter.stop()
    Path(note).write_text(json.dumps({"code": code, "message": message, "writes": counter.writes}))


class _Counter:
    """Counts writes under the target's parent, and makes one trouble at one of them."""

    def __init__(self, out: Path, inputs: Path, loses: str, trouble: str, at: int) -> None:
        self.place, self.inputs, self.loses = os.path.realpath(out.parent), inputs, loses
        self.trouble, self.at = trouble, at
        self.writes, self.on, self.busy = 0, True, False
        sys.addaudithook(self._look)

    def stop(self) -> None:
        """End the trouble, so that the note can be written."""
        self.on = False
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or self.busy or not self._is_write(event, arguments):
            return
        self.writes += 1
        if self.trouble == "read-only":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "target")
        if self.trouble and self.writes == self.at:
            self.busy = True
            TROUBLES[self.trouble](self)
            self.busy = False

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event not in _CHANGES and event != "open":
            return False
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.realpath(os.fsdecode(path)).startswith(self.place)


def _kill(counter: _Counter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt(counter: _Counter) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _fill_disk(counter: _Counter) -> None:
    """From now on no file can grow; what is there stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


def _lose_input(counter: _Counter) -> None:
    if counter.loses:
        gone = counter.inputs / counter.loses
        gone.rename(gone.with_name(f"{gone.name}.gone"))


def _turn_clock_back(counter: _Counter) -> None:
    """A year back for Python's clocks and for the one that manifests are dated by."""
    from dataset_builder import stage

    year_s = 365 * 86400
    real, real_ns = time.time, time.time_ns

    class Shifted(_datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _datetime.now(tz) - timedelta(days=365)

    time.time = lambda: real() - year_s
    time.time_ns = lambda: real_ns() - year_s * 10**9
    stage.datetime = Shifted  # type: ignore[misc]


TROUBLES = {
    "kill": _kill,
    "interrupt": _interrupt,
    "full": _fill_disk,
    "lost-input": _lose_input,
    "clock": _turn_clock_back,
    "read-only": lambda counter: None,
}


def copy_inputs(inputs: Path, folder: Path) -> Path:
    """Return a copy of what a stage reads, made of links, so that it can lose a part."""
    shutil.copytree(inputs, folder, copy_function=os.link)
    return folder


def restore_inputs(folder: Path) -> None:
    """Bring back what was lost."""
    for gone in list(folder.rglob("*.gone")):
        gone.rename(gone.with_name(gone.name.removesuffix(".gone")))
