"""Scaling to the person: which of a person's own trials set the zero and the unit of all values.

People differ far more in band power than one person's trials do, so most of what a code could say depends on this
choice. Only unlabelled power is used, and everything that is learned comes from the training subjects.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import Recording

#: Weight of the training subjects' typical variance, in trials. Not sensitive: 2 to 8 read the same.
_PRIOR_TRIALS = 4

#: Trials of mode ``calibration`` where the recipe names no number.
_CALIBRATION_TRIALS = 4


class Normalization(StrictModel):
    """Which trials a person is scaled by.

    Parameters
    ----------
    mode : {"session", "calibration", "causal", "none"}
        ``session``: all trials of the person, those that come later included. ``calibration``: the first `trials` that
        were shown. ``causal``: for each trial those shown before it and itself. ``none``: the training subjects'
        statistics only.
    trials : int or None
        Number of calibration trials; 4 if not given. Belongs to mode ``calibration`` alone.
    """

    mode: Literal["session", "calibration", "causal", "none"] = "session"
    trials: int | None = Field(default=None, ge=1, le=28)

    @model_validator(mode="after")
    def _check_trials(self) -> "Normalization":
        if self.trials is not None and self.mode != "calibration":
            raise ValueError(f"trials belongs to mode calibration, not to {self.mode}")
        return self

    @property
    def calibration_trials(self) -> int:
        """Number of calibration trials; 0 in every other mode."""
        return (self.trials or _CALIBRATION_TRIALS) if self.mode == "calibration" else 0

    @property
    def needs_ranks(self) -> bool:
        """Whether the order of presentation must be known."""
        return self.mode in ("calibration", "causal")

    def __str__(self) -> str:
        return f"calibration-{self.calibration_trials}" if self.mode == "calibration" else self.mode


def extract_ranks(recording: Recording) -> np.ndarray:
    """Return the order of presentation, shape (n_trials,), int16, 1-based; 0 where unknown."""
    return np.array([rank or 0 for rank in recording.ranks or [0] * len(recording)], dtype=np.int16)


def fit_person_scale(people: Sequence[np.ndarray], *, by_window: bool = False) -> dict[str, np.ndarray]:
    """Learn what training subjects look like.

    Parameters
    ----------
    people : sequence of ndarray of shape (n_trials, windows, ...), nats
        Power per person; NaN where a channel is missing.
    by_window : bool
        Take a person's windows, not trials, as the unit. Principal components of windows need it: else they follow
        whichever people and channels fluctuate most from second to second.

    Returns
    -------
    dict of str to ndarray of shape (...), float32, nats
        ``mean`` over people, typical SD ``within`` a person between trials, SD ``between`` people; by window also the
        typical SD ``spread`` of a person's windows.
    """
    person_means = np.stack([trials.mean(axis=(0, 1)) for trials in people])
    within = np.sqrt(np.nanmedian([trials.mean(axis=1).var(axis=0) for trials in people], axis=0))
    state = {
        "mean": np.nanmean(person_means, axis=0).astype(np.float32),
        "within": within.astype(np.float32),
        "between": np.nanstd(person_means, axis=0, ddof=1).astype(np.float32),
    }
    if by_window:
        spread = np.sqrt(np.nanmedian([trials.var(axis=(0, 1)) for trials in people], axis=0))
        state["spread"] = spread.astype(np.float32)
    return state


def scale_to_person(
    power: np.ndarray, ranks: np.ndarray, state: dict[str, np.ndarray], how: Normalization
) -> tuple[np.ndarray, np.ndarray]:
    """Express power as deviation from the person's own level.

    Mean and spread of the person are estimated from the trials that `how` chooses and shrunk towards the training
    subjects' by empirical Bayes, so that 28 trials come close to a z-score over the session while a single trial stays
    readable: the mean with weight ``n / (n + within variance / between variance)`` for n trials (Efron and Morris 1975,
    JASA 70:311), the variance as if the training subjects' typical one had been seen in `_PRIOR_TRIALS` further trials
    (Smyth 2004, Stat Appl Genet Mol Biol 3:3). Without any trial the training subjects' statistics are left.

    Parameters
    ----------
    power : ndarray of shape (n_trials, windows, ...), nats
    ranks : ndarray of shape (n_trials,)
        1-based order of presentation, 0 where unknown.
    state : dict of str to ndarray
        From `fit_person_scale`.
    how : Normalization

    Returns
    -------
    z : ndarray of shape (n_trials, windows, ...)
        In the person's standard deviations between trials, or between windows if `state` was fitted so.
    unit : ndarray of shape (n_trials, ...), nats
        That standard deviation, per trial.

    Raises
    ------
    InputError
        If the order of presentation is needed and unknown.
    """
    z, unit = np.empty_like(power), np.empty((len(power), *power.shape[2:]), dtype=power.dtype)
    for chosen, trials in _group_trials(ranks, how):
        mean, spread = _estimate_person(power[chosen], state)
        z[trials] = (power[trials] - mean) / spread
        unit[trials] = spread
    return z, unit


def _group_trials(ranks: np.ndarray, how: Normalization) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of masks: the trials that set a scale, and the trials that it serves."""
    if how.needs_ranks and (unknown := int((ranks <= 0).sum())):
        raise InputError(
            f"normalization {how}: the order of presentation is unknown for {unknown} of {len(ranks)} trials; "
            "accepted without it: mode session, mode none"
        )
    everything = np.ones(len(ranks), dtype=bool)
    if how.mode == "causal":
        return [(ranks <= rank, ranks == rank) for rank in np.unique(ranks)]
    if how.mode == "calibration":
        return [(ranks <= how.calibration_trials, everything)]
    return [(everything if how.mode == "session" else ~everything, everything)]


def _estimate_person(power: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the shrunken mean and standard deviation of a person from n trials, n may be 0."""
    mean, within, between = (state[name] for name in ("mean", "within", "between"))
    typical = state.get("spread", within)
    if not len(power):
        return mean, np.sqrt(np.maximum(typical**2, 1e-9))
    weight = len(power) / (len(power) + (within / np.maximum(between, 1e-6)) ** 2)
    person = mean + weight * (power.mean(axis=(0, 1)) - mean)
    own_variance = power.var(axis=(0, 1)) if "spread" in state else power.mean(axis=1).var(axis=0)
    variance = (_PRIOR_TRIALS * typical**2 + len(power) * own_variance) / (_PRIOR_TRIALS + len(power))
    return person, np.sqrt(np.maximum(variance, 1e-9))
