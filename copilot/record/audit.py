"""The audit log: one line of JSON per action, each bound to the one before by its digest, so that a change shows.

The log holds digests of what was written, not the words. A digest of a short answer can be guessed: treat the log as
confidential, like the record. Whoever can rewrite the whole file can rewrite the whole chain; a rendering therefore
states where the log stood (`LogHead`).
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from copilot.record.marks import LogHead
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel

AUDIT_FILE = "audit.jsonl"

#: Stands for "nothing before" in the first line.
NO_DIGEST = "0" * 64

Action = Literal["draft", "edit", "note", "hand-off", "sign", "amend", "export"]


class AuditEntry(StrictModel):
    """One line of the log.

    Parameters
    ----------
    seq : int
        Counted from 1.
    time : str
        ISO 8601 in UTC.
    action : str
    field : str
        What was changed or exported.
    before, after : str
        sha256 of the value as JSON; empty where there is none.
    role : str
        Of the person who acted; names stand in the record alone.
    record : str
        sha256 of the whole record after the action.
    previous : str
        `hash` of the line before.
    hash : str
        sha256 of the line without this key.
    """

    seq: int
    time: str
    action: Action
    field: str
    before: str = ""
    after: str = ""
    role: str = ""
    record: str
    previous: str
    hash: str

    def render(self) -> bytes:
        """Return the line."""
        return _dump(self.model_dump(mode="json")) + b"\n"


class AuditLog:
    """Entries in order; they can be added, never changed.

    Parameters
    ----------
    entries : sequence of AuditEntry
    """

    def __init__(self, entries: Sequence[AuditEntry] = ()) -> None:
        self._entries = tuple(entries)

    @property
    def entries(self) -> tuple[AuditEntry, ...]:
        """All entries, the oldest first."""
        return self._entries

    @property
    def head(self) -> LogHead:
        """Number of entries and digest of the last."""
        return LogHead(entries=len(self._entries), sha256=self._entries[-1].hash if self._entries else NO_DIGEST)

    def append(self, action: Action, field: str, *, record: str, moment: datetime | None = None, **facts: str) -> None:
        """Add an entry; `facts` are ``before``, ``after`` and ``role``."""
        values: dict[str, Any] = {"before": "", "after": "", "role": ""} | facts
        values |= {"seq": len(self._entries) + 1, "time": write_time(moment), "action": action, "field": field}
        values |= {"record": record, "previous": self.head.sha256}
        self._entries += (AuditEntry(**values, hash=_hash_line(values)),)

    def render(self) -> bytes:
        """Return the file: one line of JSON per entry."""
        return b"".join(entry.render() for entry in self._entries)


def verify_log(data: bytes) -> AuditLog:
    """Read a log back and check every line against its digest and against the line before.

    Raises
    ------
    InputError
        Names the first line that was changed, moved, added or taken out.
    """
    entries: list[AuditEntry] = []
    for number, line in enumerate(data.splitlines(), 1):
        entry = _parse_line(line, number)
        if entry.seq != number:
            raise _broken(number, f"is entry {entry.seq} of the log, expected {number}")
        if entry.hash != _hash_line(entry.model_dump(mode="json", exclude={"hash"})):
            raise _broken(number, "was changed: its digest is not that of its content")
        if entry.previous != (entries[-1].hash if entries else NO_DIGEST):
            raise _broken(number, "does not follow the line before it")
        entries.append(entry)
    if not entries:
        raise InputError(f"{AUDIT_FILE}: holds no entry; accepted: the log of a review")
    return AuditLog(entries)


def digest_value(value: object) -> str:
    """Return the sha256 of a value as JSON; empty for no value."""
    return "" if value is None else hashlib.sha256(_dump(value)).hexdigest()


def write_time(moment: datetime | None = None) -> str:
    """Return a moment (default: now) as ISO 8601 in UTC, to the second."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_line(line: bytes, number: int) -> AuditEntry:
    try:
        return AuditEntry.model_validate_json(line)
    except ValueError:
        raise _broken(number, "is no entry of an audit log") from None


def _broken(number: int, what: str) -> InputError:
    return InputError(f"{AUDIT_FILE} line {number}: {what}")


def _hash_line(values: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(values)).hexdigest()


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
