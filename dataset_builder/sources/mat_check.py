"""Whether a MATLAB 5 file is put together as it says, told before SciPy reads it.

SciPy's reader trusts types, counts and lengths: a damaged file can make it read past its buffers and end the process.
Here every element is walked over first. The layout is that of MathWorks, "MAT-File Format", level 5. Numbers are not
unpacked: of a variable in one block only its beginning is read.
"""

import struct
import zlib
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import BinaryIO

from dataset_builder.errors import InputError
from dataset_builder.sources.mat_bytes import DamagedMat, Inflated, Plain, take

_MATRIX, _COMPRESSED, _INT8, _INT32, _UINT32 = 14, 15, 1, 5, 6

#: Type of an element that holds numbers -> bytes of one.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}

#: Types of an element that holds text.
_TEXT = {1, 2, 4, 16, 17, 18}

_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _NUMBERS, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, range(6, 16), 16, 17

_COMPLEX = 0x0800

_MAX_DEPTH, _MAX_DIMENSIONS, _MAX_FIELDS = 40, 32, 4096

#: Longest name, and longest list of dimensions or names of fields, bytes.
_MAX_WORDS = 2**20

#: Most that a variable may unpack to, bytes: as much as is loaded of a recording.
MAX_BYTES = 2**31

_HDF5 = "it is of version 7.3"


