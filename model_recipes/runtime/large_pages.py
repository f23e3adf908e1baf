"""Put a model's weights into large pages of memory, which a processor finds with far fewer look-ups.

For each token of an answer all weights are read once, and beyond the first few megabytes every 4 kB of them have to be
looked up; with pages of 2 MB this is done 512 times less often. Linux from 6.1 on can move memory in use there at once,
see ``MADV_COLLAPSE`` in madvise(2). Nothing here raises: where it is not possible, memory stays as it is.
"""

import ctypes
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from model_recipes.runtime.threads import list_groups, read_text

Region = tuple[int, int]

#: Numbers of the advice in Linux' ``mman-common.h``.
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25

#: Smaller regions hold no weights.
_MIN_PAGES = 8

_MAPS, _ROLLUP, _MEMORY = (Path("/proc", name) for name in ("self/maps", "self/smaps_rollup", "meminfo"))
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")


def has_large_pages() -> bool:
    """Tell whether this system can move memory into large pages: Linux from 6.1 on, unless it is forbidden."""
    allowed = "[never]" not in (read_text(_SETTINGS / "enabled") or "[never]")
    return allowed and _advise(0, 0, _MADV_COLLAPSE)  # madvise(2): with length 0 it only tells whether it could


def has_room(n_bytes: int) -> bool:
    """Tell whether twice so many bytes are free, in the machine and in the control group of this process."""
    available = _read_kib(_MEMORY, "MemAvailable")
    return min([available, *filter(None, map(_count_free, list_groups()))], default=0) > 2 * n_bytes


def list_regions(maps: Path = _MAPS) -> set[Region]:
    """Return first address and end of what this process has allocated, see proc_pid_maps(5); empty if not Linux."""
    regions = set()
    for line in (read_text(maps) or "").splitlines():
        place, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights == "rw-p" and inode == "0" and not "".join(name).startswith("[stack"):
            start, _, end = place.partition("-")
            regions.add((int(start, 16), int(end, 16)))
    return regions


def use_large_pages(before: Collection[Region]) -> int:
    """Move what was allocated since into large pages.

    Takes 2.6 seconds of the processor per gigabyte on the machine of ``LOG.md``. Asking before the memory is filled
    would take about half, but llama.cpp allocates and fills in one call.

    Parameters
    ----------
    before : collection of (int, int)
        `list_regions` as it was before.

    Returns
    -------
    int
        Bytes that lie in large pages now and did not before.
    """
    page = int(read_text(_SETTINGS / "hpage_pmd_size") or 0)
    if not page:
        return 0
    small = _read_kib(_ROLLUP, "AnonHugePages")
    for start, end in _list_new(before):
        pages = range(-(-start // page) * page, end // page * page, page)
        if len(pages) >= _MIN_PAGES and _advise(pages[0], len(pages) * page, _MADV_HUGEPAGE):
            for address in pages:  # in one call, the first page that nobody has written to yet would end it
                _advise(address, page, _MADV_COLLAPSE)
    return max(0, _read_kib(_ROLLUP, "AnonHugePages") - small)


def _list_new(before: Collection[Region]) -> Iterator[Region]:
    """Yield what no region of `before` covers: the system joins new memory to old."""
    for start, end in sorted(list_regions().difference(before)):
        for old_start, old_end in sorted(before):
            if old_start < end and old_end > start:
                yield start, old_start
                start = old_end
        yield start, end


def _advise(address: int, length: int, advice: int) -> bool:
    """Call ``madvise``; tell whether it was taken."""
    if sys.platform != "linux":
        return False
    madvise = ctypes.CDLL(None).madvise
    return bool(madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), advice) == 0)


def _read_kib(path: Path, name: str) -> int:
    """Return a line ``name: 12 kB`` of one of the kernel's files in bytes; 0 where there is none."""
    lines = (read_text(path) or "").splitlines()
    found = next((line for line in lines if line.startswith(f"{name}:")), f"{name}: 0 kB")
    return int(found.split()[1]) * 1024


def _count_free(group: Path) -> int | None:
    """Return the bytes that a control group (version 2) has left, files in memory not counted; None without a limit."""
    limit, used = (read_text(group / f"memory.{name}") or "" for name in ("max", "current"))
    if not limit.isdecimal() or not used.isdecimal():
        return None
    lines = (line.split() for line in (read_text(group / "memory.stat") or "").splitlines())
    cached = sum(int(value) for name, value in lines if name in ("active_file", "inactive_file"))
    return max(1, int(limit) - int(used) + cached)
