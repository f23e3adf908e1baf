"""The bytes of a MATLAB file's variables, one after another: as they stand in the file, or unpacked piece by piece."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_CHUNK = 2**20


class DamagedMat(Exception):
    """The file is not put together as it says; the message says in a few words what was found."""


class Plain:
    """Bytes as they stand in the file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the next bytes; `DamagedMat` if there are fewer."""
        return take(self._stream.read(size), size)

    def skip(self, size: int) -> None:
        """Go on after so many bytes."""
        self._stream.seek(size, 1)


class Inflated:
    """The bytes of a compressed element, unpacked piece by piece."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._packed = _iter_blocks(stream, length)
        self._engine = zlib.decompressobj()
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        """Return the next bytes; `DamagedMat` if there are fewer."""
        while len(self._ready) < size:
            packed = self._engine.unconsumed_tail or next(self._packed, b"")
            piece = self._engine.decompress(packed, _CHUNK)
            if not piece and not packed:
                raise DamagedMat("a compressed variable ends too early")
            self._ready += piece
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        return taken

    def skip(self, size: int) -> None:
        """Go on after so many bytes."""
        while size > 0:
            size -= len(self.read(min(size, _CHUNK)))


def _iter_blocks(stream: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield the next `length` bytes of a stream in blocks."""
    while length > 0 and (block := stream.read(min(length, _CHUNK))):
        length -= len(block)
        yield block


def take(data: bytes, size: int) -> bytes:
    """Return what was read if it is as much as was asked for; else raise `DamagedMat`."""
    if len(data) < size:
        raise DamagedMat("it ends too early")
    return data
