"""The assisted record and its formats.

``types.py`` is what a record holds, ``build.py`` makes one from an answer, the other files render it. To add a format,
write one function ``Record -> bytes`` and add a line to `FORMATS`: the contract tests then apply to it.
"""

from collections.abc import Callable

from copilot.record.html import render_html
from copilot.record.json import parse_record, render_json
from copilot.record.types import Record

#: Name of a format, which is also the file's suffix -> how it is rendered.
FORMATS: dict[str, Callable[[Record], bytes]] = {
    "json": render_json,
    "html": render_html,
}

__all__ = ["FORMATS", "Record", "parse_record", "render_html", "render_json"]
