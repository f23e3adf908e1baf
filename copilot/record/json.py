"""The record as JSON, and back."""

import hashlib
import json

from copilot.record.types import SCHEMA_VERSION, Record
from dataset_builder.errors import InputError


def render_json(record: Record) -> bytes:
    """Return the record as indented UTF-8 JSON, fields in the order of `Record`."""
    return (record.model_dump_json(indent=2) + "\n").encode("utf-8")


def digest_record(record: Record) -> str:
    """Return the sha256 of the record's JSON, without where the log stood when it was rendered."""
    return hashlib.sha256(render_json(record.model_copy(update={"log": None}))).hexdigest()


def parse_record(data: bytes) -> Record:
    """Read `render_json` back.

    Raises
    ------
    InputError
        If the bytes are not JSON, or not a record of this schema version.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("record.json: not valid JSON") from None
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"record.json: schema_version {found!r}; accepted: {SCHEMA_VERSION}")
    try:
        return Record.model_validate_json(data)
    except ValueError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"]) if hasattr(error, "errors") else ""
        problem = "is missing, unknown, of the wrong type or contradicts the rest"
        raise InputError(f"record.json: {place or 'status'} {problem}") from None
