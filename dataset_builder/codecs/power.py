"""Windowed band power: what the power codecs keep of a recording."""

import numpy as np

from dataset_builder import bands
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, SCALP_CHANNELS, Recording, Trial

#: Names of bands and the nine regions where Chinese text is asked for.
CHINESE: dict[str, str] = {
    "delta": "δ（delta）",
    "theta": "θ（theta）",
    "alpha": "α（alpha）",
    "beta": "β（beta）",
    "gamma": "γ（gamma）",
    "left frontal": "左额区",
    "mid frontal": "中额区",
    "right frontal": "右额区",
    "left central": "左中央区",
    "mid central": "正中央区",
    "right central": "右中央区",
    "left posterior": "左后部",
    "mid posterior": "中后部",
    "right posterior": "右后部",
}

#: Smallest relative power that is told apart from none; FACED's release goes down to 3e-13.
_FLOOR = 1e-15


def extract_power(recording: Recording, feature: str, windows: int) -> np.ndarray:
    """Return log power per window, scalp channel and band.

    Parameters
    ----------
    recording : Recording
    feature : {"de", "psd"}
        Differential entropy, or half the natural logarithm of the relative power, so that both are in nats.
    windows : int
        Equal time windows; the seconds of each are averaged.

    Returns
    -------
    ndarray of shape (n_trials, windows, 30, 5), float32, nats
        In the order of `SCALP_CHANNELS`; NaN where a channel is missing.

    Raises
    ------
    InputError
        If no scalp channel is there, or a trial has fewer seconds than windows.
    """
    channels = recording.channels
    index = [channels.index(name) if name in channels else -1 for name in SCALP_CHANNELS]
    if max(index) < 0:
        raise InputError(f"recording: none of the scalp channels {', '.join(SCALP_CHANNELS)} is present")
    power = np.full((len(recording), windows, len(SCALP_CHANNELS), len(BANDS)), np.nan, dtype=np.float32)
    present = [place for place, channel in enumerate(index) if channel >= 0]
    for row, trial in enumerate(recording):
        seconds = _read_seconds(trial, feature)[[index[place] for place in present]]
        if seconds.shape[1] < windows:
            raise InputError(f"{recording.subject}: {seconds.shape[1]} s cannot be cut into {windows} windows")
        parts = np.array_split(seconds, windows, axis=1)
        power[row][:, present] = np.stack([part.mean(axis=1) for part in parts])
    return power


def check_seconds(codec: str, recording: Recording, seconds: int) -> None:
    """Refuse trials that are not `seconds` whole seconds long.

    Raises
    ------
    InputError
    """
    if recording.de is not None:
        found = recording.de.shape[2]
    elif recording.signal_uv is not None and recording.sfreq_hz:
        found = int(recording.signal_uv.shape[-1] // recording.sfreq_hz)
    else:
        return  # Neither is there: reading it says so.
    if found != seconds:
        raise InputError(f"codec {codec}: trials are {found} s long; accepted: {seconds} s (codec.seconds)")


def _read_seconds(trial: Trial, feature: str) -> np.ndarray:
    """Return log power per second, shape (n_channels, n_seconds, 5), nats."""
    if feature == "de":
        return bands.trial_de(trial)
    return (0.5 * np.log(np.maximum(bands.trial_psd(trial), _FLOOR))).astype(np.float32)
