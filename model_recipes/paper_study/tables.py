"""Metrics as cells of the paper's tables, and when one may be called above another."""

from dataset_builder.manifest import Manifest, Metric
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.trials import UNSEEN_CLIPS, UNSEEN_SUBJECTS

#: What is told of every reader, and how to read it.
READER_HEADINGS = [
    f"accuracy, {UNSEEN_SUBJECTS}",
    f"accuracy, {UNSEEN_CLIPS}",
    f"F1, {UNSEEN_SUBJECTS}",
    f"three valences, {UNSEEN_SUBJECTS}",
]
READER_NOTE = (
    f"{len(EMOTIONS)} emotions, 95 % intervals by bootstrap over people; three valences: balanced accuracy. "
    "Unseen clips: held out of training as well."
)


def describe_reader(evaluation: Manifest | None, name: str) -> list[str]:
    """Return one cell for each of `READER_HEADINGS`."""
    wanted = [("accuracy", UNSEEN_SUBJECTS), ("accuracy", UNSEEN_CLIPS), ("macro_f1", UNSEEN_SUBJECTS)]
    wanted.append(("three_valence_balanced_accuracy", UNSEEN_SUBJECTS))
    return [show_metric(read_metric(evaluation, metric, name, protocol)) for metric, protocol in wanted]


def read_metric(evaluation: Manifest | None, metric: str, name: str, protocol: str = UNSEEN_SUBJECTS) -> Metric | None:
    """Return a metric of a reader; models in an evaluation of several are called by their folders."""
    if evaluation is None:
        return None
    names = (name, f"language model ({name})", "language model")
    found = (evaluation.metric(metric, protocol=protocol, reader=reader) for reader in names)
    return next((one for one in found if one is not None), None)


def compare_metrics(wanted: Metric | None, other: Metric | None) -> str:
    """Tell whether `wanted` is above `other`, as the paper has it; overlapping intervals tell nothing."""
    if wanted is None or other is None or wanted.interval is None or other.interval is None:
        return "not measured"
    if wanted.interval[0] > other.interval[1]:
        return "agrees"
    return "contradicts" if wanted.interval[1] < other.interval[0] else "cannot be told"


def show_metric(metric: Metric | None) -> str:
    """Return a value with its interval; ``-`` where there is none."""
    if metric is None:
        return "-"
    digits = 3 if abs(metric.value) < 10 else 1
    interval = [f"{bound:.{digits}f}" for bound in metric.interval or []]
    return f"{metric.value:.{digits}f}" + (f" [{', '.join(interval)}]" if interval else "")


def show_chance(metric: Metric | None) -> str:
    """Return what guessing reaches; ``-`` where that is not known."""
    return "-" if metric is None or metric.chance is None else f"{metric.chance:.3f}"
