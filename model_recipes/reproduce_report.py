"""The page of a reproduction: numbers of both protocols beside chance, from manifests and predictions."""

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from dataset_builder.figures import FAINT, STYLE, to_png
from dataset_builder.manifest import Manifest, Metric
from model_recipes.evaluation.predictions import compare_leads, count_predictions

#: Both protocols, as evaluation calls them, with what a reader of the page must know.
SEEN, UNSEEN = "unseen subjects", "unseen subjects and clips"

#: The model as Transformers computes it; its controls are called ``language model, no EEG`` and so on.
_MODEL = "language model"

#: Metrics of the table with their headings; one that an evaluation does not give is left out.
_SHOWN = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "valence_accuracy": "positive or negative",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Chapter:
    """One finished stage of a run.

    Parameters
    ----------
    title : str
    folder : Path
    manifest : Manifest
    """

    title: str
    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Line:
    """One reader under one protocol, as text; empty where a number is not there."""

    protocol: str
    reader: str
    values: dict[str, str]
    n: str


def list_lines(chapters: list[Chapter]) -> list[Line]:
    """Return what each reader reached under each protocol, the controls of the first model, and chance."""
    return [line for protocol in (SEEN, UNSEEN) for line in _list_protocol(protocol, chapters)]


def tell_recognition(chapters: list[Chapter]) -> str:
    """Say how far the scores on known and on new clips are apart; empty unless both protocols were measured.

    The difference is of what is above chance, with an interval over the people who stand in both. It is no share of
    film recognition: the two readers were trained on different clips, and asked about different trials.
    """
    seen, unseen = (_find(chapters, "balanced_accuracy", protocol) for protocol in (SEEN, UNSEEN))
    if seen is None or unseen is None or unseen[1].chance is None:
        return ""
    (_, one), (_, other) = seen, unseen
    sure = other.interval is not None and other.interval[0] > unseen[1].chance
    told = (
        f"On clips that the training people had watched, balanced accuracy for new people is {_format(one)}; on clips "
        f"that are new as well it is {_format(other)}, {'above' if sure else 'not surely above'} chance "
        f"({other.chance:.3f})."
    )
    first, second = (count_predictions(c.folder, _MODEL, m.protocol) for c, m in (seen, unseen))
    if lead := compare_leads(first, second, seen[0].manifest.seed or 0):
        told += (
            f" Above chance, the first is higher by {lead[0]:+.3f} [{lead[1][0]:+.3f}, {lead[1][1]:+.3f}], 95 % paired "
            f"over the {lead[2]} people in both."
        )
    return (
        f"{told} They are of two readers, each with its own code and trained on different clips, the second on fewer: "
        "knowing the film is one reason for the difference, and no share of it is measured."
    )


def format_summary(chapters: list[Chapter]) -> str:
    """Return the table for a terminal, without controls, and the sentence on recognition."""
    lines = [line for line in list_lines(chapters) if not _is_control(line.reader)]
    rows = [["protocol", "reader", *_headings(lines), "n"]]
    rows += [[line.protocol, line.reader, *(line.values[key] for key in _keys(lines)), line.n] for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:], "", tell_recognition(chapters)]).rstrip()


