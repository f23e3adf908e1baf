"""The evaluation as one page: every number with its interval, both protocols side by side, the verdict in words."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from dataset_builder.manifest import Metric, write_text
from dataset_builder.stage import Stage
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.figures import plot_recalls

REPORT_FILE = "report.html"

#: Name of a metric -> what a column is called, in the order of the tables.
LABEL_COLUMNS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "Cohen's kappa",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "valence_accuracy": "positive or negative",
    "three_valence_accuracy": "three valences",
}
TRUST_COLUMNS = {
    "calibration_error": "calibration error",
    "calibration_error_adaptive": "the same, bins of equal counts",
    "calibration_error_expected": "were all exact",
    "conformal_coverage": "sets that hold the truth (nominal 0.9)",
    "conformal_set_size": "labels in a set",
    "abstaining_answered": "answered when it may abstain",
    "abstaining_accuracy": "accuracy of what it answers",
    "promised_coverage": "sets with thresholds from training people (nominal 0.9)",
    "promised_set_size": "labels in such a set",
    "promised_answered": "answered by such a rule (nominal 0.8)",
    "promised_accuracy": "accuracy of that",
}
TEXT_COLUMNS = {
    "text_valid": "of the right form",
    "text_accuracy": "right label",
    "text_agreement": "label of highest likelihood",
    "text_resolved": "suggestions in the library, fitting",
}


def write_report(stage: Stage) -> None:
    """Write ``report.html`` into an open stage whose metrics and facts are complete."""
    write_text(stage.folder / REPORT_FILE, render_evaluation(stage))


def render_evaluation(stage: Stage) -> str:
    """Return a self-contained HTML page of an open stage's metrics, verdicts and pictures."""
    loaders = ChoiceLoader([PackageLoader("model_recipes"), PackageLoader("dataset_builder")])
    environment = Environment(loader=loaders, undefined=StrictUndefined, autoescape=True)
    verdicts = stage.facts.get("verdicts", [])
    own = [m for m in stage.metrics if m.reader in list_readers(stage.metrics)]
    return environment.get_template("evaluation.html.jinja").render(
        facts=stage.facts,
        notes=stage.notes,
        dropped=stage.dropped,
        synthetic=tell_synthetic(stage.synthetic, stage.facts),
        verdicts=verdicts,
        protocols=list_protocols(own),
        tables=[
            (title, caption, columns, rows)
            for title, caption, columns in _TABLES
            if (rows := make_rows_of(own, columns))
        ],
        clip_accuracy=[m for m in own if m.name == "clip_accuracy"],
        figures=[*_plot_recalls(own, mark_synthetic(stage)), *_read_figures(stage.folder)],
        format=format_metric,
    )


def tell_synthetic(synthetic: bool, facts: dict[str, Any]) -> str:
    """Return what was made up: the people who were read, or only what was learned from; else nothing."""
    if not synthetic:
        return ""
    made_up_people = facts.get("made_up_people", True)
    return "synthetic data" if made_up_people else "trained on synthetic data, tested on recorded people"


def mark_synthetic(stage: Stage) -> str:
    """Return what follows the title of a picture."""
    told = tell_synthetic(stage.synthetic, stage.facts)
    return f" ({told})" if told else ""


def list_readers(metrics: list[Metric]) -> list[str]:
    """Return everybody with an accuracy, controls aside, in the order in which they were measured."""
    return list(dict.fromkeys(m.reader for m in metrics if m.name == "accuracy"))


def list_protocols(metrics: list[Metric]) -> list[str]:
    """Return the protocols of some metrics, in order."""
    return list(dict.fromkeys(m.protocol for m in metrics))


def make_rows_of(metrics: list[Metric], columns: dict[str, str]) -> list[tuple[str, str, list[Metric | None]]]:
    """Return (reader, protocol, one metric per column) for everybody who has any of the columns."""
    found = {(m.reader, m.protocol, m.name): m for m in metrics}
    rows = []
    for reader in list_readers(metrics):
        for protocol in list_protocols(metrics):
            cells = [found.get((reader, protocol, name)) for name in columns]
            if any(cells):
                rows.append((reader, protocol, cells))
    return rows


def format_metric(metric: Metric | None) -> str:
    """Return a value with its interval; a dash where there is none."""
    if metric is None:
        return "–"
    span = f" [{metric.interval[0]:.3f}, {metric.interval[1]:.3f}]" if metric.interval else ""
    return f"{metric.value:.3f}{span}"


def format_table(metrics: list[Metric]) -> list[str]:
    """Return lines for a terminal: accuracy, balanced accuracy and chance of everybody, protocols side by side."""
    readers, protocols = list_readers(metrics), list_protocols([m for m in metrics if m.name == "accuracy"])
    found = {(m.reader, m.protocol, m.name): m for m in metrics}
    width = max((len(reader) for reader in readers), default=0)
    lines = []
    for protocol in protocols:
        measured = next(m for m in metrics if m.protocol == protocol and m.name == "accuracy")
        lines.append(f"{protocol}: {measured.n} trials, accuracy by chance {measured.chance:.3f}")
        for reader in readers:
            pair = [found.get((reader, protocol, name)) for name in ("accuracy", "balanced_accuracy")]
            if any(pair):
                lines.append(f"  {reader:<{width}}  {format_metric(pair[0]):<22}  balanced {format_metric(pair[1])}")
    return lines


_TABLES = (
    (
        "Labels",
        "One answer per trial, by likelihood over the nine label strings. 95 % intervals by bootstrap over subjects.",
        LABEL_COLUMNS,
    ),
    (
        "Trust",
        "A calibration error of 0 means that answers given with a probability of 0.7 are right in 70 of 100 trials. "
        "Thresholds are set on one half of the people and measured on the other.",
        TRUST_COLUMNS,
    ),
    ("Free answers", "What the model writes when nothing holds it to a form.", TEXT_COLUMNS),
)


def _plot_recalls(metrics: list[Metric], mark: str) -> list[tuple[str, str]]:
    """Return recall by emotion of every reader that has it, as data URIs."""
    figures = []
    for reader in list_readers(metrics):
        mine = [m for m in metrics if m.reader == reader and m.name.startswith("recall_")]
        recalls: dict[str, dict[str, tuple[float, float, float]]] = {}
        for m in mine:
            low, high = m.interval or (m.value, m.value)
            recalls.setdefault(m.protocol, {})[m.name.removeprefix("recall_")] = (m.value, low, high)
        if recalls:
            ordered = {name: {e: found[e] for e in EMOTIONS if e in found} for name, found in recalls.items()}
            figures.append((f"recall {reader}", _to_uri(plot_recalls(ordered, f"{reader}: recall{mark}"))))
    return figures


def _read_figures(folder: Path) -> list[tuple[str, str]]:
    paths = [*sorted(folder.glob("trust-*.png")), *sorted(folder.glob("confusion-*.png"))]
    return [(path.stem.replace("-", " "), _to_uri(path.read_bytes())) for path in paths]


def _to_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
