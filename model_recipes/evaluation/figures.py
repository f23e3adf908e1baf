"""Pictures of an evaluation: confusions, and whether a reader can be trusted when it is sure."""

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dataset_builder.figures import FAINT, STYLE, to_png
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.calibration import bin_trials, calibration_error, trace_abstaining

_COLOURS = ("#1f5a8a", "#b3541e", "#00735c", "#7a3e8e")
_MARKS = ("o", "s", "^", "D")


def plot_confusions(confusions: Mapping[str, np.ndarray], title: str) -> bytes:
    """Return one confusion matrix per protocol as one PNG, rows normalised to the share of each true label.

    Parameters
    ----------
    confusions : mapping of str to ndarray of shape (9, 9)
        Protocol -> counts.
    title : str
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 4.4 * len(confusions), 5.0), dpi=110, layout="constrained")
        panels = figure.subplots(1, len(confusions), squeeze=False, sharey=True)[0]
        for axes, (protocol, confusion) in zip(panels, confusions.items(), strict=True):
            image = _draw_confusion(axes, confusion)
            axes.set_xlabel("answered")
            axes.set_title(f"{protocol}, n = {int(confusion.sum()):,}", fontsize=9)
        panels[0].set_ylabel("intended by the clip")
        figure.colorbar(image, ax=panels, shrink=0.8, label="share of the row")
        figure.suptitle(title, fontsize=10)
        return to_png(figure)


def plot_trust(parts: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> bytes:
    """Return a reliability plot and the course of accuracy when the unsure trials are not answered, as one PNG.

    Parameters
    ----------
    parts : mapping of str to (scores, truth)
        Per protocol the probabilities of shape (n_trials, 9) and the labels' numbers.
    title : str
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.4), dpi=110, layout="constrained")
        reliability, course = figure.subplots(1, 2)
        reliability.plot([0, 1], [0, 1], linestyle="--", color=FAINT, linewidth=1)
        for (name, (scores, truth)), colour, mark in zip(parts.items(), _COLOURS, _MARKS, strict=False):
            _draw_reliability(reliability, scores, truth, {"color": colour, "marker": mark, "label": name})
            course.plot(*trace_abstaining(scores, truth), color=colour, linewidth=1.5, label=name)
        reliability.set(xlabel="probability of the answer", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
        course.set(xlabel="share answered, surest first", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        for axes in (reliability, course):
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(fontsize=7, frameon=False, loc="lower right")
        figure.suptitle(title, fontsize=10)
        return to_png(figure)


def plot_recalls(recalls: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str) -> bytes:
    """Return recall by emotion with intervals as PNG.

    Parameters
    ----------
    recalls : mapping
        Protocol -> emotion -> value, lower and upper end.
    title : str
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 2.8), dpi=110, layout="constrained")
        axes = figure.subplots()
        for offset, ((name, found), colour) in enumerate(zip(recalls.items(), _COLOURS, strict=False)):
            places = [EMOTIONS.index(emotion) + 0.2 * offset - 0.1 for emotion in found]
            values = np.array(list(found.values())).T
            spans = [np.maximum(values[0] - values[1], 0), np.maximum(values[2] - values[0], 0)]
            axes.errorbar(places, values[0], yerr=spans, fmt=_MARKS[offset], color=colour, capsize=2, label=name)
        axes.set_xticks(range(len(EMOTIONS)), EMOTIONS)
        axes.set(ylabel="recall", ylim=(0, 1.02), title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
        return to_png(figure)


def _draw_confusion(axes: Axes, confusion: np.ndarray) -> AxesImage:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    return axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")


def _draw_reliability(axes: Axes, scores: np.ndarray, truth: np.ndarray, look: dict[str, str]) -> None:
    counts = bin_trials(scores, truth, [""] * len(truth)).counts.sum(axis=0)
    filled = counts[counts[:, 0] > 0]
    look = look | {"label": f"{look['label']}: error {float(calibration_error(counts)):.3f}"}
    axes.plot(filled[:, 1] / filled[:, 0], filled[:, 2] / filled[:, 0], linewidth=1, markersize=4, **look)  # type: ignore[arg-type]
