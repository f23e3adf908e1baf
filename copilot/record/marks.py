"""What a record says of who wrote what: marked fields, sections of several copilots, and what people add."""

from typing import Literal

from pydantic import Field

from dataset_builder.recipe import StrictModel

#: ``machine``: a program wrote it. ``edited``: a person changed what a program wrote. ``human``: a person wrote it.
Origin = Literal["machine", "edited", "human"]

#: Most characters that a person may write into one field.
MAX_TEXT = 4000

#: Most characters of a name or a role.
MAX_NAME = 80


class Marked(StrictModel):
    """Something of a record with its origin.

    Parameters
    ----------
    origin : {"machine", "edited", "human"}
    basis : str
        Its source in words: which window, which entry of the library, entered by whom.
    model : str
        Name of the language model that wrote or scored it; empty for plain arithmetic and for people.
    """

    origin: Origin = "machine"
    basis: str = ""
    model: str = ""


class Coding(StrictModel):
    """One code of a code system.

    Parameters
    ----------
    system : str
        Address of the code system.
    code : str
    display : str
        Its official name; empty where it was not checked.
    """

    system: str
    code: str
    display: str = ""


class Range(StrictModel):
    """Whole numbers that a person may enter, both ends included."""

    low: int
    high: int


class Item(Marked):
    """One line of a section.

    Parameters
    ----------
    id : str
        Unique within its section.
    label : str
    value : str, int, float, bool or None
        None means not stated.
    unit : str
        UCUM unit of a number; ``"1"`` for a share or a score without unit.
    accepts : Range or None
        Set where a person may enter the value.
    alert_above : int or None
        A higher value shows the crisis card, and the record cannot be signed until a hand-off is recorded.
    code : Coding or None
        Its code in exchange formats.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    label: str
    value: str | int | float | bool | None = None
    unit: str = ""
    accepts: Range | None = None
    alert_above: int | None = None
    code: Coding | None = None

    @property
    def alerts(self) -> bool:
        """Whether the value asks for a person to act now."""
        return self.alert_above is not None and isinstance(self.value, int) and self.value > self.alert_above


class Section(StrictModel):
    """What one copilot says.

    Parameters
    ----------
    id : str
        The copilot's name in `copilot.record.sections.COPILOTS`.
    title : str
    summary : str
        One sentence.
    items : list of Item
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    summary: str
    items: list[Item] = Field(default_factory=list)


class Note(Marked):
    """A note that a person adds; `time` is ISO 8601 in UTC."""

    text: str
    time: str
    role: str
    origin: Origin = "human"


class HandOff(Marked):
    """Who took over after an entered item asked for it.

    Parameters
    ----------
    to : str
        Name or role of the person who took over.
    when : str
        ISO 8601, as the person states it.
    note : str
    role : str
        Of the person who recorded it.
    """

    to: str
    when: str
    note: str = ""
    role: str
    origin: Origin = "human"


class SignOff(StrictModel):
    """Who answers for the record.

    Parameters
    ----------
    name, role : str
    time : str
        ISO 8601 in UTC.
    checklist : list of str
        Keys of `copilot.record.signing.load_checklist` that were ticked.
    record_sha256 : str
        Digest of the record as it was when it was signed, this sign-off left out.
    """

    name: str
    role: str
    time: str
    checklist: list[str]
    record_sha256: str


class Change(StrictModel):
    """One change by a person; what was there before stands in the draft.

    Parameters
    ----------
    time : str
        ISO 8601 in UTC.
    action : {"edit", "note", "hand-off", "amend"}
        ``"amend"`` for every change after sign-off.
    field : str
        Its name in `copilot.record.fields`.
    role : str
    name, reason : str
        Needed for an amendment.
    """

    time: str
    action: Literal["edit", "note", "hand-off", "amend"]
    field: str
    role: str
    name: str = ""
    reason: str = ""


class LogHead(StrictModel):
    """Where the audit log stood when a rendering was made: its number of entries and the digest of the last."""

    entries: int
    sha256: str
