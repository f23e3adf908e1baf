"""What the evidence code learns: scale of the people, weights of the classes, sharpness, patterns of the emotions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dataset_builder.codecs.base import Features, Target
from dataset_builder.codecs.crossfit import fold_targets
from dataset_builder.codecs.normalize import Normalization, fit_person_scale, scale_to_person
from dataset_builder.codecs.ridge import Ridge, fit_ridge, fit_sharpness
from dataset_builder.codecs.views import TargetKind, make_views, weigh_columns
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, EMOTIONS, SCALP_CHANNELS

#: What a column's spread is never below, in the person's standard deviations.
_SMALLEST = 1e-6


@dataclass(frozen=True)
class EvidenceFit:
    """Fits on some of the people at a time; what does not depend on who takes part is computed once.

    Parameters
    ----------
    people : dict of str to Features
        ``power`` and ``ranks`` of the training trials of each training subject.
    targets : dict of str to sequence of Target
    kind : {"clip", "emotion"}
        What the classes are.
    normalization : Normalization
    alpha : float
        Penalty, see `fit_ridge`.
    """

    people: Mapping[str, Features]
    targets: Mapping[str, Sequence[Target]]
    kind: TargetKind
    normalization: Normalization
    alpha: float
    _views: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    _sharpness: dict[tuple[str, ...], float] = field(default_factory=dict, init=False)

    def __call__(self, subjects: Sequence[str], without: frozenset[int]) -> dict[str, np.ndarray]:
        """Return the state of a codec that learned from these subjects' trials, except those of some clips.

        Their unlabelled trials and those of the clips left out still tell how a person is to be scaled.

        Raises
        ------
        InputError
            If there is only one class, or a clip stands for two emotions.
        """
        scale = fit_person_scale([self._view(name) for name in subjects])
        kept = {name: self._choose_trials(name, without) for name in subjects}
        trials = [(name, self.targets[name][row]) for name in subjects for row in kept[name]]
        labels, owner = _number_classes([target for _, target in trials], self.kind)
        rows = np.concatenate([self._scale(name, scale)[kept[name]] for name in subjects])
        learned = self._learn(rows, labels, trials)
        return scale | learned | {"owner": owner, "template": self._average_patterns(kept)}

    def _view(self, subject: str) -> np.ndarray:
        if subject not in self._views:
            self._views[subject] = make_views(self.people[subject]["power"], self.kind)
        return self._views[subject]

    def _scale(self, subject: str, scale: dict[str, np.ndarray]) -> np.ndarray:
        z, _ = scale_to_person(self._view(subject), self.people[subject]["ranks"], scale, self.normalization)
        return z[:, 0]

    def _choose_trials(self, subject: str, without: frozenset[int]) -> list[int]:
        """Return the positions of the trials with the labels that are needed, except those of some clips."""
        return [
            row
            for row, target in enumerate(self.targets[subject])
            if target.emotion and (target.clip or self.kind == "emotion") and target.clip not in without
        ]

    def _learn(
        self, rows: np.ndarray, labels: np.ndarray, trials: Sequence[tuple[str, Target]]
    ) -> dict[str, np.ndarray]:
        """Return offset, weights and sharpness; `rows` are standardised in place, for they are large."""
        offset = np.nan_to_num(np.nanmean(rows, axis=0))
        unit = np.maximum(np.nan_to_num(np.nanstd(rows, axis=0)), _SMALLEST) / weigh_columns(rows.shape[1], self.kind)
        rows -= offset
        rows /= unit
        people, films = self._group(trials)
        new_films = self.kind == "emotion" and len(set(films)) > 1
        ridge = fit_ridge(np.nan_to_num(rows, copy=False), labels, films if new_films else people, self.alpha)
        weight = ridge.weight / unit[:, None]
        gain = max(float(np.abs(weight).max()), np.finfo(np.float32).tiny)
        return {
            "offset": offset.astype(np.float32),
            "weight": (weight / gain).astype(np.float16),
            "gain": np.array([gain], dtype=np.float32),
            "bias": ridge.bias,
            "sharpness": np.array([self._calibrate(ridge, labels, trials, new_films)], dtype=np.float32),
        }

    def _group(self, trials: Sequence[tuple[str, Target]]) -> tuple[np.ndarray, np.ndarray]:
        """Return what may be left out together, by number: the person and the clip's fold of every trial."""
        folds = fold_targets(self.targets)
        films = [-1 if target.clip is None else folds[target.clip] for _, target in trials]
        return np.unique([name for name, _ in trials], return_inverse=True)[1], np.array(films)

    def _calibrate(
        self, ridge: Ridge, labels: np.ndarray, trials: Sequence[tuple[str, Target]], new_films: bool
    ) -> float:
        """Return the sharpness for what will be new to the code: people, or people and films.

        With one film of each emotion left there is no new film to calibrate on; then the sharpness of the same people
        with all their films counts. It is one number, and far lower than what known films would give.
        """
        people = tuple(sorted({name for name, _ in trials}))
        if self.kind == "emotion" and not new_films and people in self._sharpness:
            return self._sharpness[people]
        found = fit_sharpness(ridge.held_out, labels)
        self._sharpness.setdefault(people, found)
        return found

    def _average_patterns(self, kept: Mapping[str, list[int]]) -> np.ndarray:
        """Return the mean power of each emotion's trials relative to the person's, shape (9, 30, 5), nats."""
        total = np.zeros((len(EMOTIONS), len(SCALP_CHANNELS), len(BANDS)))
        count = np.zeros_like(total)
        for name, rows in kept.items():
            power = self.people[name]["power"].mean(axis=1, dtype=np.float64)
            deviation = power - power.mean(axis=0)
            for row in rows:
                emotion = EMOTIONS.index(str(self.targets[name][row].emotion))
                total[emotion] += np.nan_to_num(deviation[row])
                count[emotion] += ~np.isnan(deviation[row])
        return (total / np.maximum(count, 1)).astype(np.float32)


def _number_classes(targets: Sequence[Target], kind: TargetKind) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of every target and the emotion of every class, both as numbers."""
    emotions = [EMOTIONS.index(str(target.emotion)) for target in targets]
    of_class: dict[int, int] = {}
    numbers = emotions if kind == "emotion" else [int(target.clip or 0) for target in targets]
    for number, emotion in zip(numbers, emotions, strict=True):
        if of_class.setdefault(number, emotion) != emotion:
            raise InputError(f"codec evidence: clip {number} has two emotions; accepted: one a clip, or target emotion")
    known = sorted(of_class)
    if len(known) < 2:
        raise InputError(f"codec evidence: {len(known)} {kind} in the training trials; at least 2 are needed")
    return np.searchsorted(known, numbers), np.array([of_class[number] for number in known], dtype=np.int8)
