"""The one module that reads pickles: float arrays and nothing else.

A pickle is a program. FACED ships its arrays that way, so the program is replayed onto stand-ins written here: no class
or function named in the file is ever looked up, and NumPy sees only bytes, a shape and a number type that were checked
first.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builder.errors import InputError

#: Room for opcodes around the numbers, bytes.
_OVERHEAD = 4096

_FLOATS = {"f2", "f4", "f8"}

#: Everything that float arrays of the protocols 0 to 5 are made of. No lists, dicts or sets: hashing nested tuples as
#: keys can take for ever.
_OPCODES = set(
    """PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2
    TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE STRING UNICODE BINUNICODE SHORT_BINUNICODE SHORT_BINBYTES BINBYTES BINBYTES8
    BYTEARRAY8 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET""".split()
)

#: Most entries of a pickle's memo. Arrays need about twenty; a damaged index would have gigabytes set aside.
_MEMO = 1000


def load_array(path: Path, shape: tuple[int, ...], name: str, *, finite: bool = True) -> np.ndarray:
    """Read a pickle that holds one float array of a known shape.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        What the array must have.
    name : str
        How messages call the file: relative to the data root.
    finite : bool
        Whether values that are not finite are refused.

    Returns
    -------
    ndarray of `shape`, float16, float32 or float64 as stored; read-only

    Raises
    ------
    InputError
        If the file is missing, too large, not a pickle, holds anything but such an array, or a value is not finite.
    """
    try:
        size = path.stat().st_size
        limit = 8 * math.prod(shape) + _OVERHEAD
        if size > limit:
            raise InputError(f"{name}: {size} bytes, at most {limit} expected for an array of shape {shape}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    array = _load(data, name)
    if array.shape != shape:
        raise InputError(f"{name}: shape {array.shape}, expected {shape}")
    if finite and not np.isfinite(array).all():
        raise InputError(f"{name}: holds {np.count_nonzero(~np.isfinite(array))} values that are not finite numbers")
    return array


class _Refused(Exception):
    """What a pickle asks for and does not get."""


class _NumberType:
    """Stand-in for ``numpy.dtype``: a float type and its byte order."""

    def __init__(self, *arguments: Any) -> None:
        code = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        if code.lstrip("<>=|") not in _FLOATS:
            raise _Refused(f"numbers of type {code[:16]!r}; f2, f4 or f8 expected")
        self.code = code.lstrip("<>=|")
        self.order = ">" if code.startswith(">") else "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]

    def resolve(self) -> np.dtype:
        """Return the NumPy type, built from checked text."""
        return np.dtype(self.order + self.code)


class _Array:
    """Stand-in for ``numpy.ndarray``: gets its state, checks it, then builds the array."""

    value: np.ndarray | None = None

    def __init__(self, *_ignored: Any) -> None:
        return None

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple() as shape, _NumberType() as number, bool() as fortran, bytes() as data):
                self.value = _view(data, number, shape, "F" if fortran else "C")
            case _:
                raise _Refused("an array that does not hold plain numbers")


def _view(data: bytes | bytearray, number: Any, shape: Any, order: Any) -> np.ndarray:
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
    if not whole or not isinstance(number, _NumberType) or not isinstance(data, bytes | bytearray):
        raise _Refused("an array that does not hold plain numbers")
    dtype = number.resolve()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _Refused(f"{len(data)} bytes of numbers for an array of shape {shape}")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")
    array.flags.writeable = False
    return array


def _from_buffer(*arguments: Any) -> _Array:
    """Stand-in for ``numpy.core.numeric._frombuffer``, which protocol 5 calls."""
    if len(arguments) != 4:
        raise _Refused("an array that does not hold plain numbers")
    result = _Array()
    result.value = _view(*arguments)
    return result


def _encode(text: Any, encoding: Any = "") -> bytes:
    """Stand-in for ``_codecs.encode``, by which protocols 0 to 2 store bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("text in place of numbers")
    return text.encode("latin1")


#: Everything that a pickle may name. NumPy 2 renamed ``numpy.core`` to ``numpy._core``.
_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _NumberType,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; nothing is imported."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}"[:80]) from None


def _load(data: bytes, name: str) -> np.ndarray:
    try:
        _check_opcodes(data)
        loaded = _Unpickler(io.BytesIO(data)).load()
    except _Refused as error:
        raise InputError(f"{name}: refused, it asks for {error}; only a plain float array is read") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{name}: not a complete pickle ({type(error).__name__})") from None
    if not isinstance(loaded, _Array) or loaded.value is None:
        found = type(loaded).__name__.lstrip("_")
        raise InputError(f"{name}: holds {found}, expected one float array")
    return loaded.value


def _check_opcodes(data: bytes) -> None:
    """Walk through the program without running it; every declared length must be there."""
    for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
        if opcode.name not in _OPCODES:
            raise _Refused(f"opcode {opcode.name}")
        if opcode.name.endswith("PUT") and not 0 <= int(argument or 0) <= _MEMO:
            raise _Refused(f"place {argument} in the memo")
