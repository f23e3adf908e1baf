"""The assisted record and its formats.

``types.py`` and ``marks.py`` are what a record holds, ``build.py`` makes one from an answer and from the sections of
all copilots (``sections/``), ``review.py`` is how people edit and sign it, the other files render it. To add a format,
write one function ``Record -> bytes`` and add a line to `FORMATS`: the contract tests then apply to it.
"""

from collections.abc import Callable

from copilot.record.html import render_html
from copilot.record.json import parse_record, render_json
from copilot.record.types import Record
from dataset_builder.prompts import Language


def render_pdf(record: Record, language: Language | None = None) -> bytes:
    """Return the record as PDF; see `copilot.record.pdf`, which is loaded when asked for."""
    from copilot.record import pdf

    return pdf.render_pdf(record, language)


def render_fhir(record: Record) -> bytes:
    """Return the record as FHIR R4 JSON; see `copilot.record.fhir`, which is loaded when asked for."""
    from copilot.record import fhir

    return fhir.render_fhir(record)


#: Name of a format -> how it is rendered.
FORMATS: dict[str, Callable[..., bytes]] = {
    "json": render_json,
    "html": render_html,
    "pdf": render_pdf,
    "fhir": render_fhir,
}

#: Formats that people read: rendered with ``language`` they speak that one, else the record's own.
SPOKEN = frozenset({"html", "pdf"})

#: What is written when nobody asks for a format.
DEFAULT_FORMATS = ("json", "html")

#: Folder of a record's review inside the record's folder, see `copilot.record.review_files`.
REVIEW = "review"

#: Formats whose file is not called after them.
_FILES = {"fhir": "record.fhir.json", "audit": "audit.jsonl"}


def name_file(name: str) -> str:
    """Return the file name of a format, or of the audit log (``"audit"``)."""
    return _FILES.get(name, f"record.{name}")


__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "REVIEW",
    "SPOKEN",
    "Record",
    "name_file",
    "parse_record",
    "render_fhir",
    "render_html",
    "render_json",
    "render_pdf",
]
