"""Accuracy and its relatives with intervals over subjects, and what guessing would reach.

Everything is computed from one confusion matrix per subject, so that the bootstrap only adds matrices up.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dataset_builder.manifest import Metric
from dataset_builder.types import EMOTIONS, VALENCE
from model_recipes.evaluation.bootstrap import N_BOOTSTRAPS, bootstrap_interval, bootstrap_mean

#: Number of labels.
_N = len(EMOTIONS)

#: Labels of the positive-negative task; where both are equally probable, the first is answered.
_SIGNS = ("negative", "positive")


def count_confusion(truth: np.ndarray, predicted: np.ndarray, subjects: Sequence[str], n_labels: int) -> np.ndarray:
    """Count answers per subject.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_trials,), int
        Label numbers.
    subjects : sequence of str
        Whose trial it is.
    n_labels : int

    Returns
    -------
    ndarray of shape (n_subjects, n_labels, n_labels), int64
        ``[s, t, p]``: how often the trials of label t were answered with p. Subjects in sorted order.
    """
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    counts = np.zeros((len(names), n_labels, n_labels), dtype=np.int64)
    np.add.at(counts, (owners, truth, predicted), 1)
    return counts


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the share of right answers of matrices of shape (..., n, n)."""
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the labels that occur."""
    totals = confusion.sum(axis=-1)
    recall = _divide(np.diagonal(confusion, axis1=-2, axis2=-1), totals)
    return recall.sum(axis=-1) / (totals > 0).sum(axis=-1)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the labels that occur or were answered."""
    both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    scores = _divide(2 * np.diagonal(confusion, axis1=-2, axis2=-1), both)
    return scores.sum(axis=-1) / (both > 0).sum(axis=-1)


def kappa(confusion: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa (Cohen 1960, Educ Psychol Meas 20:37): 0 is what the same answers in random order reach."""
    total = confusion.sum(axis=(-2, -1))
    expected = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / total**2
    return _divide(accuracy(confusion) - expected, 1 - expected)


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over labels, each weighing as much as it occurs."""
    totals = confusion.sum(axis=-1)
    scores = _divide(2 * np.diagonal(confusion, axis1=-2, axis2=-1), totals + confusion.sum(axis=-2))
    return (scores * totals).sum(axis=-1) / totals.sum(axis=-1)


#: Name -> function of confusion matrices (..., n, n) -> (...), in the order of the report.
MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "kappa": kappa,
}

#: What is told of the valence tasks.
_VALENCE_MEASURES = ("accuracy", "balanced_accuracy")


def guess(confusion: np.ndarray, name: str) -> float:
    """Return what a guesser reaches who names every label as often as it occurs, at random.

    Parameters
    ----------
    confusion : ndarray of shape (n, n)
        Only how often each label occurs is used.
    name : str
        A key of `MEASURES`.
    """
    shares = confusion.sum(axis=1) / confusion.sum()
    # Recall and precision of a label are then both its share, and shares sum to 1 over the labels that occur.
    among_present = 1 / int((shares > 0).sum())
    values = {
        "accuracy": float((shares**2).sum()),
        "balanced_accuracy": among_present,
        "macro_f1": among_present,
        "weighted_f1": float((shares**2).sum()),
        "kappa": 0.0,
    }
    return values[name]


def measure_answers(
    scores: np.ndarray, emotions: Sequence[str], subjects: Sequence[str], *, seed: int, **where: str
) -> list[Metric]:
    """Turn the probabilities of one reader on one set of trials into metrics.

    Parameters
    ----------
    scores : ndarray of shape (n_trials, 9)
        In the order of `EMOTIONS`.
    emotions : sequence of str
        The truth.
    subjects : sequence of str
    seed : int
        Of the bootstrap.
    **where : str
        ``split``, ``protocol`` and ``reader`` of each metric.

    Returns
    -------
    list of Metric
        `MEASURES` over nine labels; accuracy and balanced accuracy of positive against negative (``valence_...``,
        neutral trials left out) and of the three valences (``three_valence_...``).
    """
    truth = np.array([EMOTIONS.index(emotion) for emotion in emotions])
    counts = count_confusion(truth, scores.argmax(axis=1), subjects, _N)
    metrics = [_make_metric(name, counts, seed, where) for name in MEASURES]
    for prefix, valences, left_out in (
        ("valence", _SIGNS, "positive against negative by summed probabilities, neutral trials left out"),
        ("three_valence", (*_SIGNS, "neutral"), "positive, negative or neutral by summed probabilities"),
    ):
        metrics += _measure_valence(scores, truth, np.asarray(subjects), seed, where, prefix, valences, left_out)
    return metrics


def measure_recalls(
    scores: np.ndarray, emotions: Sequence[str], subjects: Sequence[str], *, seed: int, **where: str
) -> list[Metric]:
    """Return the recall of every emotion that occurs, as metrics ``recall_<emotion>``; see `measure_answers`."""
    truth, predicted = np.array([EMOTIONS.index(emotion) for emotion in emotions]), scores.argmax(axis=1)
    answered = np.bincount(predicted, minlength=_N) / len(truth)
    metrics = []
    for label in np.unique(truth).tolist():
        mine = np.flatnonzero(truth == label)
        owners = [subjects[i] for i in mine.tolist()]
        value, interval = bootstrap_mean((predicted[mine] == label).astype(float), owners, seed)
        metrics.append(
            Metric(
                name=f"recall_{EMOTIONS[label]}",
                value=value,
                n=len(mine),
                unit="trials",
                interval=interval,
                chance=float(answered[label]),
                method="share of this emotion's trials that are so answered; chance: share of all trials that are",
                **where,
            )
        )
    return metrics


def _measure_valence(
    scores: np.ndarray,
    truth: np.ndarray,
    subjects: np.ndarray,
    seed: int,
    where: dict[str, str],
    prefix: str,
    valences: tuple[str, ...],
    how: str,
) -> list[Metric]:
    of_label = np.array([VALENCE[emotion] for emotion in EMOTIONS])
    kept = np.isin(of_label[truth], valences)
    if not kept.any():
        return []
    sums = np.stack([scores[:, of_label == valence].sum(axis=1) for valence in valences], axis=1)
    intended = np.array([valences.index(v) if v in valences else -1 for v in of_label])[truth]
    # Equal sums are answered with the first, which is negative.
    counts = count_confusion(intended[kept], sums.argmax(axis=1)[kept], subjects[kept].tolist(), len(valences))
    metrics = [_make_metric(name, counts, seed, where) for name in _VALENCE_MEASURES]
    return [m.model_copy(update={"name": f"{prefix}_{m.name}", "method": f"{how}; {m.method}"}) for m in metrics]


def _make_metric(name: str, counts: np.ndarray, seed: int, where: dict[str, str]) -> Metric:
    measure, total = MEASURES[name], counts.sum(axis=0)
    uniform, largest = 1 / len(total), total.sum(axis=1).max() / total.sum()
    return Metric(
        name=name,
        value=float(measure(total)),
        n=int(total.sum()),
        unit="trials",
        interval=bootstrap_interval(counts, measure, seed),
        chance=guess(total, name),
        method=(
            f"one answer per trial, {len(counts)} subjects; 95 % bootstrap over subjects, {N_BOOTSTRAPS} draws; "
            f"chance: labels named at random as often as they occur; all equally often: {uniform:.3f}, "
            f"always the most common: {largest:.3f}"
        ),
        **where,
    )


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, with 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(above), dtype=float), where=np.asarray(below) != 0)
