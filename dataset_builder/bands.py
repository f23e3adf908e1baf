"""Band power per second, as FACED's feature release defines it."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, Trial

#: Smallest variance that is told apart from silence, µV². A 24-bit amplifier's own noise lies far above.
_FLOOR_UV2 = 1e-6


def compute_de(signal_uv: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Compute differential entropy per second and band.

    Each band is cut out of the whole trial's spectrum, then the variance of every full second is taken:
    ``DE = 0.5 ln(2 pi e variance)`` for a Gaussian signal (Shi, Jiao and Lu 2013, EMBC, "Differential entropy feature
    for EEG-based vigilance estimation"). Bands are those of `dataset_builder.types.BANDS`.

    Parameters
    ----------
    signal_uv : ndarray of shape (..., n_times), µV
    sfreq_hz : float
        Sampling frequency in Hz; at least 94 so that 47 Hz can be represented.

    Returns
    -------
    ndarray of shape (..., n_seconds, 5), float32, nats
        A trailing part of less than one second is ignored.

    Raises
    ------
    InputError
        If the signal is shorter than one second or sampled too slowly.
    """
    per_second = round(sfreq_hz)
    n_seconds = signal_uv.shape[-1] // per_second
    highest_hz = max(high for _, high in BANDS.values())
    if n_seconds < 1:
        raise InputError(f"signal: {signal_uv.shape[-1]} samples at {sfreq_hz:g} Hz; at least one second is needed")
    if sfreq_hz < 2 * highest_hz:
        raise InputError(f"signal: sampled at {sfreq_hz:g} Hz; at least {2 * highest_hz:g} Hz is needed for gamma")
    n_fft = next_fast_len(signal_uv.shape[-1], real=True)
    spectrum = rfft(np.asarray(signal_uv, dtype=np.float32), n=n_fft, axis=-1)
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / sfreq_hz)
    de = np.empty((*signal_uv.shape[:-1], n_seconds, len(BANDS)), dtype=np.float32)
    for index, (low, high) in enumerate(BANDS.values()):
        inside = (frequencies_hz >= low) & (frequencies_hz < high)
        band = irfft(np.where(inside, spectrum, 0), n=n_fft, axis=-1)[..., : n_seconds * per_second]
        variance = band.reshape(*band.shape[:-1], n_seconds, per_second).var(axis=-1)
        de[..., index] = 0.5 * np.log(2 * np.pi * np.e * np.maximum(variance, _FLOOR_UV2))
    return de


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
