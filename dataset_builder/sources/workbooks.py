"""The first sheet of a workbook (xlsx), read without trusting it: the file is an archive that says how large it is."""

import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from dataset_builder.errors import InputError

#: Most that the archive's files may unpack to together, bytes; the releases' tables take 60 kB.
_MAX_BYTES = 20_000_000

#: Most rows that are read; a sheet can say that it has a million empty ones.
_MAX_ROWS = 10_000


def read_first_sheet(path: Path, name: str) -> list[tuple[Any, ...]]:
    """Read the values of the first sheet.

    Parameters
    ----------
    path : Path
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    list of tuple
        One per row; empty cells are None.

    Raises
    ------
    InputError
        If the file is no workbook, is damaged, or would unpack to more than a table of clips can be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > _MAX_BYTES:
            raise InputError(f"{name}: unpacks to {size} bytes; accepted: at most {_MAX_BYTES}")
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
        return list(islice(sheet.iter_rows(values_only=True), _MAX_ROWS))
    except InputError:
        raise
    except Exception as error:  # a damaged workbook raises nearly anything: zlib.error, TypeError, KeyError ...
        raise InputError(f"{name}: cannot be read ({type(error).__name__})") from None
