"""The field's own baseline on FACED: a linear SVM on differential entropy, second by second, voted per trial.

Chen et al. (2023, Sci Data 10:740) publish 35.2 % for single seconds with running normalisation and smoothing by a
linear dynamic system. Two things differ here and are said wherever its numbers stand: the seconds of a trial vote,
without which it could not be compared, and the penalty is fixed instead of chosen on the people who are tested.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC
from tqdm import tqdm

from dataset_builder.codecs.power import extract_power
from dataset_builder.errors import InputError
from dataset_builder.sources.base import Source
from dataset_builder.types import EMOTIONS, Recording

#: Inverse strength of the penalty; chosen on nothing.
_C = 0.01

#: How fast the running statistics of a person take over from those of the training people, per second.
_DECAY = 0.99

#: Linear dynamic system (Shi and Lu 2010, EMBC): variances of the first state, of its change per second, of a second's
#: noise; the constants that are usual for SEED and FACED. They smooth nearly the whole trial.
_PRIOR, _CHANGE, _NOISE = 0.01, 0.0001, 1.0

#: Fewer people than this are not worth learning from.
MIN_PEOPLE = 5


class FieldSvm:
    """A reader that knows the trials of a folder by subject and clip.

    Parameters
    ----------
    source : Source
    fit_subjects : sequence of str
        Who is learned from; nobody of them may be scored.
    folds : dict of int to int
        Fold of every clip.
    unseen_folds : frozenset of int
        Clips that are not learned from.
    every : int
        Every so many seconds are learned from; all are scored.
    seed : int

    Raises
    ------
    InputError
        If fewer than `MIN_PEOPLE` people can be learned from.
    """

    name = "DE + SVM"

    def __init__(
        self,
        source: Source,
        fit_subjects: Sequence[str],
        folds: dict[int, int],
        unseen_folds: frozenset[int],
        every: int,
        seed: int,
    ) -> None:
        self._source = source
        people = [person for name in tqdm(fit_subjects, desc="DE + SVM", disable=None) if (person := self._read(name))]
        if len(people) < MIN_PEOPLE:
            raise InputError(f"DE + SVM: {len(people)} people to learn from; at least {MIN_PEOPLE} are needed")
        pooled = np.concatenate([de.reshape(-1, de.shape[-1]) for _, de in people])
        self._mean, self._var = pooled.mean(axis=0), pooled.var(axis=0)
        inputs, labels = [], []
        for recording, de in people:
            smooth = self._prepare(recording, de)
            for index, (clip, emotion) in enumerate(zip(recording.clips, recording.emotions, strict=True)):
                if emotion is not None and clip is not None and folds.get(clip) not in unseen_folds:
                    inputs.append(smooth[index, ::every])
                    labels += [EMOTIONS.index(emotion)] * len(inputs[-1])
        self.n_people = len(people)
        self.model = LinearSVC(C=_C, dual=False, tol=1e-3, random_state=seed).fit(np.concatenate(inputs), labels)

    def score(self, rows: Sequence[Any]) -> np.ndarray:
        """Return the share of a row's seconds that vote for each label, shape (n_rows, 9).

        Smoothing runs over the whole trial, so a segment's votes know the seconds before it.
        """
        told: dict[tuple[str, int], np.ndarray] = {}
        for subject in sorted({row["subject"] for row in rows}):
            if person := self._read(subject):
                recording, de = person
                for clip, seconds in zip(recording.clips, self._prepare(recording, de), strict=True):
                    told[subject, int(clip or 0)] = np.eye(len(EMOTIONS))[self.model.predict(seconds)]
        return np.array([_count_votes(told.get((row["subject"], int(row["clip"] or 0))), row) for row in rows])

    def _read(self, subject: str) -> tuple[Recording, np.ndarray] | None:
        """Return a person with DE of shape (n_trials, n_seconds, 150), nats; None if not usable."""
        try:
            recording = self._source.read(subject, "de")
            seconds = 30 if recording.de is None else recording.de.shape[2]
            de = extract_power(recording, "de", seconds)
        except InputError:
            return None
        return None if np.isnan(de).any() else (recording, de.reshape(*de.shape[:2], -1))

    def _prepare(self, recording: Recording, de: np.ndarray) -> np.ndarray:
        ranks = [rank or 0 for rank in recording.ranks] or [0] * len(de)
        order = np.argsort(ranks, kind="stable")  # where the order is unknown: by clip
        scaled = np.empty_like(de)
        scaled[order] = normalise_running(de[order].reshape(-1, de.shape[-1]), self._mean, self._var).reshape(de.shape)
        return smooth_seconds(scaled)


def _count_votes(votes: np.ndarray | None, row: Any) -> np.ndarray:
    """Return the mean vote of the seconds that a row covers, shape (9,); guessing without all channels."""
    if votes is None:
        return np.full(len(EMOTIONS), 1 / len(EMOTIONS))
    start, length = int(row.get("start_s") or 0), int(row.get("duration_s") or len(votes))
    return np.asarray(votes[start : start + length].mean(axis=0))


def normalise_running(seconds: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    """Scale a person's seconds by what was known of the person until then.

    Parameters
    ----------
    seconds : ndarray of shape (n_seconds, n_features)
        In the order of presentation.
    mean, var : ndarray of shape (n_features,)
        Of the training people; their weight falls by 1 % with every second.
    """
    k = np.arange(1, len(seconds) + 1)[:, None]
    own_mean = np.cumsum(seconds, axis=0) / k
    own_var = np.maximum(np.cumsum(np.square(seconds), axis=0) / k - own_mean**2, 0)
    prior = _DECAY**k
    centre, spread = prior * mean + (1 - prior) * own_mean, prior * var + (1 - prior) * own_var
    return (seconds - centre) / np.sqrt(spread + 1e-5)


def smooth_seconds(trials: np.ndarray) -> np.ndarray:
    """Return the filtered states of a linear dynamic system, one per feature, over each trial's seconds.

    Parameters
    ----------
    trials : ndarray of shape (n_trials, n_seconds, n_features)
    """
    state, smooth = trials.mean(axis=1), np.empty_like(trials)
    expected = _PRIOR
    for second in range(trials.shape[1]):
        gain = expected / (expected + _NOISE)
        state = state + gain * (trials[:, second] - state)
        smooth[:, second] = state
        expected = (1 - gain) * expected + _CHANGE
    return smooth
