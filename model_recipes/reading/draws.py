"""What a reader is shown at each step: trials, mixes of two people's trials, and the nine probabilities to aim at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from dataset_builder.codecs import Codec
from dataset_builder.errors import RecipeError
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS, Code
from model_recipes.evaluation.kernel_probe import KernelProbe
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.reading.simulation import CodeSimulator
from model_recipes.training.loop import draw_windows

LabelTarget = Literal["code", "probe", "kernel", "hard"]

#: Targets that are cross-fitted probabilities of a probe.
_PROBES = ("probe", "kernel")

#: Groups of training subjects for the cross-fitted probe; each is read by a probe fitted on the others.
_PROBE_FOLDS = 8

#: Share of each emotion's rows that a curriculum begins with.
_EASIEST = 0.25


@runtime_checkable
class Mixable(Protocol):
    """A codec whose numbers can be changed and written again."""

    def make_code(self, values: np.ndarray) -> Code:
        """Return the code of an array such as `Codec.decode` gives."""


@dataclass(frozen=True)
class Item:
    """One trial to train on.

    Parameters
    ----------
    row : dict
        Row of the corpus that person and wording come from.
    code : Code
        The row's own, or a mix.
    target : ndarray of shape (9,), float64
        Probabilities of `EMOTIONS` that the label is to get; they sum to 1.
    emotion : str
        What the answer's text speaks of.
    """

    row: dict[str, Any]
    code: Code
    target: np.ndarray
    emotion: str


@dataclass(frozen=True)
class Lessons:
    """What comes before all rows take their turn.

    Parameters
    ----------
    simulated_steps : int
        So many first steps see made-up codes only.
    easy_steps : int
        So many steps after those begin with the easiest quarter of each emotion's rows and let the others in one after
        the other; easy is a row whose target speaks clearly for the intended emotion (Bengio et al. 2009, ICML).
    """

    simulated_steps: int = 0
    easy_steps: int = 0


_NO_LESSONS = Lessons()


class RowDrawer:
    """Draw the items of a step from training rows; the same for a step whenever it is asked.

    Parameters
    ----------
    rows : sequence of dict
        Training rows.
    codec : Codec
    label_target : {"code", "probe", "kernel", "hard"}
        See `make_targets`.
    mixed_rows : float
        Share of each batch that is a mix of two people who saw the same clip.
    seed : int
    lessons : Lessons
        What comes first.

    Raises
    ------
    RecipeError
        If the codec cannot do what is asked.
    """

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        codec: Codec,
        label_target: LabelTarget,
        mixed_rows: float,
        seed: int,
        lessons: Lessons = _NO_LESSONS,
    ) -> None:
        if mixed_rows and not isinstance(codec, Mixable):
            raise RecipeError(f"mixed_rows {mixed_rows:g}: codec {codec.name} cannot mix trials; accepted: 0")
        _check_lessons(lessons, codec, label_target)
        self.lessons = lessons
        self.rows, self.codec, self.seed = rows, codec, seed
        self.label_target, self.mixed_rows = label_target, mixed_rows
        self.codes = [codec.from_text(row["code"]) for row in rows]
        self.targets = make_targets(label_target, rows, codec, self.codes)
        self.values = np.stack([codec.decode(code) for code in self.codes]) if mixed_rows else np.empty(0)
        self._partners = _group_by_stretch(rows)
        self._simulator = self._make_simulator() if lessons.simulated_steps else None
        self._hardness = _rank_hardness(self.targets, rows)

    def draw(self, step: int, count: int) -> list[Item]:
        """Return `count` items. Each pass over the rows has a new order, and each draw new mixes."""
        rng = make_rng(self.seed, "reader", "step", step)
        if step < self.lessons.simulated_steps:
            return [self._simulate(rng) for _ in range(count)]
        if step < self.lessons.simulated_steps + self.lessons.easy_steps:
            return [self._make_item(int(i), rng) for i in rng.choice(self._find_easy(step), count)]
        order = draw_windows(torch.arange(len(self.rows))[:, None], count, step, self.seed, "reader rows")[:, 0]
        return [self._make_item(index, rng) for index in order.tolist()]

    def _make_item(self, index: int, rng: np.random.Generator) -> Item:
        code, target = self.codes[index], self.targets[index]
        partners = self._partners[_name_stretch(self.rows[index])]
        if rng.random() < self.mixed_rows and len(partners) > 1:
            code, target = self._mix(index, partners, rng)
        # The answer speaks of an emotion drawn from the target, because in use it follows what the model itself wrote.
        emotion = EMOTIONS[int(rng.choice(len(EMOTIONS), p=target))]
        return Item(self.rows[index], code, target, emotion)

    def _make_simulator(self) -> CodeSimulator:
        return CodeSimulator(self.codec, self.codes, [row["emotion"] for row in self.rows])

    def _simulate(self, rng: np.random.Generator) -> Item:
        """Return a made-up code with the person and wording of some row."""
        assert self._simulator is not None  # there are simulated steps
        emotion = str(rng.choice(self._simulator.emotions))
        code = self._simulator.draw(emotion, rng)
        target = np.eye(len(EMOTIONS))[EMOTIONS.index(emotion)]
        if self.label_target == "code":
            target = read_target(self.codec, code)
            emotion = EMOTIONS[int(rng.choice(len(EMOTIONS), p=target))]
        return Item(self.rows[int(rng.integers(len(self.rows)))], code, target, emotion)

    def _find_easy(self, step: int) -> np.ndarray:
        done = (step - self.lessons.simulated_steps) / self.lessons.easy_steps
        return np.flatnonzero(self._hardness <= _EASIEST + (1 - _EASIEST) * done)

    def _mix(self, index: int, partners: np.ndarray, rng: np.random.Generator) -> tuple[Code, np.ndarray]:
        """Mix the deviations of two trials from their clip's mean with cos and sin of an angle.

        Squares of the two sum to 1, so that a mix varies about the mean as much as true trials do; a plain average
        would vary half as much.
        """
        other, angle = int(rng.choice(partners)), rng.uniform(0, math.pi / 2)
        mean = self.values[partners].mean(axis=0)
        mixed = mean + math.cos(angle) * (self.values[index] - mean) + math.sin(angle) * (self.values[other] - mean)
        assert isinstance(self.codec, Mixable)  # checked at the beginning
        code = self.codec.make_code(mixed)
        if self.label_target == "code":
            return code, read_target(self.codec, code)
        share = math.cos(angle) ** 2
        return code, share * self.targets[index] + (1 - share) * self.targets[other]


def make_targets(kind: LabelTarget, rows: Sequence[dict[str, Any]], codec: Codec, codes: Sequence[Code]) -> np.ndarray:
    """Return the probabilities that each row's label is to get, shape (n_rows, 9), float64.

    Parameters
    ----------
    kind : {"code", "probe", "kernel", "hard"}
        ``"code"``: those that the code itself states; the model then learns to read them out (distillation, Hinton et
        al. 2015, arXiv:1503.02531). ``"probe"``: of linear probes on the code, each row read by one that was fitted
        without its subject. ``"kernel"``: the same with kernel probes. ``"hard"``: 1 for the emotion that the clip was
        meant to evoke.
    rows : sequence of dict
    codec : Codec
    codes : sequence of Code
        Of the rows.

    Raises
    ------
    RecipeError
        If the codec states no probabilities, or there are too few subjects for probes.
    """
    if kind == "code":
        return np.stack([read_target(codec, code) for code in codes])
    if kind in _PROBES:
        return _crossfit_probe(rows, codec, kind)
    return np.eye(len(EMOTIONS))[[EMOTIONS.index(row["emotion"]) for row in rows]]


def read_target(codec: Codec, code: Code) -> np.ndarray:
    """Return the nine probabilities that a code states, made to sum to 1."""
    read = getattr(codec, "read_probabilities", None)
    found = None if read is None else read(code)
    if found is None:
        raise RecipeError(
            f"label_target code: codec {codec.name} states no probabilities; accepted: probe, kernel, hard"
        )
    found = np.asarray(found, dtype=np.float64)
    return found / found.sum()


def _crossfit_probe(rows: Sequence[dict[str, Any]], codec: Codec, kind: str) -> np.ndarray:
    subjects = sorted({row["subject"] for row in rows})
    folds = {subject: i % _PROBE_FOLDS for i, subject in enumerate(subjects)}
    if len(subjects) < 2:
        raise RecipeError(f"label_target {kind}: needs at least 2 training subjects; accepted here: code, hard")
    make_probe = LinearProbe if kind == "probe" else KernelProbe
    targets = np.empty((len(rows), len(EMOTIONS)))
    for fold in sorted(set(folds.values())):
        inside = np.array([folds[row["subject"]] == fold for row in rows])
        probe = make_probe(codec, [row for row, there in zip(rows, inside, strict=True) if not there])
        targets[inside] = probe.score([row for row, there in zip(rows, inside, strict=True) if there])
    return targets / targets.sum(axis=1, keepdims=True)


def _check_lessons(lessons: Lessons, codec: Codec, kind: LabelTarget) -> None:
    """Refuse what a codec or a target cannot do."""
    if lessons.simulated_steps and not isinstance(codec, Mixable):
        raise RecipeError(f"simulated_share: codec {codec.name} cannot write made-up trials; accepted: 0")
    if lessons.simulated_steps and kind in _PROBES:
        raise RecipeError(f"simulated_share: label_target {kind} knows rows of the corpus only; accepted here: 0")
    if lessons.easy_steps and kind == "hard":
        raise RecipeError("curriculum_share: with label_target hard no row is easier than another; accepted here: 0")


def _rank_hardness(targets: np.ndarray, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return the rank of each row among those of its emotion, 0 for the easiest to 1, shape (n_rows,).

    Easy is a row whose target gives the intended emotion far more than any other. Ranks are within an emotion, so that
    all emotions are met from the start.
    """
    labels = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    own = np.take_along_axis(targets, labels[:, None], axis=1)[:, 0]
    others = targets.copy()
    np.put_along_axis(others, labels[:, None], -1.0, axis=1)
    margin, ranks = own - others.max(axis=1), np.zeros(len(rows))
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        order = inside[np.argsort(-margin[inside], kind="stable")]
        ranks[order] = np.arange(len(order)) / max(1, len(order) - 1)
    return ranks


#: A film clip (None if unknown) and where in it a segment starts, seconds (None for whole clips).
Stretch = tuple[int | None, float | None]


def _name_stretch(row: dict[str, Any]) -> Stretch:
    return row["clip"], row.get("start_s")


def _group_by_stretch(rows: Sequence[dict[str, Any]]) -> dict[Stretch, np.ndarray]:
    """Return the positions of each stretch's rows; none for an unknown clip, whose rows need not be of one film."""
    stretches = [_name_stretch(row) for row in rows]
    return {
        stretch: np.array([i for i, other in enumerate(stretches) if other == stretch and stretch[0] is not None], int)
        for stretch in set(stretches)
    }
