"""The record as JSON, and back."""

import json

from copilot.record.types import Record
from dataset_builder.errors import InputError


def render_json(record: Record) -> bytes:
    """Return the record as indented UTF-8 JSON, fields in the order of `Record`."""
    return (record.model_dump_json(indent=2) + "\n").encode("utf-8")


def parse_record(data: bytes) -> Record:
    """Read `render_json` back.

    Raises
    ------
    InputError
        If the bytes are not JSON, or not a record of this schema version.
    """
    try:
        values = json.loads(data)
    except ValueError:
        raise InputError("record.json: not valid JSON") from None
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != Record.model_fields["schema_version"].default:
        raise InputError(f"record.json: schema_version {found!r}; accepted: 1")
    try:
        return Record.model_validate_json(data)
    except ValueError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"]) if hasattr(error, "errors") else "record"
        raise InputError(f"record.json: {place} is missing, unknown or of the wrong type") from None