def check_mat(path: Path, name: str) -> None:
    """Refuse what SciPy could not read safely.

    Parameters
    ----------
    path : Path
        A file that is there.
    name : str
        How messages call it.

    Raises
    ------
    InputError
        If the file is not of MATLAB's version 5 to 7, or an element does not fit its place.
    """
    try:
        status = path.stat()
        problem = _find_problem(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    if problem == _HDF5:
        raise InputError(f"{name}: is a MATLAB 7.3 file; accepted: up to version 7 (save -v7)")
    if problem:
        raise InputError(f"{name}: cannot be read as a MATLAB file ({problem}); accepted: version 5 to 7")


def check_mat_stream(stream: BinaryIO, max_bytes: int = MAX_BYTES) -> None:
    """Walk over all elements of an open file.

    Parameters
    ----------
    stream : file object
        At its beginning.
    max_bytes : int
        Most that a variable may unpack to.

    Raises
    ------
    DamagedMat
        If one does not fit.
    """
    head = stream.read(128)
    if head.startswith(b"MATLAB 7.3"):
        raise DamagedMat(_HDF5)
    if len(head) < 128 or head[126:128] not in (b"IM", b"MI"):
        raise DamagedMat("its header is not that of version 5")
    order = "<" if head[126:128] == b"IM" else ">"
    size, place = stream.seek(0, 2), 128
    while place < size:
        stream.seek(place)
        kind, length = struct.unpack(f"{order}II", take(stream.read(8), 8))
        if kind not in (_MATRIX, _COMPRESSED) or place + 8 + length > size:
            raise DamagedMat("a variable does not fit into it")
        if kind == _MATRIX:
            _Walker(Plain(stream), order).check_matrix(length, 0)
        else:
            _check_compressed(Inflated(stream, length), order, max_bytes)
        place += 8 + length


@lru_cache(maxsize=64)
def _find_problem(path: Path, _size: int, _changed: int) -> str:
    """Return what is wrong with a file, once for each state of it: variables are read one by one."""
    try:
        with path.open("rb") as stream:
            check_mat_stream(stream)
    except DamagedMat as error:
        return str(error)
    except zlib.error:
        return "a compressed variable is damaged"
    return ""


def _check_compressed(source: Inflated, order: str, max_bytes: int) -> None:
    kind, size = struct.unpack(f"{order}II", source.read(8))
    if kind != _MATRIX:
        raise DamagedMat("a compressed element is no variable")
    if size > max_bytes:
        raise DamagedMat(f"a variable of {size} bytes, at most {max_bytes} are read")
    _Walker(source, order).check_matrix(size, 0)


class _Walker:
    """Steps over the elements of one variable.

    Parameters
    ----------
    source : Plain or Inflated
    order : str
        ``"<"`` or ``">"``.
    """

    def __init__(self, source: Plain | Inflated, order: str) -> None:
        self.source, self.order = source, order

    def check_matrix(self, size: int, depth: int) -> int:
        """Step over a matrix of `size` bytes; return `size`.

        Raises
        ------
        DamagedMat
            If its parts do not fit into it, or not to one another.
        """
        if size == 0:  # an empty cell
            return size
        if depth > _MAX_DEPTH:
            raise DamagedMat(f"nested more than {_MAX_DEPTH} deep")
        flags, left = self._take_integers(size, _UINT32, 8)
        class_of = flags[0] & 0xFF
        if class_of == _OPAQUE:
            for _ in range(3):
                _, left = self._take_words(left)
            left -= self._check_child(left, depth)
            return self._finish(size, left)
        dimensions, left = self._take_integers(left, _INT32)
        if not 2 <= len(dimensions) <= _MAX_DIMENSIONS or min(dimensions) < 0:
            raise DamagedMat("an array has impossible dimensions")
        _, left = self._take_words(left)
        left = self._check_content(class_of, flags[0], prod(dimensions), left, depth)
        return self._finish(size, left)

    def _check_content(self, class_of: int, flags: int, count: int, left: int, depth: int) -> int:
        """Step over what an array holds; return how many bytes are left of it."""
        if class_of in _NUMBERS:
            parts = 2 if flags & _COMPLEX else 1
            for part in range(parts):
                left = self._skip_numbers(left, count, last=depth == 0 and part == parts - 1)
            return left
        if class_of == _CHAR:
            return self._skip_text(left, count)
        if class_of == _OBJECT:
            _, left = self._take_words(left)
        if class_of in (_STRUCT, _OBJECT):
            count, left = self._count_fields(count, left)
        elif class_of not in (_CELL, _FUNCTION):
            raise DamagedMat("it holds a sparse matrix" if class_of == _SPARSE else "an array is of no known class")
        count = 1 if class_of == _FUNCTION else count
        if count > left // 8:
            raise DamagedMat("a cell or struct array announces more members than it holds")
        for _ in range(count):
            left -= self._check_child(left, depth)
        return left

    def _check_child(self, left: int, depth: int) -> int:
        """Step over a member; return its size, tag included."""
        if left < 8:
            raise DamagedMat("a member is missing")
        kind, size = struct.unpack(f"{self.order}II", self.source.read(8))
        if kind != _MATRIX or size > left - 8:
            raise DamagedMat("a member does not fit into its array")
        return 8 + self.check_matrix(size, depth + 1)

    def _count_fields(self, count: int, left: int) -> tuple[int, int]:
        """Return how many members a struct array has, and how many bytes are left."""
        (length,), left = self._take_integers(left, _INT32, 4)
        names, left = self._take_words(left)
        if length < 1 or len(names) % length or len(names) // length > _MAX_FIELDS:
            raise DamagedMat("the names of a struct array's fields do not fit")
        if not names and count > 1:
            raise DamagedMat("a struct array has no field")
        return count * (len(names) // length), left

    def _skip_numbers(self, left: int, count: int, last: bool) -> int:
        kind, size, small, left = self._take_tag(left)
        if kind not in _SIZES or size != count * _SIZES[kind]:
            raise DamagedMat("the numbers of an array do not fit its dimensions")
        if small or last:  # what follows is another variable, so that it need not be unpacked
            return left if small else left - _padded(size, left)
        self.source.skip(_padded(size, left))
        return left - _padded(size, left)

    def _skip_text(self, left: int, count: int) -> int:
        kind, size, small, left = self._take_tag(left)
        if kind not in _TEXT or count > max(size, 0):
            raise DamagedMat("a text does not fit its dimensions")
        if small:
            return left
        self.source.skip(_padded(size, left))
        return left - _padded(size, left)

    def _take_integers(self, left: int, kind: int, size: int | None = None) -> tuple[tuple[int, ...], int]:
        """Return the whole numbers of an element, of `size` bytes if that is given, and how many bytes are left."""
        found, data, left = self._take_element(left)
        if found not in (_INT32, _UINT32) or len(data) % 4 or (size is not None and len(data) != size):
            raise DamagedMat("an array's description does not fit")
        return struct.unpack(f"{self.order}{len(data) // 4}{'I' if kind == _UINT32 else 'i'}", data), left

    def _take_words(self, left: int) -> tuple[bytes, int]:
        """Return the bytes of a name, and how many bytes are left."""
        kind, data, left = self._take_element(left)
        if kind not in _TEXT:
            raise DamagedMat("a name is no text")
        return data, left

    def _take_element(self, left: int) -> tuple[int, bytes, int]:
        kind, size, small, left = self._take_tag(left)
        if small:
            return kind, small[:size], left
        if size > _MAX_WORDS:
            raise DamagedMat("a name or a description is too long")
        return kind, self.source.read(_padded(size, left))[:size], left - _padded(size, left)

    def _take_tag(self, left: int) -> tuple[int, int, bytes, int]:
        """Return type, size, the data if they stand in the tag itself, and how many bytes are left."""
        if left < 8:
            raise DamagedMat("an array ends too early")
        data = self.source.read(8)
        kind, size = struct.unpack(f"{self.order}II", data)
        left -= 8
        if kind >> 16:
            if kind >> 16 > 4:
                raise DamagedMat("a small element is too long")
            return kind & 0xFFFF, kind >> 16, data[4:], left
        if size > left:
            raise DamagedMat("an element does not fit into its array")
        return kind, size, b"", left

    def _finish(self, size: int, left: int) -> int:
        if left:
            raise DamagedMat("an array is longer than what it holds")
        return size


def _padded(size: int, left: int) -> int:
    """Return a size rounded up to eight bytes, but no more than is left."""
    return min(size + -size % 8, left)
