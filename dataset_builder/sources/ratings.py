"""Self-ratings of FACED: After_remarks.mat, a MATLAB 5 struct array in presentation order."""

from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from dataset_builder.errors import InputError
from dataset_builder.types import RATINGS

#: Largest file that is opened; the real ones hold 5 to 20 kB.
_MAX_BYTES = 1_000_000

_SCALE = (0.0, 7.0)


def read_ratings(path: Path, n_clips: int, name: str) -> np.ndarray:
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
    ndarray of shape (n_clips, 12), float32, 0 to 7
        Columns as in `RATINGS`, row 0 is clip 1.

    Raises
    ------
    InputError
        If the file is not such a table.
    """
    remarks = _load_struct(path, name)
    if remarks.shape != (n_clips, 1) or not {"score", "vid"} <= set(remarks.dtype.names or ()):
        raise InputError(f"{name}: expected a {n_clips} x 1 struct array with fields score and vid")
    try:
        clips = [int(np.asarray(item).item()) for item in remarks["vid"][:, 0]]
        scores = np.array([np.asarray(item, dtype=np.float64).ravel() for item in remarks["score"][:, 0]])
    except (TypeError, ValueError):
        raise InputError(f"{name}: a clip number or rating is not a number") from None
    if sorted(clips) != list(range(1, n_clips + 1)):
        raise InputError(f"{name}: field vid is not each clip from 1 to {n_clips} once")
    if scores.shape != (n_clips, len(RATINGS)):
        raise InputError(f"{name}: ratings of shape {scores.shape}, expected {(n_clips, len(RATINGS))}")
    low, high = _SCALE
    if not ((scores >= low) & (scores <= high)).all():
        raise InputError(f"{name}: ratings from {scores.min():g} to {scores.max():g}, expected {low:g} to {high:g}")
    ordered = np.empty(scores.shape, dtype=np.float32)
    ordered[np.array(clips) - 1] = scores
    return ordered


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
        remarks = loadmat(BytesIO(data), variable_names=["After_remark"])["After_remark"]
    except KeyError:
        raise InputError(f"{name}: holds no variable After_remark") from None
    except Exception as error:  # a damaged file raises many kinds
        raise InputError(f"{name}: cannot be read as MATLAB 5 ({type(error).__name__})") from None
    return np.asarray(remarks)
