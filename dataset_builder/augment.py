"""Augmentation before coding: training people once more, with their trials shifted in time and some channels lost.

Codes are computed anew from the changed band power, by the codecs that never saw the person
(`dataset_builder.codecs.fitted.Fitted`), so that a copy is what the same person might have given on another day.
"""

import numpy as np
from pydantic import Field

from dataset_builder.codecs import Codec, Features
from dataset_builder.codecs.projection import MIN_CHANNELS
from dataset_builder.errors import RecipeError
from dataset_builder.extract import SubjectFacts
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.types import SCALP_CHANNELS


class AugmentConfig(StrictModel):
    """Copies of the training rows; for supervised codecs, which keep band power second by second.

    Parameters
    ----------
    copies : int
        How many further rows each training row gets. 0, the default: on FACED copies showed no gain.
    shift_s : int
        Each trial of a copy begins up to so many seconds earlier or later, at whole seconds. What lies outside the
        trial is not there; the first or last second is repeated in its place.
    lost_channels : float
        Chance of each scalp channel to be missing in all trials of a copy, as after a loose electrode; at least
        `MIN_CHANNELS` are left.
    """

    copies: int = Field(default=0, ge=0, le=8)
    shift_s: int = Field(default=1, ge=0, le=5)
    lost_channels: float = Field(default=0.1, ge=0, lt=1)


def check_augment(config: AugmentConfig, codec: Codec) -> None:
    """Refuse copies where a codec keeps no band power of single seconds.

    Raises
    ------
    RecipeError
    """
    if config.copies and not codec.supervised:
        raise RecipeError(f"augment.copies {config.copies}: codec {codec.name} keeps no single seconds; accepted: 0")


def copy_person(
    features: Features, facts: SubjectFacts, config: AugmentConfig, seed: int, copy: int
) -> tuple[Features, SubjectFacts]:
    """Return changed features of a person, and the facts with the channels that are left.

    Parameters
    ----------
    features : Features
        With ``power``, shape (n_trials, n_seconds, 30, 5), nats; left as it is.
    facts : SubjectFacts
    config : AugmentConfig
    seed : int
        The recipe's.
    copy : int
        Number of the copy, from 1.
    """
    rng = make_rng(seed, "augment", facts.subject, copy)
    power = features["power"]
    shifts = rng.integers(-config.shift_s, config.shift_s + 1, size=len(power))
    lost = draw_lost(facts.channels, config.lost_channels, rng)
    shifted = np.stack([shift_seconds(trial, int(shift)) for trial, shift in zip(power, shifts, strict=True)])
    shifted[:, :, [SCALP_CHANNELS.index(name) for name in lost]] = np.nan
    left = [name for name in facts.channels if name not in lost]
    return features | {"power": shifted}, facts.model_copy(update={"channels": left})


def shift_seconds(trial: np.ndarray, shift_s: int) -> np.ndarray:
    """Return a trial, shape (n_seconds, ...), that begins `shift_s` seconds later; its ends are repeated."""
    last = len(trial) - 1
    return np.asarray(trial[np.clip(np.arange(len(trial)) + shift_s, 0, last)])


def draw_lost(channels: list[str], chance: float, rng: np.random.Generator) -> list[str]:
    """Return the scalp channels that are lost, each by chance; at least `MIN_CHANNELS` are left."""
    there = [name for name in SCALP_CHANNELS if name in channels]
    drawn = [there[place] for place in rng.permutation(len(there)) if rng.random() < chance]
    return drawn[: max(0, len(there) - MIN_CHANNELS)]
