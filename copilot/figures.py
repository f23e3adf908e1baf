"""Charts of a record as bytes; see `dataset_builder.figures` for their style."""

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dataset_builder.figures import FAINT, INK, STYLE, to_svg
from dataset_builder.types import EMOTIONS, VALENCE

#: Colour of each valence: vermilion, grey, blue (after Okabe and Ito 2008, darkened for contrast on white).
VALENCE_COLOURS: dict[str, str] = {"negative": "#b8480b", "neutral": "#5f6368", "positive": "#0b63a5"}


def plot_scores(scores: Mapping[str, float], chance: float) -> bytes:
    """Draw the nine scores as bars in three groups of valence, with the line of guessing.

    Parameters
    ----------
    scores : mapping of str to float
        Probability per emotion of `EMOTIONS`.
    chance : float
        Probability that guessing gives to each label.

    Returns
    -------
    bytes
        SVG; the highest bar is filled, the others are pale, and every bar carries its number.
    """
    best = max(scores, key=scores.__getitem__)
    lanes = _lane_positions()
    with rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.2))
        axes = figure.add_axes((0.3, 0.13, 0.665, 0.79))
        for emotion, lane in lanes.items():
            colour = VALENCE_COLOURS[VALENCE[emotion]]
            top = emotion == best
            axes.barh(lane, scores[emotion], height=0.72, color=colour, alpha=1.0 if top else 0.45, linewidth=0)
            weight = "bold" if top else "normal"
            axes.text(
                scores[emotion] + 0.004,
                lane,
                f"{scores[emotion]:.0%}",
                va="center",
                fontweight=weight,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
            axes.text(
                -0.012, lane, emotion, transform=axes.get_yaxis_transform(), ha="right", va="center", fontweight=weight
            )
        _name_valences(axes, lanes)
        axes.axvline(chance, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
        axes.text(
            chance,
            1.015,
            f"guessing {chance:.0%}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=8,
            color=FAINT,
        )
        axes.set(xlim=(0, max(0.3, min(1.0, scores[best] * 1.2))), ylim=(max(lanes.values()) + 0.6, -0.6), yticks=[])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("mean probability over all windows", fontsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        return to_svg(figure)


def plot_windows(window_scores: np.ndarray, window_s: float) -> bytes:
    """Draw the scores of every window as a strip of shades, a dot on each window's best label.

    Parameters
    ----------
    window_scores : ndarray of shape (n_windows, 9)
        Probabilities in the order of `EMOTIONS`.
    window_s : float
        Length of a window in seconds.

    Returns
    -------
    bytes
        SVG.
    """
    n_windows = len(window_scores)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 2.9))
        axes = figure.add_axes((0.115, 0.165, 0.8, 0.81))
        top = max(0.3, float(window_scores.max()))
        image = axes.pcolormesh(
            np.arange(n_windows + 1) + 0.5,
            np.arange(10) - 0.5,
            window_scores.T,
            cmap="cividis",
            vmin=0,
            vmax=top,
            edgecolors="white",
            linewidth=0.6 if n_windows <= 60 else 0,
        )
        best = window_scores.argmax(axis=1)
        size = float(np.clip(500 / n_windows, 3, 26))
        axes.scatter(np.arange(1, n_windows + 1), best, s=size, c="white", edgecolors=INK, linewidths=0.7, zorder=3)
        axes.set(ylim=(8.5, -0.5), yticks=range(9), yticklabels=list(EMOTIONS))
        axes.tick_params(length=0)
        axes.locator_params(axis="x", integer=True, nbins=min(n_windows, 14))
        axes.set_xlabel(f"window of {window_s:g} s", fontsize=8)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, cax=figure.add_axes((0.928, 0.165, 0.014, 0.81)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        bar.ax.tick_params(labelsize=8, length=2)
        bar.outline.set_visible(False)  # type: ignore[operator]
        return to_svg(figure)


def _lane_positions() -> dict[str, float]:
    """Return the vertical place of each emotion, with a gap between valences."""
    order = list(dict.fromkeys(VALENCE.values()))
    return {emotion: index + 0.45 * order.index(VALENCE[emotion]) for index, emotion in enumerate(EMOTIONS)}


def _name_valences(axes: Axes, lanes: Mapping[str, float]) -> None:
    for valence, colour in VALENCE_COLOURS.items():
        group = [lane for emotion, lane in lanes.items() if VALENCE[emotion] == valence]
        axes.plot(
            [-0.245, -0.245],
            [min(group) - 0.36, max(group) + 0.36],
            transform=axes.get_yaxis_transform(),
            color=colour,
            linewidth=2.5,
            clip_on=False,
            solid_capstyle="butt",
        )
        axes.text(
            -0.262,
            sum(group) / len(group),
            valence,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=8,
            color=colour,
        )
