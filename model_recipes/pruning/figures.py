"""Pictures of a pruning: language against size, parameters by part, influence of layers, loss of a recovery."""

from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dataset_builder.figures import FAINT, INK, STYLE, to_png

#: Stage -> colour and mark of its points.
_LOOKS = {
    "base": ("#1f5a8a", "o"),
    "prune": ("#b3541e", "v"),
    "recover": ("#00735c", "^"),
    "pseudo-quantise": ("#7a3e8e", "s"),
}
_OTHER = ("#51606f", "D")

#: Part of a model -> colour, in the order of the bars.
_PARTS = {"embedding": "#1f5a8a", "attention": "#b3541e", "ffn": "#00735c", "norms": "#7a3e8e"}

#: Room of a name beside its point, pixels: names closer than the width are put a line apart.
_NAME_WIDTH, _LINE = 160, 16


@dataclass(frozen=True)
class Point:
    """One model in the plane of size and language.

    Parameters
    ----------
    name, stage : str
    parameters : int
    perplexity : float
    interval : (float, float) or None
    parent : int or None
        Place in the list of points of what it was made from.
    """

    name: str
    stage: str
    parameters: int
    perplexity: float
    interval: tuple[float, float] | None
    parent: int | None


def plot_language(points: list[Point], title: str) -> bytes:
    """Return perplexity against parameters as PNG, an arrow from each model to what was made of it."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 4.4), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for point in points:
            at = (point.parameters / 1e6, point.perplexity)
            if point.parent is not None:
                start = (points[point.parent].parameters / 1e6, points[point.parent].perplexity)
                arrow = {"arrowstyle": "->", "color": FAINT, "linewidth": 1, "shrinkA": 6, "shrinkB": 6}
                axes.annotate("", at, start, arrowprops=arrow)
            colour, mark = _LOOKS.get(point.stage, _OTHER)
            low, high = point.interval or (point.perplexity, point.perplexity)
            spread = [[point.perplexity - low], [high - point.perplexity]]
            axes.errorbar(*at, yerr=spread, color=colour, marker=mark, capsize=3, linewidth=1, markersize=7)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.18, y=0.12)
        axes.set_xlim(left=0)
        axes.set(xlabel="parameters (millions)", ylabel="perplexity", title=title)
        _write_names(axes, points)
        axes.spines[["top", "right"]].set_visible(False)
        return to_png(figure)


def _write_names(axes: Axes, points: list[Point]) -> None:
    """Write each point's name to its right, names of neighbours one above the other."""
    axes.figure.canvas.draw()  # places are only known once limits and margins are
    places = axes.transData.transform([(point.parameters / 1e6, point.perplexity) for point in points])
    taken: list[tuple[float, float]] = []
    for i in sorted(range(len(points)), key=lambda i: places[i][1]):
        x, y = places[i]
        near = [other for at, other in taken if abs(at - x) < _NAME_WIDTH]
        y_text = max([y, *(other + _LINE for other in near)])
        taken.append((x, y_text))
        offset = (9, (y_text - y) * 72 / axes.figure.dpi - 3)
        at = (points[i].parameters / 1e6, points[i].perplexity)
        axes.annotate(points[i].name, at, xytext=offset, textcoords="offset points", color=INK, fontsize=8)


def plot_parts(names: list[str], parts: list[dict[str, int]]) -> bytes:
    """Return the parameters of each model by part as stacked bars, PNG."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.9 + 0.42 * len(names)), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        rows, left = range(len(names)), [0.0] * len(names)
        for part, colour in _PARTS.items():
            widths = [found.get(part, 0) / 1e6 for found in parts]
            axes.barh(rows, widths, left=left, color=colour, height=0.6, label=part)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_yticks(rows, names)
        axes.invert_yaxis()
        axes.set(xlabel="parameters (millions)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, fontsize=8, ncols=4, loc="outside upper center")
        return to_png(figure)


def plot_influence(influence: list[float], kept: list[int], title: str) -> bytes:
    """Return how much each layer turns the residual stream as bars, PNG; hatched layers were dropped."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 2.6), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for label, colour, hatch, chosen in (("kept", "#1f5a8a", "", True), ("dropped", "#e3c9b8", "////", False)):
            layers = [i for i in range(len(influence)) if (i in kept) is chosen]
            heights = [influence[i] for i in layers]
            axes.bar(
                layers, heights, color=colour, hatch=hatch, edgecolor="white" if chosen else "#b3541e", label=label
            )
        axes.set_yscale("log")
        axes.set(xlabel="layer", ylabel="1 - cosine(input, output)", title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        return to_png(figure)


def plot_losses(curves: dict[str, list[list[float]]]) -> bytes:
    """Return loss against step of each recovery as PNG.

    Parameters
    ----------
    curves : dict of str to list of [step, mean loss since the point before]
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 2.8), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        styles = ("-", "--", ":", "-.")
        colours = [colour for colour, _ in (*_LOOKS.values(), _OTHER)][::-1]
        for i, (name, curve) in enumerate(curves.items()):
            steps, losses = zip(*curve, strict=True)
            style = styles[i // len(colours) % len(styles)]
            axes.plot(steps, losses, color=colours[i % len(colours)], linestyle=style, linewidth=1.4, label=name)
        axes.set(xlabel="step", ylabel="loss (nats per token)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        return to_png(figure)
