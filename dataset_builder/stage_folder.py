"""What happens to a stage's folder on disk: one writer at a time, and at no moment a half of anything.

Beside the target lie, while a stage runs, ``<out>.lock`` and ``<out>.partial``, and for a moment ``<out>.replaced``,
the older result. A process can die between any two steps here; the next one clears what it finds or goes on with it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_builder.errors import InputError
from dataset_builder.manifest import LOCK_HELD, MANIFEST, read_manifest, write_text

#: Marks a partial folder as ours, and holds the key of the stage that it belongs to.
KEY_FILE = ".key"

#: Targets that this very process writes: a lock keeps out other processes only.
_OURS: set[str] = set()


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Keep a target to oneself.

    The lock is the system's, on a file beside the target: it is gone with the process, however that ends, and workers
    do not inherit it.

    Parameters
    ----------
    out : Path
        Target folder.

    Raises
    ------
    InputError
        If another process, or another part of this one, is writing there.
    OSError
        If nothing can be written beside the target.
    """
    path, place = out.with_name(f"{out.name}.lock"), os.path.realpath(out)
    if place in _OURS:
        raise InputError(_say_busy(out, ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take_lock(path, out)
    _OURS.add(place)
    try:
        yield
    finally:
        _OURS.discard(place)
        path.unlink(missing_ok=True)  # before it is let go: who waits for it sees that it is another file's
        os.close(descriptor)


def prepare_partial(partial: Path, key: str) -> bool:
    """Make the folder ready to be written, and tell whether it holds work of an interrupted run with the same key.

    Raises
    ------
    InputError
        If it holds files that no stage wrote.
    """
    marker = partial / KEY_FILE
    finished = (partial / MANIFEST).is_file()  # a run died in its very last step: too late to go on
    if not finished and marker.is_file() and marker.read_text() == key:
        for left in partial.rglob(".*.tmp"):
            left.unlink()
        return True
    if partial.exists() and any(partial.iterdir()) and not marker.is_file() and not finished:
        raise InputError(f"{partial.name}: holds files that no stage wrote; move them away")
    partial.mkdir(parents=True, exist_ok=True)
    if not marker.is_file():
        write_text(marker, "")
    _empty(partial, keep=KEY_FILE)
    write_text(marker, key)
    return False


def clear_leftovers(out: Path) -> None:
    """Remove what a process left that died when its result was complete already."""
    lock, replaced = out.with_name(f"{out.name}.lock"), out.with_name(f"{out.name}.replaced")
    if lock.exists() or replaced.exists():
        with suppress(OSError, InputError), lock_folder(out):
            _remove_stage(replaced)


def clear_partial(partial: Path) -> None:
    """Remove the folder with all that was done, its mark last; what cannot be removed stays."""
    with suppress(OSError):
        _empty(partial, keep=KEY_FILE)
        remove_path(partial / KEY_FILE)
        partial.rmdir()


def swap_in(partial: Path, out: Path) -> None:
    """Put a complete `partial` at `out`; an older result there is moved aside first and removed last."""
    replaced = out.with_name(f"{out.name}.replaced")
    _remove_stage(replaced)
    if out.exists():
        os.replace(out, replaced)
    os.replace(partial, out)
    _remove_stage(replaced)


def refuse_foreign(out: Path, name: str, parents: Sequence[str | Path] = ()) -> None:
    """Refuse a target that holds anything but an older result of the same stage, or is read by it.

    Parameters
    ----------
    out : Path
    name : str
        The stage that is to be written.
    parents : sequence of paths
        Folders that it reads.

    Raises
    ------
    InputError
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out.name}: is a file; a folder is written here")
    if not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise InputError(f"{out.name}: holds files but no {MANIFEST}; choose an empty or new folder")
    if (found := read_manifest(out).stage) != name:
        raise InputError(f"{out.name}: holds a finished stage {found!r}, not {name!r}; choose an empty or new folder")
    if os.path.realpath(out) in map(os.path.realpath, parents):
        raise InputError(f"{out.name}: is read and would be replaced; choose another folder")


def remove_path(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _take_lock(path: Path, out: Path) -> int:
    """Return an open, locked file; it is the one that lies at `path`, not one that was removed meanwhile."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            writer = os.read(descriptor, 20).decode("ascii", "replace")
            if error.errno in LOCK_HELD:
                os.close(descriptor)
                raise InputError(_say_busy(out, writer)) from None
        if _is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _say_busy(out: Path, writer: str) -> str:
    who = f"process {writer} is" if writer.isdecimal() else "somebody else is"
    return f"{out.name}: {who} writing this folder; wait until that is done, or choose another"


def _remove_stage(folder: Path) -> None:
    """Remove a finished stage, its manifest last, so that what an interruption leaves is still known as ours."""
    if not (folder / MANIFEST).is_file():
        return
    _empty(folder, keep=MANIFEST)
    (folder / MANIFEST).unlink()
    folder.rmdir()


def _empty(folder: Path, keep: str) -> None:
    for path in folder.iterdir():
        if path.name != keep:
            remove_path(path)
