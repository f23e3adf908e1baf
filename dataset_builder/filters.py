"""The linear steps on a signal: band-pass, sampling frequency, average reference, windows."""

import numpy as np
from mne.filter import filter_data, resample
from scipy.signal import butter, sosfiltfilt

from dataset_builder.errors import InputError

#: Pass band and sampling frequency of FACED's processed data (Chen et al. 2023, Sci Data 10:740).
PASS_BAND_HZ = (0.05, 47.0)
TARGET_SFREQ_HZ = 250.0

#: Gamma reaches to 47 Hz and the low-pass needs room above it.
MIN_SFREQ_HZ = 100.0

#: Width of the low-pass filter's slope: with 47 Hz, mains hum at 50 Hz is gone.
TRANSITION_HZ = 2.0

#: Six time constants of a 0.05-Hz high-pass: so long does what lies before a piece of signal show in it.
FADE_S = 20.0


def filter_signal(
    signal: np.ndarray,
    sfreq_hz: float,
    band_hz: tuple[float | None, float | None] = PASS_BAND_HZ,
    target_hz: float = TARGET_SFREQ_HZ,
) -> np.ndarray:
    """Band-pass and resample without phase shift.

    The high-pass is a second-order Butterworth run both ways (a linear-phase filter for 0.05 Hz would be longer than
    short recordings), the low-pass MNE's windowed FIR with a 2-Hz transition, so that line noise at 50 Hz is gone.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_times), float64, any unit
    sfreq_hz : float
    band_hz : tuple of (float or None, float or None)
        Lower and upper edge in Hz; None leaves that side open.
    target_hz : float
        Sampling frequency of the result.

    Returns
    -------
    ndarray of shape (n_channels, n_times * target_hz / sfreq_hz), float32, the same unit

    Raises
    ------
    InputError
        If the signal is sampled too slowly for gamma or for the pass band.
    """
    check_rate(sfreq_hz, band_hz[1])
    # One by one: a whole session would need several times its memory.
    return np.stack([_filter_channel(channel, sfreq_hz, band_hz, target_hz) for channel in signal])


def check_rate(sfreq_hz: float, high_hz: float | None) -> None:
    """Refuse a sampling frequency that cannot hold gamma, or the pass band that is wanted.

    Raises
    ------
    InputError
    """
    least_hz = max(MIN_SFREQ_HZ, 2 * ((high_hz or 0) + TRANSITION_HZ))
    if sfreq_hz < least_hz:
        raise InputError(f"recording: sampled at {sfreq_hz:g} Hz, at least {least_hz:g} Hz is needed")


def reference_to_average(signal: np.ndarray) -> np.ndarray:
    """Subtract the mean over channels (second to last axis) at every sample."""
    return signal - signal.mean(axis=-2, keepdims=True)


def cut_windows(signal: np.ndarray, sfreq_hz: float, window_s: float) -> np.ndarray:
    """Cut a recording into consecutive windows; a remainder at the end is dropped.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_times)
    sfreq_hz, window_s : float
        In Hz and seconds.

    Returns
    -------
    ndarray of shape (n_windows, n_channels, window_s * sfreq_hz)

    Raises
    ------
    InputError
        If the signal is shorter than one window.
    """
    length = round(window_s * sfreq_hz)
    n_windows = signal.shape[1] // length if length else 0
    if n_windows < 1:
        found = f"{signal.shape[1] / sfreq_hz:.1f} s long"
        raise InputError(f"recording: {found}, at least one window of {window_s:g} s is needed")
    cut = signal[:, : n_windows * length].reshape(len(signal), n_windows, length)
    return np.ascontiguousarray(cut.swapaxes(0, 1))


def _filter_channel(
    channel: np.ndarray, sfreq_hz: float, band_hz: tuple[float | None, float | None], target_hz: float
) -> np.ndarray:
    low_hz, high_hz = band_hz
    band = channel - channel.mean()
    if low_hz is not None:
        # Mirrored at its ends: SciPy's default turns it upside down as well, a step that takes seconds to fade.
        padding = min(len(channel) - 1, round(FADE_S * sfreq_hz))
        sos = butter(2, low_hz, btype="highpass", fs=sfreq_hz, output="sos")
        band = sosfiltfilt(sos, band, padtype="even", padlen=padding)
    if high_hz is not None:
        band = filter_data(band, sfreq_hz, None, high_hz, h_trans_bandwidth=TRANSITION_HZ, verbose="ERROR")
    if sfreq_hz != target_hz:
        band = resample(band, target_hz, sfreq_hz, verbose="ERROR")
    return np.asarray(band, dtype=np.float32)
