"""The tags that a FIF file is made of, read one after the other and written anew.

A tag is kind, type, size and the place of the next tag (four big-endian integers), then its data; blocks begin and end
with tags of their own (FIFF 1.3, Uutela and Hämäläinen, Neuromag).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mne.io.constants import FIFF

from copilot.deid.findings import damaged

_HEADER = struct.Struct(">4i")

#: More tags than any recording has.
_MAX_TAGS = 2_000_000


@dataclass(frozen=True)
class Tag:
    """Where a tag is and in which block.

    Parameters
    ----------
    kind, type, size : int
        As the tag says; `size` in bytes.
    at : int
        Where its data begin in the file.
    blocks : tuple of int
        Kinds of the blocks around it, the innermost last.
    """

    kind: int
    type: int
    size: int
    at: int
    blocks: tuple[int, ...]

    @property
    def block(self) -> int:
        """The innermost block, 0 outside of all."""
        return self.blocks[-1] if self.blocks else 0

    def read(self, stream: BinaryIO) -> bytes:
        """Return the data."""
        stream.seek(self.at)
        return stream.read(self.size)


def list_tags(stream: BinaryIO, size: int) -> Iterator[Tag]:
    """Yield the tags of a file; a block's first and last tag belong to it.

    Parameters
    ----------
    stream : file object
    size : int
        Of the file, bytes.

    Raises
    ------
    InputError
        If this is no FIF file, or its tags do not lie in it one after the other.
    """
    at, blocks = 0, []
    for number in range(_MAX_TAGS):
        stream.seek(at)
        data = stream.read(_HEADER.size)
        if not data and number:
            return
        if len(data) < _HEADER.size:
            raise damaged(".fif", "ends within a tag")
        kind, of_type, length, following = _HEADER.unpack(data)
        start = at + _HEADER.size
        if (number == 0 and (kind, length) != (FIFF.FIFF_FILE_ID, 20)) or not 0 <= length <= size - start:
            raise damaged(".fif", "is no FIF file" if number == 0 else "ends within a tag")
        if kind == FIFF.FIFF_BLOCK_START and length >= 4:
            blocks.append(struct.unpack(">i", stream.read(4))[0])
        yield Tag(kind, of_type, length, start, tuple(blocks))
        if kind == FIFF.FIFF_BLOCK_END and blocks:
            blocks.pop()
        if following == FIFF.FIFFV_NEXT_NONE:
            return
        if 0 < following <= at:
            raise damaged(".fif", "its tags run in a circle")
        at = following or start + length
    raise damaged(".fif", "holds too many tags")


def make_tag(kind: int, of_type: int, data: bytes, *, last: bool = False) -> bytes:
    """Return a tag that is followed by another, or by none."""
    return _HEADER.pack(kind, of_type, len(data), FIFF.FIFFV_NEXT_NONE if last else 0) + data
