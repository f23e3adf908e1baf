"""Band power per second, as FACED's feature release defines it: differential entropy (DE) and relative power (PSD)."""

from functools import lru_cache

import numpy as np
from mne.filter import create_filter
from scipy.fft import irfft, next_fast_len, rfft

from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, Trial

#: Smallest variance that is told apart from silence, µV². A 24-bit amplifier's own noise lies far above.
_FLOOR_UV2 = 1e-6

#: Least room above gamma for a filter to fall off, Hz.
_TRANSITION_HZ = 1.0

#: How many channels are transformed together: as many as a processor's cache holds.
_ROWS_AT_ONCE = 32


def compute_de(signal_uv: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Compute differential entropy per second and band.

    The trial is filtered to each band of `dataset_builder.types.BANDS`, then every full second's variance is taken:
    ``DE = 0.5 ln(2 pi e variance)`` for a Gaussian signal (Shi, Jiao and Lu 2013, EMBC, "Differential entropy feature
    for EEG-based vigilance estimation"). The filter is MNE's default, as FACED's authors use it: a zero-phase FIR whose
    transitions of 1 to 12 Hz lie outside the band. In the released features the seconds of neighbouring bands go
    together as such overlapping filters make them (r = 0.36 to 0.48; of bands further apart 0.08 to 0.19).

    Parameters
    ----------
    signal_uv : ndarray of shape (..., n_times), µV
    sfreq_hz : float
        Sampling frequency in Hz; at least 96 so that a filter can end at 47 Hz.

    Returns
    -------
    ndarray of shape (..., n_seconds, 5), float32, nats
        A trailing part of less than one second is ignored.

    Raises
    ------
    InputError
        If the signal is shorter than one second or sampled too slowly.
    """
    per_second, n_seconds = _split_seconds(signal_uv.shape[-1], sfreq_hz)
    rows = signal_uv.reshape(-1, signal_uv.shape[-1])
    variance = np.empty((len(rows), n_seconds, len(BANDS)), dtype=np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        variance[some] = _band_variance(rows[some], sfreq_hz, per_second, n_seconds)
    de = 0.5 * np.log(2 * np.pi * np.e * np.maximum(variance, _FLOOR_UV2))
    return np.asarray(de.reshape(*signal_uv.shape[:-1], n_seconds, len(BANDS)), dtype=np.float32)


def second_sd_uv(de: np.ndarray) -> np.ndarray:
    """Return the SD of every second in 1-47 Hz: the variances of the bands add up.

    Parameters
    ----------
    de : ndarray of shape (..., n_seconds, 5), nats

    Returns
    -------
    ndarray of shape (..., n_seconds), float64, µV
    """
    return np.asarray(np.sqrt(np.exp(2 * de.astype(np.float64) - np.log(2 * np.pi * np.e)).sum(axis=-1)))


def compute_psd(signal_uv: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Compute relative band power per second, FACED's second feature set.

    Every second is weighted with a Hann window and transformed with the next power of two as length (256 points at 250
    Hz, six of them zeros). Magnitudes are divided by their sum over all channels and bins, squared, and averaged over
    the bins of a band, its upper edge excluded. The result has no unit and no level: twice the amplitude in every
    channel gives the same numbers, and they depend on which channels take part.

    Parameters
    ----------
    signal_uv : ndarray of shape (..., n_channels, n_times), µV
    sfreq_hz : float
        Sampling frequency in Hz; at least 96.

    Returns
    -------
    ndarray of shape (..., n_channels, n_seconds, 5), float32
        A trailing part of less than one second is ignored.

    Raises
    ------
    InputError
        If the signal is shorter than one second or sampled too slowly.
    """
    per_second, n_seconds = _split_seconds(signal_uv.shape[-1], sfreq_hz)
    whole = np.asarray(signal_uv[..., : n_seconds * per_second], dtype=np.float32)
    seconds = whole.reshape(*signal_uv.shape[:-1], n_seconds, per_second) * np.hanning(per_second).astype(np.float32)
    n_fft = 1 << (per_second - 1).bit_length()
    magnitude = np.abs(rfft(seconds, n=n_fft, axis=-1))
    total = magnitude.sum(axis=(-3, -1), keepdims=True, dtype=np.float64)
    share = magnitude / np.maximum(total, np.finfo(np.float32).tiny)
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / sfreq_hz)
    power = [
        (share[..., (frequencies_hz >= low) & (frequencies_hz < high)] ** 2).mean(axis=-1)
        for low, high in BANDS.values()
    ]
    return np.stack(power, axis=-1).astype(np.float32)


def trial_psd(trial: Trial) -> np.ndarray:
    """Return the trial's relative power, computed from its signal when the recording does not carry it.

    Returns
    -------
    ndarray of shape (n_channels, n_seconds, 5), float32, no unit

    Raises
    ------
    InputError
        If the recording has neither.
    """
    if trial.recording.psd is not None:
        return np.asarray(trial.recording.psd[trial.index])
    if trial.signal_uv is None or trial.recording.sfreq_hz is None:
        raise InputError(f"{trial.recording.subject}: holds neither relative power nor a signal")
    return compute_psd(trial.signal_uv, trial.recording.sfreq_hz)


def trial_de(trial: Trial) -> np.ndarray:
    """Return the trial's DE, computed from its signal when the recording does not carry it.

    Returns
    -------
    ndarray of shape (n_channels, n_seconds, 5), float32, nats

    Raises
    ------
    InputError
        If the recording has neither.
    """
    if trial.de is not None:
        return trial.de
    if trial.signal_uv is None or trial.recording.sfreq_hz is None:
        raise InputError(f"{trial.recording.subject}: holds neither band features nor a signal")
    return compute_de(trial.signal_uv, trial.recording.sfreq_hz)


def _band_variance(rows: np.ndarray, sfreq_hz: float, per_second: int, n_seconds: int) -> np.ndarray:
    """Return the variance of every second in every band, shape (n_rows, n_seconds, 5), µV²."""
    reach, gains = _design_filters(sfreq_hz, rows.shape[-1])
    n_fft = 2 * (gains.shape[-1] - 1)
    steady = rows - rows.mean(axis=-1, keepdims=True)  # an offset would take digits from single precision
    spectrum = rfft(_extend(steady.astype(np.float32), reach), n=n_fft, axis=-1)
    variance = np.empty((len(rows), n_seconds, len(BANDS)), dtype=np.float32)
    for index, gain in enumerate(gains):
        band = irfft(spectrum * gain, n=n_fft, axis=-1, overwrite_x=True)
        seconds = band[:, reach : reach + n_seconds * per_second].reshape(len(rows), n_seconds, per_second)
        # A band without 0 Hz has means of a second near zero, so that nothing cancels here.
        mean_square = np.einsum("rst,rst->rs", seconds, seconds) / per_second
        variance[..., index] = mean_square - seconds.mean(axis=-1) ** 2
    return variance


@lru_cache(maxsize=8)
def _design_filters(sfreq_hz: float, n_times: int) -> tuple[int, np.ndarray]:
    """Return by how many samples the longest filter reaches out, and each filter's gain at the frequencies of an FFT.

    The filters are symmetric, so that around their middle they have a gain and no phase.
    """
    kernels = [create_filter(None, sfreq_hz, low, high, verbose="ERROR") for low, high in BANDS.values()]
    reach = max(len(kernel) // 2 for kernel in kernels)
    n_fft = next_fast_len(n_times + 2 * reach, real=True)
    n_fft += n_fft % 2  # `irfft` is told the length by the number of gains
    gains = np.empty((len(kernels), n_fft // 2 + 1), dtype=np.float32)
    for gain, kernel in zip(gains, kernels, strict=True):
        centred = np.zeros(n_fft)
        centred[: len(kernel)] = kernel
        gain[:] = rfft(np.roll(centred, -(len(kernel) // 2))).real
    return reach, gains


def _extend(rows: np.ndarray, reach: int) -> np.ndarray:
    """Continue every row beyond its ends, turned about the end point as MNE does ("reflect_limited")."""
    mirrored = min(reach, rows.shape[-1] - 1)
    left = 2 * rows[:, :1] - rows[:, mirrored:0:-1]
    right = 2 * rows[:, -1:] - rows[:, -2 : -mirrored - 2 : -1]
    return np.pad(np.concatenate([left, rows, right], axis=-1), ((0, 0), (reach - mirrored,) * 2))


def _split_seconds(n_times: int, sfreq_hz: float) -> tuple[int, int]:
    """Return samples per second and the number of full seconds."""
    per_second = round(sfreq_hz)
    slowest_hz = 2 * (max(high for _, high in BANDS.values()) + _TRANSITION_HZ)
    if n_times < per_second:
        raise InputError(f"signal: {n_times} samples at {sfreq_hz:g} Hz; at least one second is needed")
    if sfreq_hz < slowest_hz:
        raise InputError(f"signal: sampled at {sfreq_hz:g} Hz; at least {slowest_hz:g} Hz is needed for gamma")
    return per_second, n_times // per_second
