"""A recording -> trials at 250 Hz, in the order of steps that FACED's authors describe.

Resample, band-pass, interpolate bad channels, take out eye movements with independent components, average reference,
keep the last 30 s (Chen et al. 2023, Sci Data 10:740). Where the released code could not do what the paper says, the
paper is followed: filters run over a margin around each trial instead of the cut trial, and bad channels are replaced.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import mne
import numpy as np
from pydantic import Field, model_validator
from tqdm import tqdm

from dataset_builder.artifacts import make_info
from dataset_builder.errors import InputError
from dataset_builder.filters import (
    FADE_S,
    MIN_SFREQ_HZ,
    PASS_BAND_HZ,
    TARGET_SFREQ_HZ,
    TRANSITION_HZ,
    check_rate,
    filter_signal,
)
from dataset_builder.recipe import StrictModel
from dataset_builder.repairs import Repairs

#: Times within this of the ends of a recording count as the ends.
_ROUNDING_S = 1e-6


class PreprocessingConfig(StrictModel):
    """How a continuous recording becomes trials; every step can be switched off.

    The steps and their defaults are those that FACED's authors describe (Chen et al. 2023, Sci Data 10:740).

    Parameters
    ----------
    sfreq_hz : float
        Sampling frequency after resampling.
    l_freq_hz, h_freq_hz : float or None
        Pass band; None leaves that side open.
    bad_channels : {"interpolate", "keep"}
        Whether channels that are flat or far larger than the others in a trial are replaced by spherical splines
        (`artifacts.find_bad_channels`).
    ica : {"trial", "recording", "none"}
        On what independent components are fitted to take out eye movements, with Fp1 and Fp2 (Fpz where both
        are missing) as proxies for EOG: on each trial as FACED did, or once on all trials of a recording.
    reference : {"average", "keep"}
        Whether the mean over all channels with a signal, mastoids included, is subtracted.
    trial_s : float
        The last so many seconds of each stimulus are kept.
    """

    sfreq_hz: float = Field(default=TARGET_SFREQ_HZ, ge=MIN_SFREQ_HZ, le=1000.0)
    l_freq_hz: float | None = Field(default=PASS_BAND_HZ[0], gt=0)
    h_freq_hz: float | None = Field(default=PASS_BAND_HZ[1], gt=0)
    bad_channels: Literal["interpolate", "keep"] = "interpolate"
    ica: Literal["trial", "recording", "none"] = "trial"
    reference: Literal["average", "keep"] = "average"
    trial_s: float = Field(default=30.0, ge=1.0, le=600.0)

    @model_validator(mode="after")
    def _check_pass_band(self) -> "PreprocessingConfig":
        low, high = self.l_freq_hz or 0.0, self.h_freq_hz
        if high is not None and not low < high <= self.sfreq_hz / 2 - TRANSITION_HZ:
            top = self.sfreq_hz / 2 - TRANSITION_HZ
            raise ValueError(f"h_freq_hz is {high:g}; accepted: above l_freq_hz and at most {top:g} (sfreq_hz / 2 - 2)")
        return self


def preprocess_recording(
    raw: mne.io.BaseRaw,
    ends_s: Sequence[float],
    config: PreprocessingConfig,
    show: str = "",
    scale: float = 1.0,
) -> tuple[np.ndarray, list[str]]:
    """Cut trials out of a continuous recording and clean them.

    Only the pieces around the trials are read, so that `raw` need not fit into memory.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Channels with 10-10 names, ``A1`` and ``A2`` among them where recorded, in volts; all are used in their order.
    ends_s : sequence of float
        End of each stimulus in seconds after the first sample.
    config : PreprocessingConfig
    show : str
        Title of a progress bar; none if empty.
    scale : float
        Factor that makes volts of what `raw` returns: 1e-6 for files whose microvolts are not marked as such.

    Returns
    -------
    trials_uv : ndarray of shape (n_trials, n_channels, trial_s * sfreq_hz), float32, µV
        In the order of `ends_s`. A flat channel that is not replaced is all zero.
    notes : list of str
        What was repaired, in counts.

    Raises
    ------
    InputError
        If a trial does not lie within the recording, the recording is sampled too slowly or has values that are not
        finite, a channel has no standard place, or no trial is given.
    DependencyError
        If `ica` is wanted and scikit-learn is not installed.
    """
    info = _check_request(raw, ends_s, config)
    names = [f"trial {index + 1}" for index in range(len(ends_s))]
    read = (_read_trial(raw, end_s, config, name) * scale for end_s, name in zip(ends_s, names, strict=True))
    return _clean(read, len(names), info, config, show)


def preprocess_pieces(
    pieces: Iterable[mne.io.BaseRaw],
    n_pieces: int,
    channels: Sequence[str],
    config: PreprocessingConfig,
    show: str = "",
    scale: float = 1.0,
) -> tuple[np.ndarray, list[str]]:
    """Clean stimuli that were released one by one; the last `config.trial_s` of each are kept.

    Parameters
    ----------
    pieces : iterable of mne.io.BaseRaw
        Made one after the other; each is one stimulus of the same recording.
    n_pieces : int
    channels : sequence of str
        10-10 names of the channels of every piece.
    config, show, scale
        As in `preprocess_recording`.

    Returns
    -------
    tuple of (ndarray, list of str)
        As `preprocess_recording` returns them.

    Raises
    ------
    InputError
        As `preprocess_recording` does.
    """

    def read() -> Iterator[np.ndarray]:
        for index, piece in enumerate(pieces):
            end_s = piece.n_times / float(piece.info["sfreq"])
            _check_request(piece, [end_s], config)
            yield _read_trial(piece, end_s, config, f"trial {index + 1}") * scale

    return _clean(read(), n_pieces, _describe_channels(channels, config.sfreq_hz), config, show)


def _clean(
    read: Iterable[np.ndarray], n_trials: int, info: mne.Info, config: PreprocessingConfig, show: str
) -> tuple[np.ndarray, list[str]]:
    """Repair filtered trials, which are read one after the other, and refer them to their average."""
    repairs = Repairs(info, n_trials)
    trials = np.empty((n_trials, len(info["ch_names"]), round(config.trial_s * config.sfreq_hz)))
    bar = tqdm(read, desc=show, total=n_trials, unit="trial", disable=None if show else True, leave=False)
    for index, trial in enumerate(bar):
        trials[index] = repairs.repair_channels(index, trial, interpolate=config.bad_channels == "interpolate")
        if config.ica == "trial":
            trials[index] = repairs.remove_eyes([index], trials[[index]])[0]
    if config.ica == "recording":
        trials = repairs.remove_eyes(range(n_trials), trials)
    if config.reference == "average":
        repairs.reference(trials)
    return trials.astype(np.float32), repairs.tell()


def _check_request(raw: mne.io.BaseRaw, ends_s: Sequence[float], config: PreprocessingConfig) -> mne.Info:
    """Refuse what cannot be cut; return MNE's description of the trials."""
    sfreq_hz = float(raw.info["sfreq"])
    check_rate(sfreq_hz, config.h_freq_hz)
    if not len(ends_s):
        raise InputError("recording: no trial is given, at least one is needed")
    length_s = raw.n_times / sfreq_hz
    for index, end_s in enumerate(ends_s):
        start_s = end_s - config.trial_s
        if not (start_s >= -_ROUNDING_S and end_s <= length_s + _ROUNDING_S):
            raise InputError(
                f"trial {index + 1}: the {config.trial_s:g} s before its end last from {start_s:.2f} to {end_s:.2f} s, "
                f"but the recording from 0 to {length_s:.2f} s"
            )
    return _describe_channels(raw.ch_names, config.sfreq_hz)


