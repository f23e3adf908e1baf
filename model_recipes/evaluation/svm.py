"""The field's own baseline on FACED: a linear SVM on differential entropy, second by second, voted per trial.

Chen et al. (2023, Sci Data 10:740) publish 35.2 % for single seconds with running normalisation and smoothing by a
linear dynamic system. Two things differ here and are said wherever its numbers stand: the seconds of a trial vote,
without which it could not be compared, and the penalty is fixed instead of chosen on the people who are tested.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save
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

#: In the folder of an evaluation on a corpus: what its training people taught.
SVM_FILE = "svm.safetensors"

#: Fewer people than this are not worth learning from.
MIN_PEOPLE = 5


@dataclass(frozen=True)
class FieldWeights:
    """What the SVM learned; holds nothing of a single person.

    Parameters
    ----------
    mean, var : ndarray of shape (150,)
        Of the training people's DE, nats.
    model : LinearSVC
    n_people : int
        How many were learned from.
    unseen_folds : frozenset of int
        Clips that were not learned from.
    every : int
        Every so many seconds were learned from.
    """

    mean: np.ndarray
    var: np.ndarray
    model: LinearSVC
    n_people: int
    unseen_folds: frozenset[int]
    every: int

    def tell_seconds(self) -> str:
        """Return in words which seconds were learned from."""
        return "on all seconds" if self.every == 1 else f"on one second in {self.every}"

    def dump(self) -> bytes:
        """Return all of it as safetensors."""
        names = {"mean": self.mean, "var": self.var, "labels": self.model.classes_}
        arrays = names | {"planes": self.model.coef_, "offsets": self.model.intercept_}
        facts = {"people": self.n_people, "unseen_folds": sorted(self.unseen_folds), "every": self.every}
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"svm": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `dump` gave.

        Raises
        ------
        InputError
            If it is damaged.
        """
        try:
            with safe_open(path, "np") as file:
                facts = json.loads(file.metadata()["svm"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            model = LinearSVC()
            model.coef_, model.intercept_ = arrays["planes"], arrays["offsets"]
            model.classes_ = arrays["labels"]
            folds = frozenset(int(fold) for fold in facts["unseen_folds"])
            return cls(arrays["mean"], arrays["var"], model, int(facts["people"]), folds, int(facts["every"]))
        except Exception:  # safetensors raises its own Rust-side classes
            raise InputError(f"{path.name}: is damaged; accepted: the file that an evaluation writes") from None


class FieldSvm:
    """A reader that knows the trials of a folder by subject and clip.

    Parameters
    ----------
    source : Source
    weights : FieldWeights
        Learned from nobody who is scored.
    """

    name = "DE + SVM"

    def __init__(self, source: Source, weights: FieldWeights) -> None:
        self._source, self._weights = source, weights

    def score(self, rows: Sequence[Any]) -> np.ndarray:
        """Return the share of a row's seconds that vote for each label, shape (n_rows, 9).

        Smoothing runs over the whole trial, so a segment's votes know the seconds before it.
        """
        told: dict[tuple[str, int], np.ndarray] = {}
        for subject in sorted({row["subject"] for row in rows}):
            if person := _read_person(self._source, subject):
                recording, de = person
                smooth = _prepare_seconds(recording, de, self._weights.mean, self._weights.var)
                for clip, seconds in zip(recording.clips, smooth, strict=True):
                    told[subject, int(clip or 0)] = np.eye(len(EMOTIONS))[self._weights.model.predict(seconds)]
        return np.array([_count_votes(told.get((row["subject"], int(row["clip"] or 0))), row) for row in rows])


def fit_svm(
    source: Source,
    subjects: Sequence[str],
    folds: dict[int, int],
    unseen_folds: frozenset[int],
    every: int,
    seed: int,
) -> FieldWeights:
    """Learn from people, second by second.

    Parameters
    ----------
    source : Source
    subjects : sequence of str
        Who is learned from; nobody of them may be scored.
    folds : dict of int to int
        Fold of each clip, as far as known.
    unseen_folds : frozenset of int
        Clips that are not learned from; where there are any, neither are clips without a fold.
    every : int
        Every so many seconds are learned from.
    seed : int

    Raises
    ------
    InputError
        If fewer than `MIN_PEOPLE` people can be learned from.
    """
    bar = tqdm(subjects, desc="DE + SVM", unit="subject", disable=None)
    people = [person for name in bar if (person := _read_person(source, name))]
    if len(people) < MIN_PEOPLE:
        raise InputError(f"DE + SVM: {len(people)} people to learn from; at least {MIN_PEOPLE} are needed")
    pooled = np.concatenate([de.reshape(-1, de.shape[-1]) for _, de in people])
    mean, var = pooled.mean(axis=0), pooled.var(axis=0)
    left_out: set[int | None] = {*unseen_folds, None} if unseen_folds else set()
    inputs, labels = [], []
    for recording, de in people:
        smooth = _prepare_seconds(recording, de, mean, var)
        for index, (clip, emotion) in enumerate(zip(recording.clips, recording.emotions, strict=True)):
            if emotion is not None and clip is not None and folds.get(clip) not in left_out:
                inputs.append(smooth[index, ::every])
                labels += [EMOTIONS.index(emotion)] * len(inputs[-1])
    model = LinearSVC(C=_C, dual=False, tol=1e-3, random_state=seed).fit(np.concatenate(inputs), labels)
    return FieldWeights(mean, var, model, len(people), unseen_folds, every)


def _read_person(source: Source, subject: str) -> tuple[Recording, np.ndarray] | None:
    """Return a person with DE of shape (n_trials, n_seconds, 150), nats; None if not usable."""
    try:
        recording = source.read(subject, "de")
        seconds = 30 if recording.de is None else recording.de.shape[2]
        de = extract_power(recording, "de", seconds)
    except InputError:
        return None
    return None if np.isnan(de).any() else (recording, de.reshape(*de.shape[:2], -1))


def _prepare_seconds(recording: Recording, de: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    ranks = [rank or 0 for rank in recording.ranks] or [0] * len(de)
    order = np.argsort(ranks, kind="stable")  # where the order is unknown: by clip
    scaled = np.empty_like(de)
    scaled[order] = normalise_running(de[order].reshape(-1, de.shape[-1]), mean, var).reshape(de.shape)
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
