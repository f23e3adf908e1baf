"""How good the signal of a recording is, before and after it was filtered."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import welch

from dataset_builder.bands import second_sd_uv, trial_de
from dataset_builder.codecs.band_power import REGIONS
from dataset_builder.errors import InputError
from dataset_builder.types import SCALP_CHANNELS, Recording

#: A channel's second counts as flat below and as noisy above this SD in 1-47 Hz, µV. In FACED's released features (99
#: subjects, eye artifacts removed) no second is below 1 µV, 99 % are below 35 µV, and 0.6 % are above 75 µV, nearly all
#: of them in 27 damaged trials of five subjects.
FLAT_SD_UV = 0.5
NOISY_SD_UV = 75.0

#: A channel is marked when more than this share of its seconds is flat or noisy.
MARKED_SHARE = 0.25


@dataclass(frozen=True)
class Quality:
    """How much of a recording can be used, judged by amplitude in 1-47 Hz alone.

    Slow drifts, bridged electrodes, swapped channels and eye movements of ordinary size are not found this way.

    Parameters
    ----------
    n_windows : int
    n_channels : int
        Of the recording, mastoids included.
    usable_fraction : float
        Share of seconds times channels that are neither flat nor noisy, 0 to 1.
    window_fractions : tuple of float, length n_windows
        The same share per window.
    flat_channels, noisy_channels : tuple of str
        Channels with more than `MARKED_SHARE` of their seconds flat or noisy.
    missing_channels : tuple of str
        Of the 30 scalp channels that models are trained on, those which the recording lacks.
    missing_regions : tuple of str
        Scalp regions without any channel that is present and unmarked.
    """

    n_windows: int
    n_channels: int
    usable_fraction: float
    window_fractions: tuple[float, ...]
    flat_channels: tuple[str, ...]
    noisy_channels: tuple[str, ...]
    missing_channels: tuple[str, ...]
    missing_regions: tuple[str, ...]


def assess_quality(recording: Recording) -> Quality:
    """Judge the signal of a recording, from its waveforms or its band features.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    Quality

    Raises
    ------
    InputError
        If the recording holds no window, or neither waveforms nor band features.
    """
    if not len(recording):
        raise InputError(f"{recording.subject}: holds no window")
    sd_uv = np.stack([second_sd_uv(trial_de(trial)) for trial in recording])
    flat, noisy = sd_uv < FLAT_SD_UV, ~(sd_uv <= NOISY_SD_UV)
    usable = ~(flat | noisy)
    flat_channels = _marked(recording, flat)
    noisy_channels = _marked(recording, noisy)
    good = set(recording.channels) - set(flat_channels) - set(noisy_channels)
    return Quality(
        n_windows=len(recording),
        n_channels=len(recording.channels),
        usable_fraction=float(usable.mean()),
        window_fractions=tuple(usable.mean(axis=(1, 2)).tolist()),
        flat_channels=flat_channels,
        noisy_channels=noisy_channels,
        missing_channels=tuple(name for name in SCALP_CHANNELS if name not in recording.channels),
        missing_regions=tuple(region for region, names in REGIONS.items() if not good & set(names)),
    )


def find_line_noise(signal: np.ndarray, sfreq_hz: float, line_hz: float) -> np.ndarray:
    """Tell which channels carry mains hum: power at `line_hz` more than ten times that beside it.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_times)
        Before filtering.
    sfreq_hz, line_hz : float
        In Hz; the mains are 50 or 60 Hz.

    Returns
    -------
    ndarray of shape (n_channels,), bool
        All False when the sampling frequency is too low to tell.
    """
    if sfreq_hz < 2 * (line_hz + 5):
        return np.zeros(len(signal), dtype=bool)
    frequencies, power = welch(signal, sfreq_hz, nperseg=min(signal.shape[1], round(2 * sfreq_hz)))
    distance = np.abs(frequencies - line_hz)
    at_line = power[:, distance <= 1].max(axis=1)
    beside = np.median(power[:, (distance > 2) & (distance <= 5)], axis=1)
    return np.asarray(at_line > 10 * beside)


def find_clipped(signal: np.ndarray) -> np.ndarray:
    """Tell which channels stand at their own highest or lowest value for more than 1 % of the time.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_times)
        Before filtering.

    Returns
    -------
    ndarray of shape (n_channels,), bool
    """
    ends = (signal == signal.max(axis=1, keepdims=True)) | (signal == signal.min(axis=1, keepdims=True))
    return np.asarray(ends.mean(axis=1) > 0.01)


def _marked(recording: Recording, bad: np.ndarray) -> tuple[str, ...]:
    share = bad.mean(axis=(0, 2))
    return tuple(name for name, value in zip(recording.channels, share, strict=True) if value > MARKED_SHARE)
