"""A record under review: the machine's draft, what people made of it, and the log of every step.

::

    draft ──edit, note, hand-off──► edited ──sign──► signed ──a change with name and reason──► amended

The draft and every signed version stay as they are; a change makes a new record beside them.
"""

from collections.abc import Collection
from datetime import datetime

from copilot.record import FORMATS, SPOKEN
from copilot.record.audit import Action, AuditLog, digest_value, write_time
from copilot.record.fields import FieldState, change_field, list_fields, list_options, read_field
from copilot.record.json import digest_record, render_json
from copilot.record.marks import Change, HandOff, Note, SignOff
from copilot.record.signing import check_moment, check_name, check_words, list_alerts, list_obstacles, load_checklist
from copilot.record.statements import NOTICES
from copilot.record.types import Record
from dataset_builder.errors import InputError
from dataset_builder.prompts import Language, Suggestion

#: What `Review.export` makes besides the record formats: the audit log.
AUDIT = "audit"


class Review:
    """A draft, the record as it stands, and the log; made by `open_review` or `load_review` (`review_files`).

    Parameters
    ----------
    draft : Record
        As the machine wrote it.
    record : Record
        As it stands.
    log : AuditLog
    signed_versions : tuple of bytes
        JSON of every version that was signed or amended, the oldest first.
    """

    def __init__(self, draft: Record, record: Record, log: AuditLog, signed_versions: tuple[bytes, ...] = ()) -> None:
        self._draft, self._record, self.log, self.signed_versions = draft, record, log, signed_versions

    @property
    def draft(self) -> Record:
        """The machine's draft, never changed."""
        return self._draft

    @property
    def record(self) -> Record:
        """The record as it stands."""
        return self._record

    @property
    def status(self) -> str:
        """One of ``draft``, ``edited``, ``signed``, ``amended``."""
        return self._record.status

    @property
    def shows_crisis_card(self) -> bool:
        """Whether an entered number asks for a person to act now."""
        return bool(list_alerts(self._record))

    @property
    def needs_handoff(self) -> bool:
        """Whether it does, and nobody recorded who took over."""
        return self.shows_crisis_card and self._record.handoff is None

    def list_fields(self) -> list[FieldState]:
        """Return every field that may be changed."""
        return list_fields(self._record)

    def list_options(self) -> list[Suggestion]:
        """Return the entries of the cited library that may stand in the record."""
        return list_options(self._record)

    def list_obstacles(self, checklist: Collection[str] = ()) -> list[str]:
        """Return why the record cannot be signed with these ticks; empty when it can."""
        return list_obstacles(self._record, checklist)

    def edit(
        self,
        field: str,
        value: object,
        *,
        role: str,
        name: str = "",
        reason: str = "",
        moment: datetime | None = None,
    ) -> None:
        """Change one field.

        Parameters
        ----------
        field : str
            Its name in `list_fields`.
        value : object
        role : str
            Of the person who changes it.
        name, reason : str
            Needed after sign-off, where a change is an amendment.
        moment : datetime, optional
            Default: now.

        Raises
        ------
        InputError
            If the field does not accept the value, or the change is not allowed.
        """
        changed = change_field(self._record, field, value)
        if changed.signed and list_alerts(changed) and changed.handoff is None:
            raise InputError(f"{field}: this value needs a recorded hand-off first: to whom and when")
        before, after = read_field(self._record, field), read_field(changed, field)
        if changed != self._record:
            self._commit(changed, "edit", field, (before, after), (role, name, reason), moment)

    def add_note(
        self, text: str, *, role: str, name: str = "", reason: str = "", moment: datetime | None = None
    ) -> None:
        """Add a person's note; parameters as in `edit`."""
        words = check_words(text, "note")
        note = Note(text=words, time=write_time(moment), role=check_name(role, "role"), basis="written by a person")
        changed = self._record.model_copy(update={"notes": [*self._record.notes, note]})
        self._commit(changed, "note", f"notes.{len(changed.notes)}", (None, words), (role, name, reason), moment)

    def record_handoff(
        self,
        to: str,
        when: str | datetime,
        *,
        note: str = "",
        role: str,
        name: str = "",
        reason: str = "",
        moment: datetime | None = None,
    ) -> None:
        """State who took over and when; parameters as in `edit`.

        Parameters
        ----------
        to : str
            Name or role of the person who took over.
        when : str or datetime
            ISO 8601, such as ``2026-05-04T10:30``.
        note : str
        """
        handoff = HandOff(
            to=check_name(to, "hand-off: to"),
            when=check_moment(when, "hand-off: when"),
            note=check_words(note, "hand-off: note", needed=False),
            role=check_name(role, "role"),
            basis="stated by a person",
        )
        changed = self._record.model_copy(update={"handoff": handoff})
        old = self._record.handoff
        values = (old and old.model_dump(), handoff.model_dump())
        self._commit(changed, "hand-off", "handoff", values, (role, name, reason), moment)

    def sign(self, name: str, role: str, checklist: Collection[str], *, moment: datetime | None = None) -> None:
        """Sign the record.

        Parameters
        ----------
        name, role : str
            Of the person who answers for it.
        checklist : collection of str
            Ticked keys of `copilot.record.signing.load_checklist`.
        moment : datetime, optional
            Default: now.

        Raises
        ------
        InputError
            If something stands against it, see `list_obstacles`.
        """
        name, role = check_name(name, "name"), check_name(role, "role")
        if obstacles := self.list_obstacles(checklist):
            raise InputError(f"record: cannot be signed: {'; '.join(obstacles)}")
        sign_off = SignOff(
            name=name,
            role=role,
            time=write_time(moment),
            checklist=[key for key in load_checklist() if key in checklist],
            record_sha256=digest_record(self._record),
        )
        changes = {"sign_off": sign_off, "status": "signed", "notice": NOTICES["signed"]}
        self._put(self._record.model_copy(update=changes))
        after = sign_off.model_dump()
        self._log("sign", "sign_off", (None, after), role, moment)

    def export(self, name: str, *, language: Language | None = None, moment: datetime | None = None) -> bytes:
        """Return the record in a format, or the log; what is not signed is marked as a draft throughout.

        Parameters
        ----------
        name : str
            A key of `copilot.record.FORMATS`, or ``"audit"``.
        language : {"en", "zh"}, optional
            Of the formats that people read; default: the record's.
        moment : datetime, optional
            Default: now.

        Raises
        ------
        InputError
            If there is no such format.
        """
        if name not in (*FORMATS, AUDIT):
            raise InputError(f"format {name!r}: unknown; accepted: {', '.join((*FORMATS, AUDIT))}")
        head = self.log.head
        spoken = {"language": language} if name in SPOKEN else {}
        data = b"" if name == AUDIT else FORMATS[name](self._record.model_copy(update={"log": head}), **spoken)
        self._log("export", name, (None, None), "", moment)
        return data or self.log.render()

    def _commit(
        self,
        changed: Record,
        action: Action,
        field: str,
        values: tuple[object, object],
        who: tuple[str, str, str],
        moment: datetime | None,
    ) -> None:
        """Keep a change by a person; after sign-off only with a name and a reason, as an amendment."""
        role, name, reason = check_name(who[0], "role"), check_name(who[1], "name", needed=False), who[2]
        if changed.signed:
            action, name = "amend", check_name(name, "record: is signed; name of who amends it")
        reason = check_words(reason, "reason of the amendment", needed=changed.signed)
        status = "amended" if changed.signed else "edited"
        change = Change(time=write_time(moment), action=action, field=field, role=role, name=name, reason=reason)  # type: ignore[arg-type]
        updates = {"changes": [*changed.changes, change], "status": status, "notice": NOTICES[status]}  # type: ignore[index]
        self._put(changed.model_copy(update=updates))
        self._log(action, field, values, role, moment)

    def _put(self, record: Record) -> None:
        """Keep a record that is whole; every version that somebody answers for is kept for good."""
        self._record = Record.model_validate(record.model_dump())
        if record.signed:
            self.signed_versions += (render_json(self._record),)

    def _log(
        self, action: Action, field: str, values: tuple[object, object], role: str, moment: datetime | None
    ) -> None:
        before, after = map(digest_value, values)
        now = digest_record(self._record)
        self.log.append(action, field, before=before, after=after, role=role, record=now, moment=moment)


def open_review(draft: Record, *, role: str = "", moment: datetime | None = None) -> Review:
    """Begin the review of a machine's draft.

    Parameters
    ----------
    draft : Record
    role : str
        Of the person who opens it.
    moment : datetime, optional
        Default: now.

    Raises
    ------
    InputError
        If it is no draft.
    """
    if draft.status != "draft" or draft.draft_sha256:
        raise InputError(f"record: found status {draft.status}; accepted: a draft as the machine wrote it")
    digest, log = digest_record(draft), AuditLog()
    record = draft.model_copy(update={"draft_sha256": digest})
    facts = {"after": digest, "role": check_name(role, "role", needed=False), "record": digest_record(record)}
    log.append("draft", "record", moment=moment, **facts)
    return Review(draft, record, log)
