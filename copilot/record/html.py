"""The record as one printable page: no scripts, nothing from the network, pictures inline.

The page forbids everything else by its own Content-Security-Policy; its style sheet is admitted by hash. All text is
escaped by the template engine, whoever wrote it.
"""

import base64
import hashlib
from functools import cache, partial
from importlib import resources
from urllib.parse import urlsplit

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from copilot import figures
from copilot.phrases import say
from copilot.record.crisis import load_card
from copilot.record.marks import Marked, Origin
from copilot.record.signing import list_alerts, load_checklist
from copilot.record.types import Estimate, Record, SuggestionLine
from dataset_builder.manifest import Metric
from dataset_builder.prompts import SUGGESTIONS, Language
from dataset_builder.types import BANDS, EMOTIONS, VALENCE

#: Who wrote a field, in words.
ORIGINS: dict[Origin, str] = {
    "machine": "written by a program",
    "edited": "edited by a person",
    "human": "written by a person",
}


def render_html(record: Record, language: Language | None = None) -> bytes:
    """Return the record as a self-contained HTML page, UTF-8.

    The bars and the strip of scores are drawn from the record here; the same record gives the same bytes.

    Parameters
    ----------
    record : Record
    language : {"en", "zh"}, optional
        Of everything but what the model and people wrote; default: the record's.
    """
    language = language or record.language
    style = _load_style()
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    template = _environment().get_template("record.html.jinja")
    page = template.render(
        record=record,
        language=language,
        _=partial(say, language=language),
        option=partial(translate_option, record=record, language=language),
        origins=ORIGINS,
        valences=VALENCE,
        alerts=list_alerts(record),
        card=load_card(language),
        checklist=load_checklist(language),
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        charts=_draw_charts(record),
        best_counts=_count_best(record.estimate),
        bands=BANDS,
    )
    return page.encode("utf-8")


def _draw_charts(record: Record) -> dict[str, str]:
    """Return the pictures that follow from the record's numbers, as data addresses."""
    estimate = record.estimate
    if not estimate.scores:
        return {}
    scores = {score.emotion: score.probability for score in estimate.scores}
    bars = figures.plot_scores(scores, estimate.chance)
    strip = figures.plot_windows(np.array(estimate.windows), record.recording.window_s)
    return {"scores": _to_data_address(bars), "windows": _to_data_address(strip)}


def _count_best(estimate: Estimate) -> dict[str, int]:
    """Return in how many windows each emotion had the highest score."""
    best = [EMOTIONS[int(np.argmax(row))] for row in estimate.windows]
    return {emotion: best.count(emotion) for emotion in EMOTIONS}


def _to_data_address(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


@cache
def _load_style() -> str:
    return resources.files("copilot.record").joinpath("templates/record.css").read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("copilot.record"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "web_address": _web_address, "number": _number, "minutes": _minutes}
    environment.filters |= {"clock": format_time, "origin": describe_origin, "system": name_system}
    environment.tests["web"] = lambda address: bool(_web_address(address))
    return environment


def format_time(moment: str) -> str:
    """Return an ISO 8601 moment as a reader writes it: ``2026-05-04 10:30``, seconds where they are known."""
    return moment.replace("T", " ").replace("Z", "")


def describe_origin(field: Marked, language: Language = "en") -> str:
    """Return who wrote a field, on what basis, and which model was asked."""
    parts = [
        "a program" if field.origin == "machine" else "a person",
        field.basis,
        field.model and f"model {field.model}",
    ]
    return "; ".join(say(part, language) for part in parts if part)


def translate_option(line: SuggestionLine, record: Record, language: Language) -> str:
    """Return an option in a language, where it is the library's own text, else as the record has it."""
    known = SUGGESTIONS.get(line.id)
    return known.text[language] if known and known.text[record.language] == line.text else line.text


def name_system(address: str) -> str:
    """Return the short name of a code system."""
    return {"http://loinc.org": "LOINC"}.get(address, address)


def _percent(share: float, digits: int = 0) -> str:
    return f"{share:.{digits}%}"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _web_address(address: str) -> str:
    """Return `address` if a link may lead there, else nothing: a record may come from a file that someone changed."""
    return address if urlsplit(address).scheme in ("https", "http") else ""


def _number(metric: Metric) -> str:
    interval = "" if metric.interval is None else f" ({metric.interval[0]:.3f} to {metric.interval[1]:.3f})"
    return f"{metric.value:.3f}{interval}"
