"""The demo's report: one page and one terminal table from the same manifests, nothing measured here."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from dataset_builder.manifest import Artifact, Manifest, Metric

UNSEEN_SUBJECTS = "unseen subjects"
UNSEEN_CLIPS = "unseen subjects and clips"


@dataclass(frozen=True)
class Step:
    """One finished stage of a run.

    Parameters
    ----------
    title : str
        What a reader calls it.
    folder : Path
        Where its files lie.
    manifest : Manifest
    """

    title: str
    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class TableRow:
    """One line of the table, as text; ``"-"`` where a stage has no such number."""

    stage: str
    parameters: str
    size: str
    time: str
    perplexity: str
    seen: str
    unseen: str
    folder: str


HEADINGS = TableRow(
    "stage",
    "parameters",
    "size",
    "time",
    "perplexity",
    f"accuracy, {UNSEEN_SUBJECTS}",
    f"accuracy, {UNSEEN_CLIPS}",
    "folder",
)


def make_table(steps: list[Step], root: Path) -> list[TableRow]:
    """Return one row per stage with its model's accuracy, one per GGUF file, then the probes and chance."""
    evaluation = next((step.manifest for step in steps if step.manifest.stage == "evaluate"), None)
    rows = []
    for step in steps:
        rows.append(_stage_row(step, root, evaluation))
        files = step.manifest.list_outputs(".gguf")
        rows += [_file_row(item, step, root, evaluation) for item in files]
    if evaluation is not None:
        others = [reader for reader in _readers(evaluation) if not reader.startswith("language model")]
        rows += [TableRow(reader, "-", "-", "-", "-", *_accuracies(evaluation, reader), "-") for reader in others]
        rows.append(_chance_row(evaluation))
    return rows


