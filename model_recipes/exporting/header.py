"""Read the keys of a GGUF file fast.

`gguf.GGUFReader` builds several arrays for every token: seconds for a vocabulary of 152 thousand, each time a record
is drafted. Here strings that nobody asked for are stepped over. The layout is that of the GGUF specification, version 3
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian.
"""

import mmap
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from dataset_builder.errors import InputError

#: Value type -> struct code, for everything of fixed size.
_FIXED: dict[int, str] = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}

_VERSIONS = (2, 3)

_ALIGNMENT = "general.alignment"


def check_magic(path: Path) -> None:
    """Refuse what is no GGUF file, by its first four bytes.

    Raises
    ------
    InputError
        If it is missing or is something else.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror})") from None
    if magic != b"GGUF":
        raise InputError(f"{path.name}: not a GGUF file")


def read_header(path: Path, prefixes: Sequence[str]) -> dict[str, Any]:
    """Read the keys that begin with one of `prefixes`.

    Parameters
    ----------
    path : Path
    prefixes : sequence of str

    Returns
    -------
    dict
        Numbers, texts, arrays of numbers as ndarray, arrays of texts as list.

    Raises
    ------
    InputError
        If the file is missing, is not GGUF, or ends too early.
    """
    check_magic(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Cursor(data).read_all((*prefixes, _ALIGNMENT))
    except (struct.error, ValueError, KeyError, OverflowError):
        raise InputError(f"{path.name}: damaged GGUF file; download or export it again") from None


def read_tensor(path: Path, name: str) -> tuple[tuple[int, ...], int, np.ndarray] | None:
    """Read the stored bytes of one tensor.

    Parameters
    ----------
    path : Path
        GGUF file.
    name : str
        For example ``"token_embd.weight"``.

    Returns
    -------
    shape : tuple of int
        Row-major.
    kind : int
        Number of its GGML type.
    data : ndarray of shape (n_rows, n_bytes_per_row), uint8
        None in place of all three if the file has no such tensor.

    Raises
    ------
    InputError
        If the file is missing, is not GGUF, or ends too early.
    """
    check_magic(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data)
            cursor.read_all((_ALIGNMENT,))
            if name not in cursor.tensors:
                return None
            shape, kind, offset, size = cursor.tensors[name]
            stored = np.frombuffer(data[cursor.start + offset : cursor.start + offset + size], dtype=np.uint8)
            return shape, kind, stored.reshape(prod(shape[:-1]), -1)
    except (struct.error, ValueError, KeyError, OverflowError):
        raise InputError(f"{path.name}: damaged GGUF file; download or export it again") from None


class _Cursor:
    """A place in a GGUF file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 4
        #: Name -> row-major shape, number of the type, offset after `start` and size in bytes.
        self.tensors: dict[str, tuple[tuple[int, ...], int, int, int]] = {}
        #: Where the tensors' data begin.
        self.start = 0

    def read_all(self, prefixes: tuple[str, ...]) -> dict[str, Any]:
        """Read keys, then check that every tensor lies within the file."""
        if self.take("I") not in _VERSIONS:
            raise ValueError("unknown version")
        n_tensors, n_keys = self.take("Q"), self.take("Q")
        values = {}
        for _ in range(n_keys):
            key, kind = self.take_text(), self.take("I")
            value = self.take_value(kind, kept=key.startswith(prefixes))
            if key.startswith(prefixes):
                values[key] = value
        self.tensors = dict(self.take_tensor() for _ in range(n_tensors))
        alignment = values.get(_ALIGNMENT, 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise ValueError("alignment is no power of two")
        self.start = -(-self.place // alignment) * alignment
        ends = [offset + size for _, _, offset, size in self.tensors.values()]
        if ends and self.start + max(ends) > len(self.data):
            raise ValueError("ends before its last tensor")
        return values

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.place)
        self.place += struct.calcsize(f"<{code}")
        return value

    def take_bytes(self, size: int) -> bytes:
        if self.place + size > len(self.data):
            raise ValueError("ends within a value")
        self.place += size
        return self.data[self.place - size : self.place]

    def take_text(self) -> str:
        return self.take_bytes(self.take("Q")).decode("utf-8")

    def take_value(self, kind: int, kept: bool) -> Any:
        if kind == GGUFValueType.STRING:
            return self.take_text()
        if kind != GGUFValueType.ARRAY:
            return self.take(_FIXED[kind])
        element, length = self.take("I"), self.take("Q")
        if element == GGUFValueType.STRING:
            return [self.take_text() for _ in range(length)] if kept else self.skip_texts(length)
        dtype = np.dtype(f"<{_FIXED[element]}" if element != GGUFValueType.BOOL else "?")
        return np.frombuffer(self.take_bytes(length * dtype.itemsize), dtype=dtype)

    def skip_texts(self, count: int) -> None:
        """Step over texts without making them; a vocabulary is most of a header."""
        unpack, data, place = struct.Struct("<Q").unpack_from, self.data, self.place
        for _ in range(count):
            place += 8 + unpack(data, place)[0]
        self.place = place

    def take_tensor(self) -> tuple[str, tuple[tuple[int, ...], int, int, int]]:
        """Read one tensor's description."""
        name = self.take_text()
        shape = tuple(self.take("Q") for _ in range(self.take("I")))[::-1]
        kind, offset = self.take("I"), self.take("Q")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        return name, (shape, kind, offset, prod(shape) // block * size)