def render_reproduction(experiment: str, normalization: str, chapters: list[Chapter], root: Path) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    experiment, normalization : str
        What was reproduced.
    chapters : list of Chapter
        In the order of the work.
    root : Path
        Folder of the run; other folders are linked relative to it.
    """
    loader = ChoiceLoader([PackageLoader("model_recipes"), PackageLoader("dataset_builder")])
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=True)
    environment.filters["data_uri"] = _to_uri
    lines = list_lines(chapters)
    return environment.get_template("reproduction.html.jinja").render(
        experiment=experiment,
        normalization=normalization,
        chapters=chapters,
        lines=lines,
        keys=_keys(lines),
        headings=_headings(lines),
        recognition=tell_recognition(chapters),
        synthetic=any(chapter.manifest.synthetic for chapter in chapters),
        seconds=sum(chapter.manifest.seconds for chapter in chapters),
        curves=_plot_losses(chapters),
        confusions=[
            (c.title, p.stem, p.read_bytes()) for c in chapters for p in sorted(c.folder.glob("confusion*.png"))
        ],
        pages=[page.relative_to(root).as_posix() for c in chapters for page in sorted(c.folder.glob("*.html"))],
        describe=describe_chapter,
        relative=lambda path: path.relative_to(root).as_posix(),
        hardware=chapters[-1].manifest.hardware,
        packages=chapters[-1].manifest.packages,
    )


def describe_chapter(chapter: Chapter) -> str:
    """Return in words what a stage made."""
    facts = chapter.manifest.facts
    if chapter.manifest.stage == "corpus":
        splits = [f"{name} {n['rows']} rows of {n['subjects']} people" for name, n in facts["splits"].items()]
        return f"{'; '.join(splits)}; {facts['codec']['n_values']} symbols a trial"
    if chapter.manifest.stage == "reader":
        return (
            f"{facts['steps']} steps over {facts['rows']} rows of {facts['subjects']} people, "
            f"{facts['tokens_per_second']:,.0f} tokens per second in {facts['precision']}"
        )
    if chapter.manifest.stage == "gguf":
        return ", ".join(f"{file['type']} {file['bytes'] / 1e6:.1f} MB" for file in facts["files"])
    if "model" in facts:
        return f"{facts['model']['parameters'] / 1e6:.2f} million parameters"
    return f"{facts.get('rows', 0)} rows of {facts.get('subjects', 0)} people, split {facts.get('split', '')}"


def _list_protocol(protocol: str, chapters: list[Chapter]) -> list[Line]:
    found = [
        m for c in chapters if c.manifest.stage == "evaluate" for m in c.manifest.metrics if m.protocol == protocol
    ]
    named = dict.fromkeys(m.reader for m in found if m.name == "balanced_accuracy")
    # Each GGUF file has the controls of the model that it was made from.
    readers = [reader for reader in named if not _is_control(reader) or reader.startswith(f"{_MODEL}, ")]
    lines = []
    for reader in readers:
        own = {m.name: m for m in found if m.reader == reader and m.name in _SHOWN}
        values = {name: _format(own[name]) if name in own else "" for name in _SHOWN}
        lines.append(Line(protocol, reader, values, str(own["balanced_accuracy"].n)))
    if readers:
        guessed = {m.name: f"{m.chance:.3f}" for m in found if m.chance is not None}
        lines.append(Line(protocol, "chance", {name: guessed.get(name, "") for name in _SHOWN}, ""))
    return lines


def _is_control(reader: str) -> bool:
    return ", " in reader


def _find(chapters: list[Chapter], name: str, protocol: str) -> tuple[Chapter, Metric] | None:
    """Return a number of the language model, as Transformers computes it, and where it was measured."""
    found = ((c, c.manifest.metric(name, protocol=protocol, reader=_MODEL)) for c in chapters[::-1])
    return next(((chapter, metric) for chapter, metric in found if metric is not None), None)


def _keys(lines: list[Line]) -> list[str]:
    return [key for key in _SHOWN if any(line.values[key] for line in lines)]


def _headings(lines: list[Line]) -> list[str]:
    return [_SHOWN[key] for key in _keys(lines)]


def _format(metric: Metric) -> str:
    interval = f" [{metric.interval[0]:.3f}, {metric.interval[1]:.3f}]" if metric.interval else ""
    return f"{metric.value:.3f}{interval}"


def _plot_losses(chapters: list[Chapter]) -> bytes | None:
    """Draw the label's loss in training and on validation rows, one panel per reader."""
    readers = [chapter for chapter in chapters if chapter.manifest.stage == "reader"]
    if not readers:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 2.8), layout="constrained")
        for axes, chapter in zip(figure.subplots(1, len(readers), squeeze=False, sharey=True)[0], readers, strict=True):
            facts = chapter.manifest.facts
            for key, style, label in (("loss", "-", "training"), ("validation_label_loss", "o--", "validation people")):
                if facts[key]:
                    steps, losses = zip(*facts[key], strict=True)
                    axes.plot(steps, losses, style, color="#0072b2" if key == "loss" else "#d55e00", label=label, ms=4)
            axes.axhline(2.197, color=FAINT, linewidth=0.8, linestyle=":")
            axes.set(title=chapter.title, xlabel="step", ylabel="label loss, nats")
            axes.legend(frameon=False)
        return to_png(figure)


def _to_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
