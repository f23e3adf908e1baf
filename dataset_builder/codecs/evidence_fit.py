"""What the evidence code learns: scale of the people, weights of the classes, sharpness, patterns of the emotions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dataset_builder.codecs.base import Features, Target
from dataset_builder.codecs.crossfit import fold_targets
from dataset_builder.codecs.lens import fit_lens
from dataset_builder.codecs.normalize import Normalization, fit_person_scale, scale_to_person
from dataset_builder.codecs.ridge import fit_ridge, fit_sharpness, score_left_out
from dataset_builder.codecs.views import TargetKind, make_views
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, EMOTIONS, SCALP_CHANNELS

#: Fewest people from whom the sharpness of a device is learned.
_MIN_PEOPLE = 5

#: Groups of people that are left out together with a fold of films.
_N_GROUPS = 4


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
    dropout : float
        Share of channels that may be missing; for segments, see `dataset_builder.codecs.lens.Discriminants`.
    """

    people: Mapping[str, Features]
    targets: Mapping[str, Sequence[Target]]
    kind: TargetKind
    normalization: Normalization
    alpha: float
    dropout: float = 0.0
    _views: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    _sharpness: dict[tuple[str, ...], dict[str, np.ndarray]] = field(default_factory=dict, init=False)

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
        learned = self._learn(rows, labels, owner, trials)
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
        self, rows: np.ndarray, labels: np.ndarray, owner: np.ndarray, trials: Sequence[tuple[str, Target]]
    ) -> dict[str, np.ndarray]:
        """Return offset, weights and sharpness; `rows` may be overwritten, for they are large."""
        offset = np.nan_to_num(np.nanmean(rows, axis=0))
        lens = fit_lens(rows, offset, labels, self.kind)
        rows -= offset
        np.nan_to_num(rows, copy=False)
        costs = lens.find_costs(rows, self.dropout)
        rows = lens.apply(rows)
        people, films = self._group(trials)
        ridge = fit_ridge(rows, labels, people, self.alpha, costs)
        weight = lens.take_back(ridge.weight)
        gain = max(float(np.abs(weight).max()), np.finfo(np.float32).tiny)
        held_out = ridge.held_out
        if self.kind == "emotion" and (new_films := len(set(films)) > 1):
            held_out = score_left_out(rows, labels, _leave_out_both(people, films), self.alpha)
        reuse = self.kind == "emotion" and not new_films
        return {
            "offset": offset.astype(np.float32),
            "weight": (weight / gain).astype(np.float16),
            "gain": np.array([gain], dtype=np.float32),
            "bias": ridge.bias,
            **self._calibrate(held_out, labels, owner, trials, reuse),
        }

    def _group(self, trials: Sequence[tuple[str, Target]]) -> tuple[np.ndarray, np.ndarray]:
        """Return what may be left out together, by number: the person and the clip's fold of every trial."""
        folds = fold_targets(self.targets)
        films = [-1 if target.clip is None else folds[target.clip] for _, target in trials]
        return np.unique([name for name, _ in trials], return_inverse=True)[1], np.array(films)

    def _calibrate(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        owner: np.ndarray,
        trials: Sequence[tuple[str, Target]],
        reuse: bool,
    ) -> dict[str, np.ndarray]:
        """Return the sharpness for what will be new to the code: people, or people and films.

        One for everybody, then one for each sampling rate of the device that enough people share, since films are told
        apart less well at some (FACED's later people, recorded at 1000 Hz, are right in .84 of left-out trials, the
        others in .94). With one film of each emotion left there is no new film to calibrate on; then the sharpness of
        the same people with all their films counts (`reuse`), which is far lower than what known films would give.
        """
        people = tuple(sorted({name for name, _ in trials}))
        if reuse and people in self._sharpness:
            return self._sharpness[people]
        rates = np.array([self._read_rate(name) for name, _ in trials])
        counts = Counter(self._read_rate(name) for name in people)
        shared = sorted(rate for rate, count in counts.items() if rate > 0 and count >= _MIN_PEOPLE)
        parts = [np.ones(len(rates), dtype=bool), *(rates == rate for rate in shared)]
        found = {
            "sharpness": np.array([fit_sharpness(scores[p], labels[p], owner) for p in parts], dtype=np.float32),
            "rates_hz": np.array(shared, dtype=np.float32),
        }
        self._sharpness.setdefault(people, found)
        return found

    def _read_rate(self, subject: str) -> float:
        """Return the sampling rate of a person's device, Hz; 0 where unknown."""
        rates = self.people[subject].get("rates_hz")
        return 0.0 if rates is None or not len(rates) else float(rates[0])

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


def _leave_out_both(people: np.ndarray, films: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return positions to learn from and positions to score, with neither people nor films in common."""
    groups = people % min(_N_GROUPS, int(people.max()) + 1)
    pairs = [(group, film) for group in np.unique(groups) for film in np.unique(films)]
    return [
        (np.flatnonzero((groups != group) & (films != film)), np.flatnonzero((groups == group) & (films == film)))
        for group, film in pairs
    ]


def _number_classes(targets: Sequence[Target], kind: TargetKind) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of every target and the emotion of every class, both as numbers.

    Segments of a clip are classes of their own: which part of a film it is shows as much as which film.
    """
    keys = [_name_class(target, kind) for target in targets]
    of_class: dict[tuple[int, float], int] = {}
    for key, target in zip(keys, targets, strict=True):
        emotion = EMOTIONS.index(str(target.emotion))
        if of_class.setdefault(key, emotion) != emotion:
            raise InputError(f"codec evidence: clip {key[0]} has two emotions; accepted: one a clip, or target emotion")
    known = sorted(of_class)
    if len(known) < 2:
        raise InputError(f"codec evidence: {len(known)} {kind} in the training trials; at least 2 are needed")
    numbers = {key: number for number, key in enumerate(known)}
    return np.array([numbers[key] for key in keys]), np.array([of_class[key] for key in known], dtype=np.int8)


def _name_class(target: Target, kind: TargetKind) -> tuple[int, float]:
    if kind == "emotion":
        return EMOTIONS.index(str(target.emotion)), 0.0
    return int(target.clip or 0), target.start_s or 0.0
