"""The digest of a model's file, computed once in a process: of a large file it takes a tenth of a second and more."""

from functools import lru_cache
from pathlib import Path

from dataset_builder.manifest import hash_file


def hash_model(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, from memory as long as its size and time of change are the same.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If it cannot be read.
    """
    status = path.stat()
    return _hash(path.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _hash(path: Path, n_bytes: int, changed_ns: int) -> str:
    """Read a file; the numbers are what makes it another one under the same name."""
    del n_bytes, changed_ns
    return hash_file(path)
