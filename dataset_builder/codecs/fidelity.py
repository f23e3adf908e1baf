"""A decoded trial beside the truth, and how far its band power is off, in dB."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len, rfft

from dataset_builder.types import BANDS

#: What a band counts that is not in the decoded trial any more; no error is counted higher.
LOST_DB = 40.0

#: 10 log10 of a power ratio, per nat of differential entropy: DE is half the logarithm of a variance.
DB_PER_NAT = 20 / np.log(10)


@dataclass(frozen=True)
class PowerComparison:
    """A trial of a code that holds band power.

    Parameters
    ----------
    places : tuple of str
        Channels or regions.
    truth, decoded : ndarray of shape (5, windows, places), dB
        Relative to the average that the code is scaled by; NaN for a missing place.
    """

    places: tuple[str, ...]
    truth: np.ndarray
    decoded: np.ndarray

    def measure_error(self) -> np.ndarray:
        """Return the mean error per band, shape (5,), dB; see `Codec.measure_error`."""
        error_db = np.minimum(np.abs(self.decoded - self.truth), LOST_DB)
        return np.asarray(np.nanmean(error_db, axis=(1, 2), dtype=np.float64))


@dataclass(frozen=True)
class WaveComparison:
    """A trial of a code that holds waveforms.

    Parameters
    ----------
    places : tuple of str
        Channels.
    truth, decoded : ndarray of shape (places, n_times), standard deviations of the trial
        What the code does not hold is zero in `decoded`.
    sfreq_hz : float
        Sampling frequency of both in Hz.
    """

    places: tuple[str, ...]
    truth: np.ndarray
    decoded: np.ndarray
    sfreq_hz: float

    def measure_error(self) -> np.ndarray:
        """Return the mean error per band, shape (5,), dB; see `Codec.measure_error`."""
        return measure_power_error(self.decoded, self.truth, self.sfreq_hz)


Comparison = PowerComparison | WaveComparison


def measure_power_error(decoded: np.ndarray, truth: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Compare the band power of two signals over the whole trial.

    Parameters
    ----------
    decoded, truth : ndarray of shape (..., n_channels, n_times), any common unit
    sfreq_hz : float
        Sampling frequency of both in Hz.

    Returns
    -------
    ndarray of shape (..., 5), float64, dB
        Mean over channels of ``|10 log10(decoded power / true power)|``, at most `LOST_DB` a channel. NaN for a band
        that neither signal holds.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_db = 10 * np.log10(_band_power(decoded, sfreq_hz) / _band_power(truth, sfreq_hz))
    return np.minimum(np.abs(ratio_db), LOST_DB).mean(axis=-2)


def _band_power(signal: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Return summed power per band, shape (..., n_channels, 5); zero-padding leaves ratios of sums alone."""
    signal = np.asarray(signal, dtype=np.float64)
    n_fft = next_fast_len(signal.shape[-1], real=True)
    power = np.abs(rfft(signal - signal.mean(axis=-1, keepdims=True), n=n_fft, axis=-1)) ** 2
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / sfreq_hz)
    bands = [(frequencies_hz >= low) & (frequencies_hz < high) for low, high in BANDS.values()]
    return np.stack([power[..., inside].sum(axis=-1) for inside in bands], axis=-1)
