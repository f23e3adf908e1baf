"""Verdicts: whether a reader reads nothing, the film, or the EEG beyond the film."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset_builder.manifest import Metric
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.bootstrap import N_BOOTSTRAPS, bootstrap_difference, bootstrap_interval
from model_recipes.evaluation.controls import SAME_CLIP, Control, Rows, to_answers
from model_recipes.evaluation.metrics import balanced_accuracy

#: Fewer people than this cannot carry an interval over people.
MIN_SUBJECTS = 5

#: Sums in another order are not an advantage.
_ROUNDING = 1e-9

#: What a verdict may come to: not above every control that is told nothing of the trial's own EEG; above those, but not
#: above the EEG of another person at the same clip; above all.
READINGS = ("nothing", "film", "eeg")


@dataclass(frozen=True)
class Comparison:
    """A reader beside one control on the same trials.

    Parameters
    ----------
    control : str
    label_free : bool
    n, n_subjects : int
        Trials and people.
    reader, other : float
        Balanced accuracy of both.
    difference : float
    interval : list of two floats
        95 %, paired over subjects.
    """

    control: str
    label_free: bool
    n: int
    n_subjects: int
    reader: float
    other: float
    difference: float
    interval: list[float]


def compare_controls(
    rows: Rows, scores: np.ndarray, controls: Sequence[Control], seed: int, where: dict[str, Any]
) -> tuple[list[Comparison], list[Metric]]:
    """Compare a reader with each control on the trials that both answered.

    Parameters
    ----------
    rows : sequence of rows
        All trials.
    scores : ndarray of shape (n_rows, 9)
    controls : sequence of Control
    seed : int
    where : dict of str to str
        ``split``, ``protocol`` and ``reader`` of the metrics.

    Returns
    -------
    list of Comparison
    list of Metric
        ``control_balanced_accuracy`` of every control, and the reader's ``advantage`` over the best label-free one.
    """
    comparisons, metrics = [], []
    for control in controls:
        mine = count_answers(rows, control.trials, to_answers(scores[control.trials]))
        others = count_answers(rows, control.trials, control.answers)
        difference, interval = bootstrap_difference(mine, others, balanced_accuracy, seed)
        values = [float(balanced_accuracy(counts.sum(axis=0))) for counts in (mine, others)]
        size = (len(control.trials), len(mine))
        told = (control.name, control.label_free, *size, values[0], values[1], difference, interval)
        comparisons.append(Comparison(*told))
        metrics.append(
            Metric(
                name="control_balanced_accuracy",
                value=values[1],
                n=size[0],
                unit="trials",
                interval=bootstrap_interval(others, balanced_accuracy, seed),
                method=f"control; 95 % bootstrap over {size[1]} subjects",
                **(where | {"reader": f"{where['reader']}, {control.name}"}),
            )
        )
    if best := find_best(comparisons):
        metrics.append(
            Metric(
                name="advantage",
                value=best.difference,
                n=best.n,
                unit="trials",
                interval=best.interval,
                method=f"balanced accuracy less that of the best label-free control ({best.control}), same trials; "
                f"95 % paired bootstrap over {best.n_subjects} subjects, {N_BOOTSTRAPS} draws",
                **where,
            )
        )
    return comparisons, metrics


def count_answers(rows: Rows, trials: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return confusion matrices per subject of answers that may be shares, shape (n_subjects, 9, 9)."""
    chosen = [rows[i] for i in trials.tolist()]
    names, owners = np.unique([row["subject"] for row in chosen], return_inverse=True)
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in chosen])
    counts = np.zeros((len(names), len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (owners, truth), answers)
    return counts


def find_best(comparisons: Sequence[Comparison]) -> Comparison | None:
    """Return the label-free control that the reader is least above; None if there is none."""
    free = [comparison for comparison in comparisons if comparison.label_free]
    return min(free, key=lambda comparison: comparison.interval[0]) if free else None


def find_same_clip(comparisons: Sequence[Comparison]) -> Comparison | None:
    """Return the comparison with the EEG of another subject at the same clip; None if it was not made."""
    return next((comparison for comparison in comparisons if comparison.control == SAME_CLIP), None)


def judge(comparisons: Sequence[Comparison], where: dict[str, str], unseen_clips: bool) -> dict[str, Any]:
    """Return the verdict on one reader under one protocol, for the manifest.

    Parameters
    ----------
    comparisons : sequence of Comparison
    where : dict of str to str
        ``split``, ``protocol`` and ``reader``.
    unseen_clips : bool
        Whether the clips were kept from training.

    Returns
    -------
    dict
        ``reads`` is one of `READINGS`; ``text`` and ``clips`` say it in words, ``comparisons`` has the numbers.

    Notes
    -----
    Exchanging people within a clip leaves every label as it was. Where the label follows from the clip, as in FACED,
    that control therefore gets the reader's own score, and ``"eeg"`` can only be reached with labels that differ
    between people at one clip.
    """
    reads = grade(comparisons)
    told = {**where, "reads": reads, "text": _explain(comparisons, reads, unseen_clips)}
    return told | {"clips": explain_clips(comparisons, unseen_clips), "comparisons": [vars(c) for c in comparisons]}


def grade(comparisons: Sequence[Comparison]) -> str:
    """Return which of `READINGS` the controls bear out."""
    free = [comparison for comparison in comparisons if comparison.label_free]
    if not free or not all(map(_is_above, free)):
        return "nothing"
    same = find_same_clip(comparisons)
    return "eeg" if same is not None and _is_above(same) else "film"


def explain_clips(comparisons: Sequence[Comparison], unseen_clips: bool) -> str:
    """Return one sentence on how much of a score the film explains."""
    if unseen_clips:
        return "these clips were kept from training, so no film can have been recognised"
    same = find_same_clip(comparisons)
    chance = next((c for c in comparisons if c.control == "chance"), None)
    if same is None or chance is None or chance.interval[0] <= _ROUNDING:
        return "the clips were in training; the score is too near chance to say what it comes from"
    return (
        f"the clips were in training: balanced accuracy is {_span(chance)} above chance and {_span(same)} above what "
        "the EEG of another subject at the same clip reaches; it takes unseen clips to tell emotion from film"
    )


def _is_above(comparison: Comparison) -> bool:
    return comparison.n_subjects >= MIN_SUBJECTS and comparison.interval[0] > _ROUNDING


def _explain(comparisons: Sequence[Comparison], reads: str, unseen_clips: bool) -> str:
    best = find_best(comparisons)
    if best is None or min(c.n_subjects for c in comparisons if c.label_free) < MIN_SUBJECTS:
        return f"not shown to read the EEG: fewer than {MIN_SUBJECTS} people were compared"
    beside = f"balanced accuracy {_span(best)} against the best control without this EEG ({best.control})"
    if reads == "nothing":
        return f"not shown to read the EEG: {beside}"
    same = find_same_clip(comparisons)
    if same is None:
        return f"depends on the EEG, not compared with {SAME_CLIP}: {beside}"
    film = "reads the label of a new film" if unseen_clips else "reads which film was shown"
    said = "reads the EEG" if reads == "eeg" else f"{film}, not shown to read anything of the person beyond the film"
    return f"{said}: {beside}, {_span(same)} against {SAME_CLIP}"


def _span(comparison: Comparison) -> str:
    low, high = comparison.interval
    return f"{comparison.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
