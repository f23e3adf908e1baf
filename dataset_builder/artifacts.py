"""Bad channels and eye movements: found in a trial, repaired, and counted.

Both follow FACED's description (Chen et al. 2023, Sci Data 10:740). What it leaves open is decided here: a bad channel
is told by comparison with the others, independent components are fitted above 1 Hz and on no more dimensions than the
trial has, and how many may be taken out is bounded.
"""

from __future__ import annotations  # MNE loads a part of itself for every class that an annotation evaluates

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import mne
import numpy as np
from mne.filter import filter_data

from dataset_builder.errors import DependencyError
from dataset_builder.quality import FLAT_SD_UV

#: A channel is bad where more than this share of its samples exceeds so many times the median amplitude (FACED's rule).
BAD_FACTOR = 3.0
BAD_SHARE = 0.3

#: With more bad channels than this share there is too little left to interpolate from.
MAX_INTERPOLATED_SHARE = 0.25

#: What stands in for an electrooculogram; the second where none of the first can be used.
EYE_PROXIES: tuple[tuple[str, ...], ...] = (("Fp1", "Fp2"), ("Fpz",))

#: A component is of the eyes when its |correlation| with a proxy stands out from the other components by so many SD, or
#: exceeds 0.8 (among fewer than 11 components nothing can stand out by 3 SD); never below 0.4.
_EYE_Z = 3.0
_SURE_CORRELATION = 0.8
_LEAST_CORRELATION = 0.4

#: Blinks, sideways glances, and one that shares its eye movement with something else.
MAX_EYE_COMPONENTS = 3

#: Slow drifts are no independent sources; components are fitted above this.
_FIT_ABOVE_HZ = 1.0

#: Components are as many as the data determine: so many samples for each entry of the unmixing matrix.
_SAMPLES_PER_WEIGHT = 20

_MAX_ITERATIONS = 300
_SEED = 17


def electrode_positions() -> mne.channels.DigMontage:
    """Return the 10-05 positions on MNE's standard head; mastoids included."""
    known = mne.channels.get_builtin_montages()
    # MNE 1.13 gave the montage that had been standard_1005 the name of the head that it belongs to.
    return mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in known else "standard_1005")


def make_info(channels: Sequence[str], sfreq_hz: float) -> mne.Info:
    """Return MNE's description of EEG channels at their standard places.

    Parameters
    ----------
    channels : sequence of str
        10-10 names, ``A1`` and ``A2``.
    sfreq_hz : float

    Raises
    ------
    ValueError
        If a channel has no standard place.
    """
    info = mne.create_info(list(channels), sfreq_hz, "eeg", verbose="ERROR")
    return info.set_montage(electrode_positions(), verbose="ERROR")


def find_flat_channels(trial_uv: np.ndarray, sfreq_hz: float) -> np.ndarray:
    """Tell which channels carry no signal in more than 30 % of the seconds.

    Parameters
    ----------
    trial_uv : ndarray of shape (n_channels, n_times), µV
        After the band-pass.
    sfreq_hz : float

    Returns
    -------
    ndarray of shape (n_channels,), bool
    """
    length = min(round(sfreq_hz), trial_uv.shape[1])
    n_seconds = trial_uv.shape[1] // length
    seconds = trial_uv[:, : n_seconds * length].reshape(len(trial_uv), n_seconds, length)
    return np.asarray((seconds.std(axis=-1) < FLAT_SD_UV).mean(axis=1) > BAD_SHARE)