def format_table(rows: list[TableRow]) -> str:
    """Return the table for a terminal."""
    cells = [list(vars(row).values()) for row in (HEADINGS, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def render_report(steps: list[Step], root: Path) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    steps : list of Step
        In the order of the work.
    root : Path
        The demo folder; folders are shown and linked relative to it.
    """
    environment = Environment(loader=PackageLoader("copilot"), undefined=StrictUndefined, autoescape=True)
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html.jinja").render(
        steps=steps,
        rows=[vars(row) for row in make_table(steps, root)],
        headings=vars(HEADINGS),
        synthetic=any(step.manifest.synthetic for step in steps),
        figures=[figure for figure in _figures(steps) if figure],
        confusions=[
            (path.stem, path.read_bytes()) for step in steps for path in sorted(step.folder.glob("confusion*.png"))
        ],
        pages=[
            (step.title, path.relative_to(root).as_posix())
            for step in steps
            for path in sorted(step.folder.glob("*.html"))
        ],
        hardware=steps[-1].manifest.hardware,
        packages=steps[-1].manifest.packages,
        relative=lambda path: path.relative_to(root).as_posix(),
    )


def _stage_row(step: Step, root: Path, evaluation: Manifest | None) -> TableRow:
    manifest = step.manifest
    parameters = manifest.facts.get("model", {}).get("parameters") or manifest.facts.get("trainable_parameters")
    perplexity = manifest.metric("perplexity", reader="language model")
    seen, unseen = _accuracies(evaluation, f"language model ({step.folder.name})")
    return TableRow(
        stage=step.title,
        parameters=_format_parameters(parameters),
        size=_format_bytes(sum(item.bytes for item in manifest.outputs)),
        time=f"{manifest.seconds:.0f} s",
        perplexity=_format_perplexity(perplexity),
        seen=seen,
        unseen=unseen,
        folder=step.folder.relative_to(root).as_posix(),
    )


def _file_row(item: Artifact, step: Step, root: Path, evaluation: Manifest | None) -> TableRow:
    path = step.folder / item.name
    file_type = path.stem.rpartition("-")[2]
    seen, unseen = _accuracies(evaluation, f"language model {file_type}")
    return TableRow(
        stage=f"  {file_type}",
        parameters=_format_parameters(step.manifest.facts.get("parameters")),
        size=_format_bytes(item.bytes),
        time="-",
        perplexity=_format_perplexity(step.manifest.metric("perplexity", reader=f"GGUF {file_type}")),
        seen=seen,
        unseen=unseen,
        folder=path.relative_to(root).as_posix(),
    )


def _accuracies(evaluation: Manifest | None, reader: str) -> tuple[str, str]:
    """Return accuracy on seen and on unseen clips as text."""
    if evaluation is None:
        return "-", "-"
    seen, unseen = (evaluation.metric("accuracy", reader=reader, protocol=p) for p in (UNSEEN_SUBJECTS, UNSEEN_CLIPS))
    return _format_metric(seen), _format_metric(unseen)


def _chance_row(manifest: Manifest) -> TableRow:
    metrics = [manifest.metric("accuracy", protocol=protocol) for protocol in (UNSEEN_SUBJECTS, UNSEEN_CLIPS)]
    seen, unseen = (f"{m.chance:.3f}" if m and m.chance is not None else "-" for m in metrics)
    return TableRow("chance", "-", "-", "-", "-", seen, unseen, "-")


def _readers(manifest: Manifest) -> list[str]:
    return list(
        dict.fromkeys(m.reader for m in manifest.metrics if m.name == "accuracy" and m.protocol == UNSEEN_SUBJECTS)
    )


def _format_metric(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    interval = f" [{metric.interval[0]:.3f}, {metric.interval[1]:.3f}]" if metric.interval else ""
    return f"{metric.value:.3f}{interval} n={metric.n}"


def _format_parameters(count: int | None) -> str:
    return f"{count / 1e6:.2f} M" if count else "-"


def _format_perplexity(metric: Metric | None) -> str:
    return f"{metric.value:.1f}" if metric else "-"


def _format_bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"


def _figures(steps: list[Step]) -> list[tuple[str, str, bytes] | None]:
    return [_plot_accuracy(steps), _plot_perplexity(steps), _plot_losses(steps)]


def _plot_accuracy(steps: list[Step]) -> tuple[str, str, bytes] | None:
    metrics = [m for step in steps for m in step.manifest.metrics if m.name == "accuracy" and m.interval]
    readers = list(dict.fromkeys(m.reader for m in metrics))
    if not readers:
        return None
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(readers)), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, protocol in zip(axes, (UNSEEN_SUBJECTS, UNSEEN_CLIPS), strict=True):
        for row, reader in enumerate(readers):
            found = [m for m in metrics if m.reader == reader and m.protocol == protocol]
            for m in found:
                low, high = m.interval or [m.value, m.value]
                ax.errorbar(m.value, row, xerr=[[m.value - low], [high - m.value]], fmt="o", color="#1f5a8a", capsize=3)
                ax.axvline(m.chance, color="#b3541e", linestyle="--", linewidth=1)
        ax.set(
            title=protocol, xlabel="accuracy, 9 classes, 95 % interval", yticks=range(len(readers)), yticklabels=readers
        )
        ax.set_ylim(len(readers) - 0.5, -0.5)
        ax.spines[["top", "right"]].set_visible(False)
    return "Label accuracy", "Dashed: chance. Intervals: bootstrap over subjects.", _to_png(figure)


def _plot_perplexity(steps: list[Step]) -> tuple[str, str, bytes] | None:
    metrics = [
        (step.title, metric) for step in steps for metric in step.manifest.metrics if metric.name == "perplexity"
    ]
    found = [(metric.reader if metric.reader.startswith("GGUF") else title, metric) for title, metric in metrics]
    if not found:
        return None
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    ax = figure.subplots()
    values = [metric.value for _, metric in found]
    ax.bar([title for title, _ in found], values, color="#1f5a8a", width=0.5)
    for index, value in enumerate(values):
        ax.text(index, value, f"{value:.1f}", ha="center", va="bottom")
    ax.set(ylabel="perplexity")
    ax.margins(y=0.2)
    ax.spines[["top", "right"]].set_visible(False)
    return "Language kept", f"Perplexity on held-out text ({found[0][1].split}); lower is better.", _to_png(figure)


def _plot_losses(steps: list[Step]) -> tuple[str, str, bytes] | None:
    curves = [(step.title, step.manifest.facts["loss"]) for step in steps if step.manifest.facts.get("loss")]
    if not curves:
        return None
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    for ax, (title, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        ax.plot([step for step, _ in points], [loss for _, loss in points], color="#1f5a8a")
        ax.set(title=title, xlabel="step", ylabel="training loss")
        ax.spines[["top", "right"]].set_visible(False)
    return "Training", "Loss per optimiser step, each stage on its own loss.", _to_png(figure)


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
