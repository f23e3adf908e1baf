"""Tables of a card: metrics with their circumstances, facts flattened, both short enough to be read."""

from collections.abc import Iterator
from typing import Any

from cards.chain import Chain
from dataset_builder.manifest import Metric

#: Measures that stand in the open, in this order; all others are folded away or left to the manifest.
HEADLINES = (
    "balanced_accuracy",
    "accuracy",
    "advantage",
    "calibration_error",
    "perplexity",
    "perplexity_change",
    "label_agreement",
    "top1_agreement",
)
#: Ending of a reader's name where the answers to the segments of a trial count as one.
_WHOLE_TRIALS = " over whole trials"
#: Facts that are shown elsewhere in the card, or are long lists of people and tensors.
_LEFT_OUT = {"source", "splits", "subjects", "trained_people", "verdicts", "files", "legend"}
_LONGEST_CELL = 80


def list_metrics(chain: Chain) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the rows of the open table and those of the folded one, each as `format_metric` makes it.

    Of an evaluation only what it measured of this folder is told, and what probes reach beside it; recall by emotion
    and the other models that it asked stay in its manifest.
    """
    own, probes = chain.own_readers(), []
    mine = [(m.stage, metric) for m in chain.manifests for metric in m.metrics]
    for stage, metric in ((m.stage, metric) for m in chain.evaluations for metric in m.metrics):
        if metric.reader.split(",")[0].removesuffix(_WHOLE_TRIALS) in own and not metric.name.startswith("recall_"):
            mine.append((stage, metric))
        elif not metric.reader.startswith("language model") and metric.name == HEADLINES[0]:
            probes.append((stage, metric))
    shown = [pair for name in HEADLINES for pair in mine if pair[1].name == name]
    folded = [pair for pair in mine if pair[1].name not in HEADLINES]
    return [format_metric(*pair) for pair in (*shown, *probes)], [format_metric(*pair) for pair in folded]


def format_metric(stage: str, metric: Metric) -> dict[str, str]:
    """Return one table row of texts: what was measured, how much, how sure, against what, on what."""
    interval = metric.interval
    return {
        "stage": stage,
        "name": format_cell(metric.name.replace("_", " ")),
        "reader": format_cell(metric.reader),
        "value": f"{metric.value:.4g}",
        "interval": f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "",
        "chance": "" if metric.chance is None else f"{metric.chance:.4g}",
        "n": f"{metric.n:,} {metric.unit}",
        "split": format_cell(metric.split),
        "protocol": format_cell(metric.protocol),
        "method": format_cell(metric.method),
    }


def flatten_facts(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the facts that fit a table: plain values and short lists, nested keys joined by dots; the source apart."""
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if key in _LEFT_OUT:
            continue
        if isinstance(value, dict):
            yield from flatten_facts(value, f"{name}.")
        elif isinstance(value, bool | int | str) and 0 < len(str(value)) <= _LONGEST_CELL:
            yield name, f"{value:,}" if type(value) is int else format_cell(str(value))
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        elif isinstance(value, list) and 0 < len(value) <= 12 and all(isinstance(item, str | int) for item in value):
            yield name, format_cell(", ".join(map(str, value)))


def format_cell(text: str) -> str:
    """Return a text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
