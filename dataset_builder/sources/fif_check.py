"""Whether the tags of a FIF file follow one another and lead to a continuous recording, told before MNE reads it.

A tag says where the next one is. In a damaged file that can be one that was read before, and a reader that trusts it
goes round until the memory is full. The layout is that of the FIFF 1.3 specification (Uutela and Hämäläinen,
Neuromag): kind, type, size and place of the next tag as big-endian 32-bit integers, then the data.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from dataset_builder.errors import InputError

_HEADER = struct.Struct(">4i")

_FILE_ID, _DIRECTORY_POINTER, _DIRECTORY, _BLOCK_START = 100, 101, 102, 104

#: Block that MNE writes epochs into.
_EPOCHS = struct.pack(">i", 373)

_IS_EPOCHS = "is cut into epochs; accepted: continuous recordings"

#: More tags than any recording has.
_MAX_TAGS = 2_000_000


def check_fif(path: Path, name: str) -> None:
    """Refuse a file whose tags do not lie in it one after the other, and one of epochs.

    Parameters
    ----------
    path : Path
        A file that is there.
    name : str
        How messages call it.

    Raises
    ------
    InputError
        Tells what is wrong.
    """
    try:
        with path.open("rb") as stream:
            problem = _find_problem(stream, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    if problem == _IS_EPOCHS:
        raise InputError(f"{name}: {problem}")
    if problem:
        raise InputError(f"{name}: cannot be read as FIF ({problem})")


def _find_problem(stream: BinaryIO, size: int) -> str:
    tags: dict[int, tuple[int, int, int]] = {}
    place, pointed = 0, -1
    while len(tags) < _MAX_TAGS:
        stream.seek(place)
        head = stream.read(_HEADER.size)
        if len(head) < _HEADER.size:
            break
        kind, of_type, length, following = _HEADER.unpack(head)
        end = place + _HEADER.size + length
        if (not tags and (kind, length) != (_FILE_ID, 20)) or length < 0 or end > size:
            return "ends within a tag" if tags else "its first tag is not that of a FIF file"
        if kind == _DIRECTORY_POINTER and length >= 4:
            (pointed,) = struct.unpack(">i", stream.read(4))
        if kind == _BLOCK_START and stream.read(length if length == 4 else 0) == _EPOCHS:
            return _IS_EPOCHS
        tags[place] = kind, of_type, length
        if following < 0:
            break
        place = following or end
        if place in tags:  # going back is no fault: blocks may be added at the end
            return "its tags run in a circle"
    else:
        return "holds too many tags"
    return _check_directory(stream, tags, pointed, size) if pointed > 0 else ""


def _check_directory(stream: BinaryIO, tags: dict[int, tuple[int, int, int]], place: int, size: int) -> str:
    """Compare the file's own list of its tags, which readers go by, with the tags that are there.

    Recorders that write the list last leave it behind the tag that ends the file, where nothing but the pointer leads.
    """
    if place not in tags:
        stream.seek(place)
        head = stream.read(_HEADER.size)
        kind, of_type, length, _ = _HEADER.unpack(head) if len(head) == _HEADER.size else (0, 0, 0, 0)
        if kind != _DIRECTORY or not 0 <= length <= size - place - _HEADER.size:
            return "its directory of tags is not where it should be"
        tags[place] = kind, of_type, length
    stream.seek(place + _HEADER.size)
    entries = _HEADER.iter_unpack(stream.read(tags[place][2] // _HEADER.size * _HEADER.size))
    if all(tags.get(at) == (kind, of_type, length) or kind == at == -1 for kind, of_type, length, at in entries):
        return ""  # an entry of -1 ends the list
    return "its directory lists tags that are not there"
