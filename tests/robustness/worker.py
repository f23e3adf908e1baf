"""The process that reads damaged files, with little memory, little time and an eye on what it does meanwhile.

One process reads many inputs and tells about each in one line of JSON on its standard output; `fuzzing` starts it and
outlives it. What is looked for besides our own errors: other exceptions, memory, time, files or processes touched that
are none of the reader's business, and messages with a path or more than one line.
"""

import argparse
import contextlib
import gc
import json
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Processor time of one input, seconds. The slowest valid one takes a fifth of a second.
LIMIT_S = 5.0

#: Address space beyond what the process has after reading valid files, bytes. A gigabyte: Parquet, MNE and NumPy take
#: up to half of one for the files here.
ROOM = 2**30

#: What no reader does. See https://docs.python.org/3/library/audit_events.html
_FORBIDDEN = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.symlink",
    "os.system",
    "pty.spawn",
    "shutil.rmtree",
    "socket.connect",
    "subprocess.Popen",
    "urllib.Request",
}

#: Where a process may read: its programs and the system's own tables.
_READABLE = ("/usr/", "/lib", "/proc/", "/sys/", "/dev/", "/etc/localtime", "/etc/ld.so")

_MAX_MESSAGE = 1500


class _TooLong(BaseException):
    """The time of an input is over; readers do not catch what is no `Exception`."""


class Watch:
    """What a process does while `on`, other than reading `folder` and its own programs."""

    def __init__(self, folder: Path) -> None:
        self.on = False
        self.seen: list[str] = []
        places = {sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), str(Path(__file__).parents[2])}
        self.readable = (str(folder), os.path.realpath(folder), *_READABLE, *places)
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or (event != "open" and event not in _FORBIDDEN):
            return
        if event == "open" and not self._is_foreign(*arguments):
            return
        self.seen.append(f"{event} {arguments[0] if arguments else ''!s}"[:200])

    def _is_foreign(self, path: Any, _mode: Any, flags: int) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = os.path.realpath(os.fsdecode(path))
        written = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and text != os.devnull
        return written or not text.startswith(self.readable)


def main() -> int:
    """Read inputs number `start` to `stop` of a target."""
    parser = argparse.ArgumentParser()
    for name in ("--target", "--folder"):
        parser.add_argument(name, required=True)
    for name in ("--seed", "--start", "--stop"):
        parser.add_argument(name, required=True, type=int)
    args = parser.parse_args()
    tell = _take_stdout()
    from tests.robustness.bad_readers import BAD_READERS
    from tests.robustness.real_files import find_real_files
    from tests.robustness.targets import TARGETS

    runner = Runner((TARGETS | BAD_READERS | find_real_files())[args.target](), Path(args.folder), args.seed)
    tell({"ready": True})
    for number in range(args.start, args.stop):
        tell({"begin": number})
        tell({"end": number, **runner.run(number)})
    return 0


def _take_stdout() -> Any:
    """Keep standard output for lines of JSON; what libraries print is dropped."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)

    def tell(values: dict[str, Any]) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    return tell


class Runner:
    """Reads one damaged input after the other.

    Parameters
    ----------
    target : Target
    folder : Path
        Valid files are built in it, and damaged in place.
    seed : int
    """

    def __init__(self, target: Any, folder: Path, seed: int) -> None:
        self.target, self.folder, self.seed = target, folder, seed
        self.canary = folder.parent / f"{folder.name}-canary"
        folder.mkdir(parents=True, exist_ok=True)
        target.build(folder)
        self.valid = {name: target.variants(folder, name) for name in target.files}
        for _ in range(2):
            self._read_valid()
        self.watch = Watch(folder)
        _limit_memory()
        signal.signal(signal.SIGPROF, _raise_too_long)

    def _read_valid(self) -> None:
        from dataset_builder.errors import CopilotError

        try:
            assert self.target.read(self.folder) is not None, "valid files are not read"
        except CopilotError:
            if self.target.must_be_read:
                raise

    def make(self, number: int) -> tuple[str, bytes]:
        """Return which file is damaged, and how."""
        from dataset_builder.seeds import make_rng
        from tests.robustness.mutations import CANARY, mutate

        rng = make_rng(self.seed, "fuzz", self.target.name, str(number))
        names = list(self.target.files)
        name = names[int(rng.integers(len(names)))]
        contents = self.valid[name]
        data = mutate(contents[int(rng.integers(len(contents)))], contents, self.target.files[name], rng)
        canary = os.path.relpath(self.canary, self.folder) if rng.random() < 0.5 else str(self.canary)
        return name, data.replace(CANARY.encode(), canary.encode())

    def run(self, number: int) -> dict[str, Any]:
        """Damage one file, read, restore; return the verdict."""
        name, data = self.make(number)
        path = self.folder / name
        path.write_bytes(data)
        try:
            return {"file": name, **self._read()}
        finally:
            path.write_bytes(self.valid[name][0])
            if number % 50 == 0:
                gc.collect()

    def _read(self) -> dict[str, Any]:
        from dataset_builder.errors import CopilotError

        verdict, detail = "read", ""
        self.watch.seen.clear()
        try:
            with _limit_time(), self._watched():
                self.target.read(self.folder)
        except CopilotError as error:
            verdict, detail = self._judge(error)
        except _TooLong as error:
            verdict, detail = "hang", locate(error)
        except MemoryError as error:
            verdict, detail = "memory", locate(error)
        except BaseException as error:  # noqa: B036  (extensions written in Rust panic with one that is no Exception)
            verdict, detail = "crash", f"{type(error).__name__} at {locate(error)}: {str(error)[:200]}"
        if self.canary.exists():
            verdict, detail = "execution", "the canary's folder was made"
        elif self.watch.seen:
            verdict, detail = "reach", "; ".join(self.watch.seen[:3])
        return {"verdict": verdict, "detail": detail}

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        self.watch.on = True
        try:
            yield
        finally:
            self.watch.on = False

    def _judge(self, error: Exception) -> tuple[str, str]:
        """Judge the message of one of our own errors."""
        text = str(error)
        if "MemoryError" in text:
            return "memory", f"{locate(error)}: {text}"
        problems = [
            *["more than one printable line"] * (not text.isprintable()),
            *["a path of the machine"]
            * (str(self.folder.parent) in text or bool(re.search(r"(?<!\w)/\w+/\w+/", text))),
            *[f"{len(text)} letters"] * (len(text) > _MAX_MESSAGE),
            *["the name of a file that may be a person's"] * bool(self.target.private and self.target.private in text),
        ]
        return ("message", f"{', '.join(problems)} at {locate(error)}: {text[:300]!r}") if problems else ("refused", "")


def locate(error: BaseException) -> str:
    """Return the innermost place in our packages that an exception came through."""
    packages = ("dataset_builder", "model_recipes", "copilot", "cards", "hub_scripts")
    root = str(Path(__file__).parents[2])
    frames = [
        f"{os.path.relpath(frame.filename, root)}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(tuple(os.path.join(root, package) for package in packages))
    ]
    return frames[-1] if frames else "tests"


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _limit_time() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _raise_too_long(*_: Any) -> None:
    raise _TooLong


if __name__ == "__main__":
    raise SystemExit(main())
