"""Self-ratings of FACED and the order of its clips: After_remarks.mat, a MATLAB 5 struct array."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from dataset_builder.errors import InputError
from dataset_builder.sources.mat_check import check_mat_stream
from dataset_builder.types import RATINGS

#: Largest file that is opened; the real ones hold 5 to 20 kB.
_MAX_BYTES = 1_000_000

_MAX_UNPACKED = 16 * _MAX_BYTES

_SCALE = (0.0, 7.0)


@dataclass(frozen=True)
class Remarks:
    """What a subject's file says, in the order of the clips.

    Parameters
    ----------
    ratings : ndarray of shape (n_clips, 12), float32, 0 to 7
        Columns as in `RATINGS`, row 0 is clip 1.
    ranks : tuple of int, length n_clips
        1-based place of each clip in the order of presentation.
    """

    ratings: np.ndarray
    ranks: tuple[int, ...]


def read_ratings(path: Path, n_clips: int, name: str) -> Remarks:
    """Read the ratings of one subject and sort them by clip.

    Parameters
    ----------
    path : Path
    n_clips : int
        How many clips must be rated.
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    Remarks
        A table without the field ``trial`` is taken to be in the order of presentation, as the release's are.

    Raises
    ------
    InputError
        If the file is not such a table.
    """
    remarks = _load_struct(path, name)
    if remarks.shape != (n_clips, 1) or not {"score", "vid"} <= set(remarks.dtype.names or ()):
        raise InputError(f"{name}: expected a {n_clips} x 1 struct array with fields score and vid")
    clips = _read_numbers(remarks, "vid", name)
    ranks = (
        _read_numbers(remarks, "trial", name) if "trial" in (remarks.dtype.names or ()) else np.arange(1, n_clips + 1)
    )
    ratings = np.empty((n_clips, len(RATINGS)), dtype=np.float32)
    ratings[clips - 1] = _read_scores(remarks, name)
    by_clip = np.empty(n_clips, dtype=int)
    by_clip[clips - 1] = ranks
    return Remarks(ratings, tuple(by_clip.tolist()))


def check_scale(scores: np.ndarray, name: str) -> None:
    """Refuse ratings outside 0 to 7."""
    low, high = _SCALE
    if not ((scores >= low) & (scores <= high)).all():
        raise InputError(f"{name}: ratings from {scores.min():g} to {scores.max():g}, expected {low:g} to {high:g}")


def _read_numbers(remarks: np.ndarray, field: str, name: str) -> np.ndarray:
    """Return a field that holds each number from 1 on once."""
    try:
        values = [int(np.asarray(item).item()) for item in remarks[field][:, 0]]
    except (TypeError, ValueError):
        raise InputError(f"{name}: field {field} holds something that is not a number") from None
    if sorted(values) != list(range(1, len(remarks) + 1)):
        raise InputError(f"{name}: field {field} is not each number from 1 to {len(remarks)} once")
    return np.array(values)


def _read_scores(remarks: np.ndarray, name: str) -> np.ndarray:
    try:
        scores = np.array([np.asarray(item, dtype=np.float64).ravel() for item in remarks["score"][:, 0]])
    except (TypeError, ValueError):
        raise InputError(f"{name}: a rating is not a number") from None
    if scores.shape != (len(remarks), len(RATINGS)):
        raise InputError(f"{name}: ratings of shape {scores.shape}, expected {(len(remarks), len(RATINGS))}")
    check_scale(scores, name)
    return scores


def _load_struct(path: Path, name: str) -> np.ndarray:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{name}: {path.stat().st_size} bytes, at most {_MAX_BYTES} expected")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    if not data.startswith(b"MATLAB 5.0 MAT-file"):
        raise InputError(f"{name}: not a MATLAB 5 file")
    try:
        check_mat_stream(BytesIO(data), max_bytes=_MAX_UNPACKED)
        remarks = loadmat(BytesIO(data), variable_names=["After_remark"])["After_remark"]
    except KeyError:
        raise InputError(f"{name}: holds no variable After_remark") from None
    except Exception as error:  # a damaged file raises many kinds
        raise InputError(f"{name}: cannot be read as MATLAB 5 ({type(error).__name__})") from None
    return np.asarray(remarks)