def _describe_channels(channels: Sequence[str], sfreq_hz: float) -> mne.Info:
    try:
        return make_info(channels, sfreq_hz)
    except ValueError:
        raise InputError("recording: holds channels without a 10-10 name") from None


def _read_trial(raw: mne.io.BaseRaw, end_s: float, config: PreprocessingConfig, name: str) -> np.ndarray:
    """Read one trial with a margin, filter it and cut the margin off: (n_channels, n_times), float64, µV."""
    sfreq_hz = float(raw.info["sfreq"])
    start = max(0, round((end_s - config.trial_s - FADE_S) * sfreq_hz))
    stop = min(raw.n_times, round((end_s + FADE_S) * sfreq_hz))
    piece_uv = _load(raw, start, stop, name) * 1e6
    if not np.isfinite(piece_uv).all():
        bad = np.count_nonzero(~np.isfinite(piece_uv))
        raise InputError(f"{name}: holds {bad} values that are not finite numbers, within {FADE_S:g} s of it")
    filtered = filter_signal(piece_uv, sfreq_hz, (config.l_freq_hz, config.h_freq_hz), config.sfreq_hz)
    n_times = round(config.trial_s * config.sfreq_hz)
    end = min(filtered.shape[1], round((end_s - start / sfreq_hz) * config.sfreq_hz))
    return filtered[:, max(0, end - n_times) : max(end, n_times)].astype(np.float64)


def _load(raw: mne.io.BaseRaw, start: int, stop: int, name: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(raw.get_data(start=start, stop=stop, verbose="ERROR"))
        except Exception as error:  # a damaged file raises nearly anything, and the message can hold its path
            raise InputError(f"{name}: its samples cannot be read ({type(error).__name__})") from None
