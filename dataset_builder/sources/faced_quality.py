"""What of FACED is damaged, and what can be done about it.

Known from the release: subject 023 (one bad mastoid went into all channels with the average reference) and 27 single
trials of five other subjects. A recording that cannot be used is dropped with a reason, a trial is left out and told in
the recording's notes; nothing of it reaches an average.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from dataset_builder.bands import compute_de, second_sd_uv
from dataset_builder.quality import NOISY_SD_UV
from dataset_builder.sources.base import DroppedRecording, SourceConfig
from dataset_builder.types import Recording

#: A recording whose median channel exceeds these is no scalp EEG. Gamma power above 5.3 nats is a gamma-band SD above
#: 50 µV; in FACED every subject's median channel lies below 3.7 nats (10 µV) but sub023's, at 9.7 nats (4 mV): one bad
#: mastoid went into all channels with the average reference. Waveforms of scalp EEG stay far below an SD of 500 µV.
MAX_GAMMA_DE = 5.3
MAX_SIGNAL_SD_UV = 500.0

#: A mastoid is taken for the one that spoilt the average when its SD exceeds that of the median channel by this factor.
#: One channel in an average of n reaches the others divided by n, itself less the same: n - 1 = 31 for FACED.
_LEAK_FACTOR = 10.0

#: Relative power has no level, but a channel that went into all others makes them alike: in FACED the channels of every
#: subject differ by more than 0.2 nats of power, those of sub023 by about a thousandth.
_MIN_CHANNEL_SPREAD = 0.02

MASTOIDS = ("A2", "A1")

IMPLAUSIBLE = "recording is not plausible as scalp EEG"


class DamageConfig(SourceConfig):
    """What is done about damage, in whatever form FACED is read.

    Parameters
    ----------
    repair : bool
        Whether a recording that one bad mastoid spoilt (sub023) is kept without it, referenced anew to the average of
        the others. Needs waveforms; without it such a recording is dropped.
    max_noisy_share : float
        A trial is left out when more than this share of its seconds times channels has an SD above 75 µV in 1-47 Hz;
        1.0 keeps all.
    """

    repair: bool = False
    max_noisy_share: float = Field(default=0.1, ge=0, le=1)


def treat_damage(recording: Recording, config: DamageConfig, name: str) -> Recording:
    """Drop, repair or leave out what is damaged; see `check_plausible` and `drop_noisy_trials`."""
    recording = check_plausible(recording, name, repair=config.repair)
    return drop_noisy_trials(recording, config.max_noisy_share, name)


def check_plausible(recording: Recording, name: str, *, repair: bool = False) -> Recording:
    """Refuse a recording that is no scalp EEG, or take out the mastoid that spoilt it.

    Parameters
    ----------
    recording : Recording
        With waveforms, DE or relative power.
    name : str
        How messages call its file: relative to the data root.
    repair : bool
        Whether one bad mastoid is left out of the channels and of the average reference. Needs waveforms.

    Returns
    -------
    Recording

    Raises
    ------
    DroppedRecording
        If it is not plausible and cannot be repaired.
    """
    damage = _find_damage(recording)
    if damage and repair and recording.signal_uv is not None:
        recording = _leave_out_mastoid(recording)
        damage = _find_damage(recording)
    if damage:
        raise DroppedRecording(f"{name}: damaged recording: {damage}", IMPLAUSIBLE)
    return recording


def drop_noisy_trials(recording: Recording, max_noisy_share: float, name: str) -> Recording:
    """Leave out the trials that are mostly artifact.

    Parameters
    ----------
    recording : Recording
        With waveforms or DE; with neither nothing is dropped.
    max_noisy_share : float
        Most seconds times channels of a trial whose SD in 1-47 Hz may exceed `NOISY_SD_UV`, 0 to 1; 1 keeps all.
    name : str
        How messages call the recording's file.

    Returns
    -------
    Recording
        With a note if trials were left out.

    Raises
    ------
    DroppedRecording
        If no trial is left.
    """
    if max_noisy_share >= 1 or (recording.de is None and recording.signal_uv is None):
        return recording
    kept = np.flatnonzero(_noisy_shares(recording, max_noisy_share) <= max_noisy_share)
    if len(kept) == len(recording):
        return recording
    told = f"more than {100 * max_noisy_share:g} % of channel-seconds above {NOISY_SD_UV:g} µV"
    if not len(kept):
        raise DroppedRecording(f"{name}: every trial has {told}", "every trial is noisy")
    left_out = [recording.clips[index] for index in range(len(recording)) if index not in kept]
    note = f"{len(left_out)} of {len(recording)} trials left out, {told}: clips {', '.join(map(str, left_out))}"
    return keep_trials(recording, kept.tolist(), note, "trial is mostly artifact")


def keep_trials(recording: Recording, kept: Sequence[int], note: str, reason: str) -> Recording:
    """Return the recording with these trials only (0-based, in this order), one more note, and the rest counted."""
    index = list(kept)

    def pick(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[index]

    return replace(
        recording,
        signal_uv=pick(recording.signal_uv),
        de=pick(recording.de),
        psd=pick(recording.psd),
        ratings=pick(recording.ratings),
        clips=tuple(recording.clips[i] for i in index),
        emotions=tuple(recording.emotions[i] for i in index),
        ranks=tuple(recording.ranks[i] for i in index) if recording.ranks else (),
        facial=tuple(recording.facial[i] for i in index) if recording.facial else (),
        notes=(*recording.notes, note),
        left_out=recording.left_out | {reason: len(recording) - len(index)},
    )


def _find_damage(recording: Recording) -> str:
    """Return what makes a recording implausible, or nothing."""
    if recording.signal_uv is not None:
        spread = float(np.median(recording.signal_uv.std(axis=-1).mean(axis=0)))
        if not spread <= MAX_SIGNAL_SD_UV:
            return f"SD {spread:.0f} µV in the median channel, at most {MAX_SIGNAL_SD_UV:.0f} µV is plausible"
    elif recording.de is not None:
        gamma = float(np.median(recording.de[..., -1].mean(axis=(0, 2))))
        if not gamma <= MAX_GAMMA_DE:
            return f"gamma DE {gamma:.1f} in the median channel, at most {MAX_GAMMA_DE} is plausible"
    elif recording.psd is not None and (spread := _channel_spread(recording.psd)) < _MIN_CHANNEL_SPREAD:
        return f"gamma power of the channels differs by {spread:.3f} nats, at least {_MIN_CHANNEL_SPREAD} is plausible"
    return ""


def _channel_spread(psd: np.ndarray) -> float:
    """Return by how much the log power in gamma of a typical channel differs from that of the median one, nats."""
    power = np.log(np.maximum(psd[..., -1], np.finfo(np.float32).tiny))
    return float(np.median(np.abs(power - np.median(power, axis=1, keepdims=True))))


def _leave_out_mastoid(recording: Recording) -> Recording:
    """Take a mastoid that leaked into everything out of the channels, and its share out of the reference."""
    assert recording.signal_uv is not None  # the caller has looked
    spread = recording.signal_uv.std(axis=-1).mean(axis=0)
    worst = int(spread.argmax())
    if recording.channels[worst] not in MASTOIDS or spread[worst] < _LEAK_FACTOR * np.median(spread):
        return recording
    others = [index for index in range(len(recording.channels)) if index != worst]
    signal = recording.signal_uv[:, others]
    note = f"mastoid {recording.channels[worst]} is damaged: left out, the others referenced to their own average"
    return replace(
        recording,
        channels=tuple(recording.channels[index] for index in others),
        signal_uv=signal - signal.mean(axis=1, keepdims=True),
        notes=(*recording.notes, note),
    )


def _noisy_shares(recording: Recording, limit: float) -> np.ndarray:
    """Return the share of noisy channel-seconds per trial; for trials that are plainly below `limit` a mere bound."""
    if recording.de is not None:
        return np.asarray((second_sd_uv(recording.de) > NOISY_SD_UV).mean(axis=(1, 2)))
    assert recording.signal_uv is not None  # the caller has looked
    assert recording.sfreq_hz is not None
    shares = _wide_band_shares(recording.signal_uv, round(recording.sfreq_hz))
    for trial in np.flatnonzero(shares > limit):
        de = compute_de(recording.signal_uv[trial], recording.sfreq_hz)
        shares[trial] = (second_sd_uv(de) > NOISY_SD_UV).mean()
    return shares


def _wide_band_shares(signal_uv: np.ndarray, per_second: int) -> np.ndarray:
    """Return per trial the share of channel-seconds that could be noisy, by their SD over all frequencies.

    A rhythm at the border of two bands passes both filters and counts twice in `second_sd_uv`: hence the lower limit.
    """
    n_seconds = signal_uv.shape[-1] // per_second
    seconds = signal_uv[..., : n_seconds * per_second].reshape(*signal_uv.shape[:-1], n_seconds, per_second)
    return np.asarray((seconds.std(axis=-1) > 0.7 * NOISY_SD_UV).mean(axis=(1, 2)))
