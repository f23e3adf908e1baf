"""How many threads the engine should use on this machine."""

import os
from pathlib import Path

from dataset_builder.errors import InputError

#: Environment variable that decides instead of `count_threads`' own choice.
THREADS_VARIABLE = "EEG_COPILOT_THREADS"

_CGROUPS = Path("/sys/fs/cgroup")


def count_threads() -> int:
    """Return one less than the physical cores that this process may use, at least one; no more than its quota of time.

    llama.cpp's threads wait for each other after every matrix: one that the system takes away stops them all. The same
    happens when a container's quota of processor time is used up by threads that wait.

    Raises
    ------
    InputError
        If ``EEG_COPILOT_THREADS`` is set to something other than a number from 1 on.
    """
    if wish := os.environ.get(THREADS_VARIABLE):
        if not wish.isdecimal() or int(wish) < 1:
            raise InputError(f"{THREADS_VARIABLE}: found {wish!r}; accepted: 1 or more")
        return int(wish)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    free, quota = len({_read_siblings(cpu) for cpu in usable}) - 1, read_quota()
    return max(1, free if quota is None else min(free, int(quota)))


def read_quota(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return how many processors' time the control group of this process may use; None without a limit.

    Parameters
    ----------
    root : Path
        Where control groups are mounted.
    membership : Path
        Names the group of this process, see cgroups(7): a line ``0::/name`` in version 2.
    """
    limits = [limit for folder in list_groups(root, membership) if (limit := _read_limit(folder)) is not None]
    return min(limits, default=None)


def list_groups(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return the folders whose limits hold for this process: its group, those above, and version 1's for processors."""
    lines = (read_text(membership) or "").splitlines()
    name = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    own = root / name
    above = [folder for folder in own.parents if folder.is_relative_to(root)]
    return [own, *above, root / "cpu"]


def _read_limit(folder: Path) -> float | None:
    """Return the processors' time that one group may use: ``cpu.max`` (version 2) or ``cpu.cfs_*`` (version 1)."""
    values = (read_text(folder / "cpu.max") or "").split()
    if not values:
        values = [read_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = map(int, values)
    except ValueError:  # "max" and empty: no limit
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read_siblings(cpu: int) -> str:
    """Return which logical processors share a core with this one; its own number where the system does not tell."""
    return read_text(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) or str(cpu)


def read_text(path: Path) -> str | None:
    """Return what one of the kernel's files says, None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return None
