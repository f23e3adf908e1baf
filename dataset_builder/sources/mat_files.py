"""Number arrays out of MATLAB files, one variable at a time; nothing in them is executed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from dataset_builder.errors import InputError
from dataset_builder.sources.mat_check import check_mat

#: Classes of MATLAB arrays that hold numbers.
_NUMBERS = {"double", "single", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}


def list_arrays(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """List the arrays of numbers in a file without loading them.

    Parameters
    ----------
    path : Path
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    dict of str to tuple of int
        Variable -> shape.

    Raises
    ------
    InputError
        If the file is missing, damaged, or in MATLAB's format 7.3.
    """
    found = _call(whosmat, path, name)
    return {variable: tuple(shape) for variable, shape, kind in found if kind in _NUMBERS}


def load_array(path: Path, variable: str, name: str, max_values: int) -> np.ndarray:
    """Load one array.

    Parameters
    ----------
    path : Path
    variable : str
        One that `list_arrays` returns.
    name : str
        How messages call the file.
    max_values : int
        More numbers than these are refused before they are loaded.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        If the file is damaged, or the array larger.
    """
    shape = list_arrays(path, name).get(variable, ())
    if math.prod(shape) > max_values:
        raise InputError(f"{name}: holds an array of {math.prod(shape)} values, at most {max_values} are accepted")
    return np.asarray(_call(loadmat, path, name, variable_names=[variable])[variable])


def _call(function: Any, path: Path, name: str, **options: Any) -> Any:
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    check_mat(path, name)
    try:
        return function(path, appendmat=False, **options)
    except Exception as error:  # a damaged file raises nearly anything: zlib.error, MatReadError, TypeError ...
        raise InputError(f"{name}: cannot be read as a MATLAB file ({type(error).__name__})") from None
