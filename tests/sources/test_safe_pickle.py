import os
import pickle
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataset_builder.errors import InputError
from dataset_builder.sources.safe_pickle import load_array

SHAPE = (2, 3)
NAME = "EEG_Features/DE/sub003.pkl.pkl"


def write(folder: Path, data: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(data)
    return path


def refuse(folder: Path, data: bytes, shape: tuple[int, ...] = SHAPE) -> str:
    with pytest.raises(InputError) as caught:
        load_array(write(folder, data), shape, NAME)
    message = str(caught.value)
    assert message.startswith(NAME)
    assert "\n" not in message
    assert str(folder) not in message
    return message


class Runs:
    """Pickles into a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_what_numpy_writes(tmp_path: Path, protocol: int, dtype: str, order: str) -> None:
    array = np.asarray(np.arange(6).reshape(SHAPE) / 4, dtype=dtype, order=order)  # type: ignore[call-overload]
    loaded = load_array(write(tmp_path, pickle.dumps(array, protocol=protocol)), SHAPE, NAME)
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype


def test_reads_names_of_both_numpy_generations(tmp_path: Path) -> None:
    data = pickle.dumps(np.ones(SHAPE), protocol=2)
    assert b"numpy._core.multiarray" in data
    older = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(load_array(write(tmp_path, older), SHAPE, NAME), np.ones(SHAPE))


@pytest.mark.parametrize("function", [os.system, os.popen, eval, exec, getattr, open, np.fromfile, pickle.loads])
def test_never_runs_what_a_pickle_asks_for(tmp_path: Path, function: Any) -> None:
    trace = tmp_path / "ran"
    command = f"touch {trace}" if function in (os.system, os.popen) else f"__import__('os').mkdir({str(trace)!r})"
    for protocol in (0, 2, 4):
        message = refuse(tmp_path, pickle.dumps(Runs(function, command), protocol=protocol))
        assert "only a plain float array" in message
        assert not trace.exists()


def test_the_attack_is_real(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    pickle.loads(pickle.dumps(Runs(os.mkdir, str(trace))))
    assert trace.exists()


def test_attack_inside_an_array_state_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    refuse(tmp_path, pickle.dumps([np.ones(SHAPE), Runs(os.mkdir, str(trace))]))
    refuse(tmp_path, pickle.dumps(np.array([[Runs(os.mkdir, str(trace))] * 3] * 2, dtype=object)))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.ones((2, 4)), r"bytes of numbers|shape \(2, 4\), expected \(2, 3\)"),
        (np.ones(6), r"shape \(6,\), expected \(2, 3\)"),
        (np.ones(SHAPE, dtype=np.int64), "numbers of type 'i8'"),
        (np.ones(SHAPE, dtype=complex), "numbers of type 'c16'"),
        (np.full(SHAPE, None), "opcode EMPTY_LIST"),
        (np.array([["a"] * 3] * 2), "numbers of type 'U1'"),
        (np.float64(3.0), "refused"),
        ([[1.0, 2.0]], "opcode EMPTY_LIST"),
        ({"a": np.ones(SHAPE)}, "opcode EMPTY_DICT"),
        ((1, 2), "holds tuple"),
        (np.dtype("f8"), "holds NumberType"),
        (np.ndarray, "holds type"),
    ],
)
def test_anything_else_is_one_clear_line(tmp_path: Path, value: Any, expected: str) -> None:
    assert re.search(expected, refuse(tmp_path, pickle.dumps(value)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(tmp_path: Path, bad: float) -> None:
    array = np.ones(SHAPE)
    array[1, 1] = bad
    assert "1 values that are not finite" in refuse(tmp_path, pickle.dumps(array))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_cut_or_altered_file_never_yields_an_array_of_another_size(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(np.ones(SHAPE), protocol=protocol)
    for length in range(len(data)):
        assert refuse(tmp_path, data[:length]).startswith(f"{NAME}: ")


def test_a_damaged_memo_index_does_not_cost_memory(tmp_path: Path) -> None:
    data = pickle.dumps(np.ones(SHAPE), protocol=4)
    place = data.index(b"\x94")  # MEMOIZE becomes LONG_BINPUT with whatever follows as its index
    assert "in the memo" in refuse(tmp_path, data[:place] + b"r\xff\xff\xff\x7f" + data[place + 1 :])


def test_nested_tuples_do_not_cost_time(tmp_path: Path) -> None:
    nested = b")" + b"q\x00h\x00\x86" * 60  # (), then sixty times: the pair of the last with itself
    started = time.thread_time()
    assert "opcode EMPTY_DICT" in refuse(tmp_path, b"\x80\x04}" + nested + b"K\x01s.")  # as key of a dict
    assert "refused" in refuse(tmp_path, b"\x80\x04cnumpy\ndtype\n" + nested + b"\x85R.")  # as name of a number type
    assert "refused" in refuse(tmp_path, b"\x80\x04cnumpy\nndarray\n)R" + nested + b"b.")  # as state of an array
    assert time.thread_time() - started < 5  # hashing or printing the nest would take for ever


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    assert refuse(tmp_path_factory.mktemp("bytes"), data).startswith(f"{NAME}: ")


@settings(max_examples=300, deadline=1000)
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_one_wrong_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    data = bytearray(pickle.dumps(np.ones(SHAPE), protocol=4))
    data[position % len(data)] = value
    try:
        loaded = load_array(write(tmp_path_factory.mktemp("byte"), bytes(data)), SHAPE, NAME)
    except InputError:
        return
    assert loaded.shape == SHAPE
    assert np.isfinite(loaded).all()


@settings(max_examples=30, deadline=None)
@given(array=arrays(np.float64, SHAPE, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = write(tmp_path_factory.mktemp("trip"), pickle.dumps(array, protocol=4))
    np.testing.assert_array_equal(load_array(path, SHAPE, NAME), array)


def test_declared_sizes_are_not_believed(tmp_path: Path) -> None:
    assert "at most" in refuse(tmp_path, pickle.dumps(np.ones((100, 100))))
    empty = pickle.dumps(np.ones((0, 3)))
    assert "shape (0, 3)" in refuse(tmp_path, empty)
    huge = pickle.dumps(np.ones(SHAPE), protocol=2).replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86")
    assert "bytes of numbers for an array of shape" in refuse(tmp_path, huge)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sub003.pkl.pkl: cannot be read"):
        load_array(tmp_path / "none.pkl", SHAPE, NAME)
