"""The picture that answers what a card is asked first: how often it is right, beside chance, probes and controls."""

from collections.abc import Iterator

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cards.chain import Chain
from cards.claims import MEASURE
from cards.pictures import CONTROLS, OTHERS, OWN, Picture, mark_title, name_picture
from dataset_builder.figures import FAINT, INK, STYLE, to_png
from dataset_builder.manifest import Metric


def draw_accuracy(chain: Chain) -> Picture | None:
    """Draw balanced accuracy by protocol with intervals, beside chance, probes and controls."""
    chosen = chain.choose_reader([m.reader for _, m in chain.metrics() if m.name == MEASURE])
    rows = list(_list_readings(chain, chosen))
    protocols = list(dict.fromkeys(metric.protocol for _, metric, _ in rows))
    if not chosen or not protocols:
        return None
    with rc_context(STYLE):
        lines = max(sum(metric.protocol == protocol for _, metric, _ in rows) for protocol in protocols)
        figure = Figure(figsize=(8.4, 0.9 + 0.26 * lines), dpi=110, layout="constrained")
        for axes, protocol in zip(figure.subplots(1, len(protocols), squeeze=False)[0], protocols, strict=True):
            _draw_readings(axes, [row for row in rows if row[1].protocol == protocol], protocol)
        figure.suptitle(mark_title(chain, "Balanced accuracy with 95 % intervals; dashed: chance"), fontsize=9)
        data = to_png(figure)
    alt = f"Balanced accuracy of {chosen}, of probes and of controls under {len(protocols)} protocols, beside chance"
    return Picture(name_picture("accuracy"), alt, data)


def _list_readings(chain: Chain, chosen: str) -> Iterator[tuple[str, Metric, str]]:
    """Yield (label, metric, colour): the model, then probes, then its controls."""
    found = [metric for m in (*chain.evaluations, chain.manifest) for metric in m.metrics]
    yield from ((chosen, m, OWN) for m in found if m.name == MEASURE and m.reader == chosen)
    others = [m for m in found if m.name == MEASURE and not m.reader.startswith("language model")]
    yield from ((m.reader, m, OTHERS) for m in others)
    begins = f"{chosen}, "
    for metric in found:
        if metric.name == f"control_{MEASURE}" and metric.reader.startswith(begins):
            yield f"control: {metric.reader.removeprefix(begins)}", metric, CONTROLS


def _draw_readings(axes: Axes, rows: list[tuple[str, Metric, str]], protocol: str) -> None:
    for place, (_, metric, colour) in enumerate(rows):
        low, high = metric.interval or (metric.value, metric.value)
        spread = [[max(metric.value - low, 0)], [max(high - metric.value, 0)]]
        mark = {OWN: "o", OTHERS: "s", CONTROLS: "D"}[colour]
        axes.errorbar(metric.value, place, xerr=spread, color=colour, marker=mark, capsize=2, markersize=4)
    chances = [metric.chance for _, metric, _ in rows if metric.chance is not None]
    if chances:
        axes.axvline(chances[0], color=FAINT, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_title(f"{protocol}, n = {rows[0][1].n:,}", fontsize=8, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