def find_bad_channels(trial_uv: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Tell which channels are far larger than the others: |x| > 3 medians in more than 30 % of the samples.

    The median is that of all channels with a signal, so that a channel is compared with the others and not with itself.

    Parameters
    ----------
    trial_uv : ndarray of shape (n_channels, n_times), µV
        After the band-pass.
    flat : ndarray of shape (n_channels,), bool

    Returns
    -------
    ndarray of shape (n_channels,), bool
        False for flat channels.
    """
    if flat.all():
        return np.zeros_like(flat)
    size = np.abs(trial_uv)
    usual = np.median(np.median(size[~flat], axis=1))  # of medians: one huge channel must not move it
    return np.asarray(((size > BAD_FACTOR * usual).mean(axis=1) > BAD_SHARE) & ~flat)


def interpolate_channels(trial_uv: np.ndarray, info: mne.Info, bad: np.ndarray) -> np.ndarray:
    """Replace channels by spherical splines through the others (Perrin et al. 1989).

    Parameters
    ----------
    trial_uv : ndarray of shape (n_channels, n_times), float64, µV
    info : mne.Info
        As `make_info` returns it.
    bad : ndarray of shape (n_channels,), bool

    Returns
    -------
    ndarray of shape (n_channels, n_times), float64, µV
    """
    raw = _as_raw(trial_uv, info)
    raw.info["bads"] = [name for name, is_bad in zip(raw.ch_names, bad, strict=True) if is_bad]
    raw.interpolate_bads(origin=(0.0, 0.0, 0.04), verbose="ERROR")  # the centre of MNE's standard head
    return np.asarray(raw.get_data()) * 1e6


def remove_eye_components(
    trials_uv: np.ndarray, info: mne.Info, proxies: Sequence[str]
) -> tuple[np.ndarray, int, bool]:
    """Fit independent components on trials and take out those that follow the eye proxies.

    FastICA (Hyvarinen 1999) through MNE, on a copy that is high-passed at 1 Hz; the components are taken out of the
    signal as it was.

    Parameters
    ----------
    trials_uv : ndarray of shape (n_trials, n_channels, n_times), float64, µV
        Fitted together.
    info : mne.Info
        As `make_info` returns it.
    proxies : sequence of str
        Channels that stand in for an electrooculogram.

    Returns
    -------
    trials_uv : ndarray, of the same shape
    n_removed : int
        0 to `MAX_EYE_COMPONENTS`.
    converged : bool

    Raises
    ------
    DependencyError
        If scikit-learn, which MNE's FastICA needs, is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DependencyError(
            "package scikit-learn is missing, ICA needs it; pip install 'eeg-emotion-copilot[corpus]'"
        )
    step = _find_step(trials_uv.shape, info["sfreq"])
    fitted = _join_steady(trials_uv, info["sfreq"], step)
    n_components = _count_components(fitted)
    if n_components < 2:
        return trials_uv, 0, True
    joined = mne.io.RawArray(fitted, make_info(info["ch_names"], info["sfreq"] / step), copy="auto", verbose="ERROR")
    ica = mne.preprocessing.ICA(
        n_components, method="fastica", random_state=_SEED, max_iter=_MAX_ITERATIONS, verbose="ERROR"
    )
    with _catch_warnings() as caught:
        ica.fit(joined, verbose="ERROR")
        found = _find_eye_components(ica, joined, proxies)
    converged = not any("converge" in str(warning.message) for warning in caught)
    if not found:
        return trials_uv, 0, converged
    cleaned = np.empty_like(trials_uv)
    for index, trial in enumerate(trials_uv):
        cleaned[index] = ica.apply(_as_raw(trial, info), exclude=found, verbose="ERROR").get_data() * 1e6
    return cleaned, len(found), converged


def _join_steady(trials_uv: np.ndarray, sfreq_hz: float, step: int) -> np.ndarray:
    """Return every `step`-th sample of the trials, without slow drifts, one trial after the other, in volts."""
    steady = (filter_data(trial, sfreq_hz, _FIT_ABOVE_HZ, None, verbose="ERROR") for trial in trials_uv)
    return np.concatenate([trial[:, ::step] * 1e-6 for trial in steady], axis=1)


def _find_step(shape: tuple[int, ...], sfreq_hz: float) -> int:
    """Return of how many samples one is enough to fit on: every one of a trial, every second of a recording.

    What lies below 47 Hz is all there at 100 Hz, and eye movements lie far below.
    """
    n_trials, n_channels, n_times = shape
    enough = n_trials * n_times // (_SAMPLES_PER_WEIGHT * n_channels**2)
    return max(1, min(int(sfreq_hz // 100), enough))


def _find_eye_components(ica: mne.preprocessing.ICA, fitted: mne.io.BaseRaw, proxies: Sequence[str]) -> list[int]:
    """Return the numbers of components that follow the eyes, most alike first."""
    found, scores = ica.find_bads_eog(fitted, ch_name=list(proxies), threshold=_EYE_Z, verbose="ERROR")
    alike = np.abs(np.atleast_2d(scores)).max(axis=0)
    eyes = {*(int(index) for index in found), *np.flatnonzero(alike > _SURE_CORRELATION).tolist()}
    ranked = sorted(eyes, key=lambda index: -alike[index])
    return [index for index in ranked if alike[index] > _LEAST_CORRELATION][:MAX_EYE_COMPONENTS]


def _count_components(signal: np.ndarray) -> int:
    """Return how many components the data determine: no more than their rank, and enough samples for each."""
    spread = signal.std(axis=1, keepdims=True)
    scaled = signal[spread[:, 0] > 0] / spread[spread > 0][:, None]
    rank = np.linalg.matrix_rank(np.cov(scaled), rtol=1e-9, hermitian=True) if len(scaled) > 1 else 0
    return int(min(rank, np.sqrt(signal.shape[1] / _SAMPLES_PER_WEIGHT)))


def _as_raw(signal_uv: np.ndarray, info: mne.Info) -> mne.io.RawArray:
    return mne.io.RawArray(signal_uv * 1e-6, info.copy(), verbose="ERROR")


@contextmanager
def _catch_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
