"""The data report: one page that shows what a corpus holds, how it came about and what the model will read."""

import base64
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure
from tqdm import tqdm

from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError, ResourceError
from dataset_builder.sources.base import Source
from dataset_builder.stage import Stage
from dataset_builder.types import BANDS, EMOTIONS

if TYPE_CHECKING:
    from dataset_builder.corpus import CorpusRecipe

#: Recordings that are read once more to measure what the code keeps of each band.
_MEASURED_SUBJECTS = 3

#: Columns of a person that are tabled, with their headings.
_PERSON_TABLES = {
    "sex": "sex",
    "cohort": "cohort",
    "device_sfreq_hz": "sampling rate of the device (Hz)",
}

_EXAMPLES = 3

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "eeg-emotion-copilot",
}
_COLOURS = {"train": "#0b63a5", "validation": "#b8480b", "test": "#00735c", "calibration": "#7a3e8e"}


def render_data_report(
    recipe: "CorpusRecipe", source: Source, codec: Codec, tables: dict[str, pa.Table], stage: Stage
) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    recipe : CorpusRecipe
    source : Source
        A few recordings are read from it once more, to measure the code's error per band.
    codec : Codec
        Fitted.
    tables : dict of str to pyarrow.Table
        Rows per split.
    stage : Stage
        The open stage; `facts` and `dropped` are shown, the measured error is added to `facts`.
    """
    filled = {split: table for split, table in tables.items() if table.num_rows}
    people = {split: _list_people(table) for split, table in filled.items()}
    stage.facts["band_error_db"] = measure_band_error(source, codec, stage.facts["subjects"])
    environment = Environment(loader=PackageLoader("dataset_builder"), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("data_report.html.jinja").render(
        recipe=recipe,
        info=source.info,
        codec=stage.facts["codec"],
        splits=stage.facts["splits"],
        subjects=stage.facts["subjects"],
        dropped=stage.dropped,
        audit=stage.facts["audit"],
        band_error=stage.facts["band_error_db"],
        synthetic=stage.synthetic,
        emotions={split: _count_values(table, "emotion", EMOTIONS) for split, table in filled.items()},
        person_tables=[(heading, *_cross(people, key)) for key, heading in _PERSON_TABLES.items()],
        figures=[figure for figure in (_plot_ages(people), _plot_lengths(filled), _plot_error(stage)) if figure],
        examples=_pick_examples(filled),
    )


def measure_band_error(source: Source, codec: Codec, subjects: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the mean error of the decoded power per band in dB, over a few recordings; None where none is used.

    Returns
    -------
    dict or None
        ``bands`` (dict of str to float, dB), ``subjects`` and ``trials`` (counts); see `Codec.measure_error`.

    Raises
    ------
    ResourceError
        If a recording that was encoded is not there any more.
    """
    usable = [subject["subject"] for subject in subjects if subject["state"] == "used"][:_MEASURED_SUBJECTS]
    errors = []
    for subject in tqdm(usable, desc="measure error", unit="subject", disable=None):
        try:
            errors.append(codec.measure_error(source.read(subject, codec.reads)))
        except InputError as error:  # it was read before: to leave it out would give another report
            raise ResourceError(f"{subject}: can no longer be read; run again when it can ({error})") from None
    if not errors:
        return None
    stacked = np.concatenate(errors)
    means = {band: round(float(value), 3) for band, value in zip(BANDS, np.nanmean(stacked, axis=0), strict=True)}
    return {"bands": means, "subjects": len(errors), "trials": len(stacked)}


def _list_people(table: pa.Table) -> list[dict[str, Any]]:
    """Return one entry per subject of a split."""
    keys = ["subject", "age", *_PERSON_TABLES]
    return list({row["subject"]: row for row in table.select(keys).to_pylist()}.values())


def _count_values(table: pa.Table, key: str, order: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(table[key].to_pylist())
    return {value: counts[value] for value in order}


def _cross(people: dict[str, list[dict[str, Any]]], key: str) -> tuple[list[str], dict[str, list[int]]]:
    """Return the values of a column over all splits, and how many people of each split have each."""
    values = sorted({_show(person[key]) for members in people.values() for person in members})
    return values, {
        split: [sum(_show(person[key]) == value for person in members) for value in values]
        for split, members in people.items()
    }


def _show(value: Any) -> str:
    return "not stated" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plot_ages(people: dict[str, list[dict[str, Any]]]) -> tuple[str, str, str] | None:
    ages = {split: [p["age"] for p in members if p["age"] is not None] for split, members in people.items()}
    known = [age for values in ages.values() for age in values]
    if not known:
        return None
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.subplots()
        bins = [age - 0.5 for age in range(min(known), max(known) + 2)]
        axes.hist(list(ages.values()), bins, stacked=True, label=list(ages), color=[_COLOURS[split] for split in ages])
        axes.set(xlabel="age (years)", ylabel="people")
        figure.legend(frameon=False, loc="outside upper center", ncols=4)
        return "Age", f"Age of {len(known)} people by split.", _to_uri(figure)


def _plot_lengths(tables: dict[str, pa.Table]) -> tuple[str, str, str]:
    """Draw tokens per row where a tokenizer counted them, else characters."""
    counted = all(table["n_tokens"].null_count == 0 for table in tables.values())
    lengths = {
        split: table["n_tokens"].to_pylist() if counted else [_count_characters(row) for row in table["messages"]]
        for split, table in tables.items()
    }
    unit = "tokens" if counted else "characters"
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.subplots()
        colours = [_COLOURS[split] for split in lengths]
        axes.hist(list(lengths.values()), 30, stacked=True, label=list(lengths), color=colours)
        axes.set(xlabel=f"{unit} per row, all turns", ylabel="rows")
        figure.legend(frameon=False, loc="outside upper center", ncols=4)
        told = "" if counted else " No tokenizer was given, so tokens were not counted."
        return "Length of the rows", f"All three turns of a row together.{told}", _to_uri(figure)


def _count_characters(messages: Any) -> int:
    return sum(len(turn["content"]) for turn in messages.as_py())


def _plot_error(stage: Stage) -> tuple[str, str, str] | None:
    error = stage.facts["band_error_db"]
    if error is None:
        return None
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.subplots()
        bars = axes.bar(list(error["bands"]), list(error["bands"].values()), color="#0b63a5")
        axes.bar_label(bars, fmt="%.2f", padding=2)
        axes.set(ylabel="error of decoded power (dB)")
        axes.margins(y=0.15)
        caption = (
            f"Mean difference between decoded and true band power over {error['trials']} trials of "
            f"{error['subjects']} subjects; 40 dB means that the band is lost."
        )
        return "What the code keeps of each band", caption, _to_uri(figure)


def _to_uri(figure: Figure) -> str:
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(sink.getvalue()).decode("ascii")


def _pick_examples(tables: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """Return the first rows of different emotions, to be read as the model reads them."""
    table = next(iter(tables.values()))
    seen: dict[str, dict[str, Any]] = {}
    for row in table.select(["row_id", "emotion", "messages"]).to_pylist():
        seen.setdefault(row["emotion"], row)
        if len(seen) == _EXAMPLES:
            break
    return list(seen.values())
