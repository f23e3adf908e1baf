"""The export as one page: how large each file is, how far it is from the original, and which tensors did not fit."""

import base64
from collections import Counter
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from dataset_builder.figures import STYLE, to_png
from dataset_builder.manifest import Metric, write_text
from dataset_builder.stage import Stage

REPORT_FILE = "report.html"

#: Name of a metric -> heading and format, in the order of the table.
COLUMNS = {
    "weight_error": ("largest error of a tensor's weights", "{:.2%}"),
    "logit_difference": ("largest log-probability difference", "{:.2g}"),
    "kl_divergence": ("KL divergence, nats", "{:.2g}"),
    "top1_agreement": ("same next token", "{:.1%}"),
    "perplexity": ("perplexity", "{:.3f}"),
    "perplexity_change": ("change of perplexity", "{:+.2%}"),
    "label_score_difference": ("largest label probability difference", "{:.2g}"),
    "label_agreement": ("same label", "{:.1%}"),
    "label_agreement_f16": ("same label as F16", "{:.1%}"),
    "greedy_agreement": ("same greedy text", "{:.0%}"),
}

#: Smallest divergence that the picture tells apart; exact files lie on this line.
_FLOOR = 1e-8


def write_report(stage: Stage) -> None:
    """Write ``report.html`` into an open stage whose files are described and measured."""
    write_text(stage.folder / REPORT_FILE, render_export(stage))


def render_export(stage: Stage) -> str:
    """Return a self-contained HTML page of the files of an open stage."""
    loaders = ChoiceLoader([PackageLoader("model_recipes"), PackageLoader("dataset_builder")])
    environment = Environment(loader=loaders, undefined=StrictUndefined, autoescape=True)
    files = stage.facts["files"]
    found = {(metric.reader, metric.name): metric for metric in stage.metrics}
    columns = {name: COLUMNS[name] for name in COLUMNS if any(key == name for _, key in found)}
    picture = base64.b64encode(plot_files(files, found, stage.synthetic)).decode()
    return environment.get_template("export.html.jinja").render(
        files=files,
        facts=stage.facts,
        notes=stage.notes,
        synthetic=stage.synthetic,
        reference=found.get(("Transformers fp32", "perplexity")),
        columns=columns,
        cell=lambda file, name: found.get((f"GGUF {file['type']}", name)),
        format=lambda metric, name: _format(metric, columns[name][1]),
        span=lambda metric, name: _format_span(metric, columns[name][1]),
        kinds=list(dict.fromkeys(kind for file in files for kind in file["tensors"])),
        reasons=group_fallbacks,
        picture=f"data:image/png;base64,{picture}",
    )


def group_fallbacks(file: dict[str, Any]) -> list[tuple[str, int, str, str, int, int]]:
    """Return (part, row length, wanted, chosen, block, number of layers) of a file's tensors that did not fit."""
    counts = Counter(
        (fell["tensor"].split(".", 2)[-1] if fell["tensor"].startswith("blk.") else fell["tensor"], fell["columns"])
        + (fell["wanted"], fell["chosen"], fell["block"])
        for fell in file["fallbacks"]
    )
    return [(*key, count) for key, count in counts.items()]


def plot_files(files: list[dict[str, Any]], found: dict[tuple[str, str], Metric], synthetic: bool) -> bytes:
    """Return size against perplexity and against KL divergence as PNG.

    Parameters
    ----------
    files : list of dict
        ``type`` and ``bytes`` each.
    found : dict of (reader, name) to Metric
    synthetic : bool
    """
    panels = (("perplexity", "perplexity"), ("kl_divergence", "KL divergence from fp32, nats"))
    with rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.4), dpi=110, layout="constrained")
        for axes, (name, label) in zip(figure.subplots(1, 2), panels, strict=True):
            for file in files:
                metric = found.get((f"GGUF {file['type']}", name))
                if metric is None:
                    continue
                place = file["bytes"] / 1e6, max(metric.value, _FLOOR)
                axes.plot(*place, marker="o" if not file["fallback_tensors"] else "s", color="#1f5a8a")
                axes.annotate(file["type"], place, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7)
            axes.set(xlabel="file size, MB", ylabel=label)
            axes.margins(0.14)
            axes.spines[["top", "right"]].set_visible(False)
        axes.set_yscale("log")
        title = "Size against what is lost; squares: some rows did not fit the type"
        figure.suptitle(f"{title}{' (synthetic data)' if synthetic else ''}", fontsize=9)
        return to_png(figure)


def _format(metric: Metric | None, pattern: str) -> str:
    """Return a value; a dash where there is none."""
    return "–" if metric is None else pattern.format(metric.value)


def _format_span(metric: Metric, pattern: str) -> str:
    """Return the interval of a metric that has one."""
    return "[{}, {}]".format(*(pattern.format(end) for end in metric.interval or []))
