"""A made-up data set in SEED-IV's layout: few clips per file, and no ``Channel Order.xlsx``."""

import io
from pathlib import Path

import numpy as np
from scipy.io import savemat

from dataset_builder.manifest import write_bytes, write_text
from dataset_builder.sources.faced_tables import SYNTHETIC_MARK
from dataset_builder.sources.folder_fake import draw_eeg
from dataset_builder.sources.seed_iv_tables import CHANNELS, CODES, LABELS, SFREQ_HZ

#: The first four clips of session 1 have all four labels.
_CLIPS = 4

#: A little longer than what is kept of a clip.
_CLIP_S = 31.0

#: "FP1" -> "Fp1": the places of blinks are told by it.
_PLACES = tuple(name.replace("FP", "Fp") for name in CHANNELS)

_README = """Synthetic data, nobody was recorded.

{labels}

The labels with 0, 1, 2, and 3 denote the ground truth, neutral, sad, fear, and happy emotions, respectively.
"""


def write_seed_iv(root: Path, n_subjects: int, seed: int) -> None:
    """Write one session per subject, and a second one for the first.

    Parameters
    ----------
    root : Path
    n_subjects : int
    seed : int
    """
    for number in range(1, n_subjects + 1):
        for session in (1, 2) if number == 1 else (1,):
            path = root / "eeg_raw_data" / str(session) / f"{number}_2016{session:02d}{number:02d}.mat"
            write_bytes(path, _render_session(seed, number, session))
    labels = [f"session{session}_label = [{_codes(session)}];" for session in LABELS]
    write_text(root / "ReadMe.txt", _README.format(labels="\n".join(labels)))
    write_text(root / SYNTHETIC_MARK, "# Synthetic data\n\nNobody was recorded: every subject here is made up.\n")


def _codes(session: int) -> str:
    return ",".join(str(CODES.index(emotion)) for emotion in LABELS[session])


def _render_session(seed: int, number: int, session: int) -> bytes:
    """Return a MATLAB file; the variables' prefix differs between people, as in the release."""
    prefix = f"{'abcdefgh'[number % 8]}x"
    clips = {
        f"{prefix}_eeg{clip}": draw_eeg(seed, f"{number}/{session}/{clip}", _PLACES, _CLIP_S, round(SFREQ_HZ))
        for clip in range(1, _CLIPS + 1)
    }
    buffer = io.BytesIO()
    savemat(buffer, {name: signal.astype(np.float32) for name, signal in clips.items()})
    return b"MATLAB 5.0 MAT-file, synthetic".ljust(116) + buffer.getvalue()[116:]  # the text would hold the time
