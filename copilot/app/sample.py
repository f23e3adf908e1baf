"""A made-up recording to try the page with: nobody was recorded."""

from pathlib import Path

from dataset_builder.sources.simulate import SFREQ_HZ, draw_course, draw_signal
from dataset_builder.sources.statistics import CHANNELS
from dataset_builder.sources.synthetic import write_recording_file
from dataset_builder.types import Recording

#: The made-up person of the sample, and how many windows of 30 s it has.
_SAMPLE_SUBJECT, _SAMPLE_SEX, _SAMPLE_WINDOWS = "sub099", "F", 4

#: Seed of the made-up person, as the demo's cohort has it.
_SEED = 17


def write_sample(path: Path) -> Path:
    """Write a made-up recording of two minutes as an EDF file.

    Parameters
    ----------
    path : Path
        Ends in ``.edf``.

    Returns
    -------
    Path
    """
    signal = draw_signal(_SEED, _SAMPLE_SUBJECT, draw_course(_SEED, _SAMPLE_SUBJECT))[:_SAMPLE_WINDOWS]
    made_up = Recording(
        subject=_SAMPLE_SUBJECT,
        channels=CHANNELS,
        clips=(None,) * len(signal),
        emotions=(None,) * len(signal),
        signal_uv=signal,
        sfreq_hz=float(SFREQ_HZ),
        sex=_SAMPLE_SEX,
        synthetic=True,
    )
    return write_recording_file(made_up, path)
