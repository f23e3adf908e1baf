"""Ports of this process kept to the loopback interface, whoever opened them.

The layer's library binds the ports of its samples and of its search to every network card and has no setting for that.
Linux lets a process tie a socket that is open already to one card (``SO_BINDTODEVICE``, socket(7); without privileges
since Linux 5.7): what arrives at another card then finds no port there.
"""

import ipaddress
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_builder.errors import InputError

_FOLDER = Path("/proc/self/fd")
_LOOPBACK_CARD = b"lo\0"

#: How often new sockets are looked for: the layer opens some for each search, seconds.
_PERIOD_S = 0.005


class PortGuard:
    """Ties sockets to the loopback interface, all but those that were open before."""

    def __init__(self) -> None:
        self._done = {inode for inode, _ in _list_sockets()}
        self._lock = threading.Lock()

    def sweep(self) -> int:
        """Tie every new socket that listens on all cards; return how many there were.

        A connection from elsewhere that was taken before is ended.

        Raises
        ------
        InputError
            If the system does not allow it.
        """
        found = 0
        with self._lock:
            for inode, number in _list_sockets():
                if inode not in self._done:
                    with suppress(_GoneError):
                        found += _keep_local(number)
                        self._done.add(inode)
        return found


@contextmanager
def keep_ports_local() -> Iterator[PortGuard]:
    """Keep every port that is opened while the body runs to the loopback interface.

    Yields
    ------
    PortGuard
        Its `sweep` is for the moment before something is sent; a thread looks for new sockets every few milliseconds.

    Raises
    ------
    InputError
        If the system cannot do it.
    """
    if not can_keep_local():
        raise InputError(
            "stream: this system cannot keep the layer's ports from other network cards; accepted: Linux 5.7 or newer, "
            "or --any-interface behind a firewall"
        )
    guard, stop = PortGuard(), threading.Event()

    def watch() -> None:
        while not stop.wait(_PERIOD_S):
            guard.sweep()

    thread = threading.Thread(target=watch, name="ports", daemon=True)
    thread.start()
    try:
        yield guard
    finally:
        stop.set()
        thread.join()


def can_keep_local() -> bool:
    """Tell whether sockets of this process can be tied to the loopback interface."""
    if sys.platform != "linux" or not _FOLDER.is_dir():
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LOOPBACK_CARD)
        except OSError:
            return False
        return True


class _GoneError(Exception):
    """A socket that was closed meanwhile."""


def _list_sockets() -> list[tuple[int, int]]:
    """Return (inode, file descriptor) of this process's sockets; an inode is not used anew while a socket lives."""
    found = []
    for name in os.listdir(_FOLDER) if _FOLDER.is_dir() else ():
        try:
            status = os.fstat(int(name))
        except OSError:  # closed meanwhile
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.append((status.st_ino, int(name)))
    return found


def _keep_local(number: int) -> bool:
    """Tie one socket if other cards can reach it; tell whether they could."""
    try:
        twin = os.dup(number)
    except OSError:
        raise _GoneError from None
    try:
        held = socket.socket(fileno=twin)
    except OSError:  # the number belongs to something else by now
        os.close(twin)
        raise _GoneError from None
    with held:
        if held.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        if not held.getsockname()[1]:
            raise _GoneError  # not bound yet: looked at again
        with suppress(OSError):
            if not ipaddress.ip_address(held.getpeername()[0]).is_loopback:
                held.shutdown(socket.SHUT_RDWR)
        if ipaddress.ip_address(held.getsockname()[0]).is_loopback:
            return False
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LOOPBACK_CARD)
        except OSError as error:
            raise InputError(f"stream: a port cannot be kept from other network cards ({error.strerror})") from None
    return True
