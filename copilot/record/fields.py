"""The fields that a person may change, by name: what each holds, what it accepts, and the record after the change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from copilot.record.build import describe_suggestion, explain_choice
from copilot.record.marks import MAX_TEXT, Item, Marked, Origin
from copilot.record.signing import check_words
from copilot.record.types import Assessment, Record
from dataset_builder.errors import InputError
from dataset_builder.prompts import LIBRARY, SUGGESTIONS, Suggestion, needs_none
from dataset_builder.types import EMOTIONS


@dataclass(frozen=True)
class FieldState:
    """One field as a form shows it.

    Parameters
    ----------
    field, label : str
    value : object
        Text, a label, a list of identifiers, or a number; None means nothing.
    origin : {"machine", "edited", "human"}
    accepts : str
        In words.
    """

    field: str
    label: str
    value: Any
    origin: Origin
    accepts: str


def list_fields(record: Record) -> list[FieldState]:
    """Return every field that may be changed, in the order of the record."""
    estimate, assessment = record.estimate, record.assessment
    ids = [line.id for line in record.suggestions]
    written: Origin = "human" if assessment is None else assessment.origin
    chosen: Origin = "human" if not ids else "machine" if _all_machine(record.suggestions) else "edited"
    fields = [
        FieldState("estimate.emotion", "Emotion", estimate.stated, estimate.origin, f"{', '.join(EMOTIONS)}"),
        FieldState(
            "assessment.text",
            "Assessment",
            assessment.text if assessment else "",
            written,
            f"text of at most {MAX_TEXT} characters",
        ),
        FieldState("suggestions", "Options to discuss", ids, chosen, _name_options(record)),
    ]
    for section in record.sections:
        fields += [
            FieldState(f"{section.id}.{item.id}", item.label, item.value, item.origin, _name_range(item))
            for item in section.items
            if item.accepts
        ]
    return fields


def list_options(record: Record) -> list[Suggestion]:
    """Return the entries of the cited library that fit the stated emotion, the age and the sex."""
    emotion, age = record.estimate.stated, record.subject.age
    if emotion is None:
        return []
    return LIBRARY.list_suggestions(emotion, 90 if isinstance(age, str) else age, record.subject.sex)


def change_field(record: Record, field: str, value: object) -> Record:
    """Return the record with one field changed by a person.

    Raises
    ------
    InputError
        If there is no such field, or it does not accept the value.
    """
    if field in _SETTERS:
        return _SETTERS[field](record, value)
    section, _, item = field.partition(".")
    if any(state.field == field for state in list_fields(record)):
        return _set_item(record, section, item, value)
    known = ", ".join(state.field for state in list_fields(record))
    raise InputError(f"field {field!r}: unknown; accepted: {known}")


def read_field(record: Record, field: str) -> Any:
    """Return a field's value; None if there is no such field."""
    return next((state.value for state in list_fields(record) if state.field == field), None)


def _set_emotion(record: Record, value: object) -> Record:
    """Set what a person states; options that fit another emotion alone leave the list."""
    if value is not None and value not in EMOTIONS:
        raise InputError(f"estimate.emotion: found {value!r}; accepted: {', '.join(EMOTIONS)} or nothing")
    override = None if value == record.estimate.emotion else value
    origin: Origin = "machine" if override is None else "human" if record.estimate.emotion is None else "edited"
    changed = record.model_copy(
        update={"estimate": record.estimate.model_copy(update={"override": override, "origin": origin})}
    )
    fitting = {item.id for item in list_options(changed)}
    kept = [line for line in record.suggestions if line.id in fitting]
    why = [explain_choice(changed.estimate.stated or "", bool(line.model)) for line in kept]
    lines = [line.model_copy(update={"why": reason}) for line, reason in zip(kept, why, strict=True)]
    return _put_suggestions(changed, lines)


def _set_text(record: Record, value: object) -> Record:
    """Set the assessment; a person's words are a person's, and are not held to the model's vocabulary."""
    if not isinstance(value, str):
        raise InputError(f"assessment.text: found {type(value).__name__}; accepted: text")
    text = check_words(value, "assessment.text", needed=False)
    old = record.assessment
    if old is not None and text == old.text:
        return record
    if old is None:
        new = Assessment(text=text, window=None, origin="human", basis="written by a person") if text else None
        return record.model_copy(update={"assessment": new})
    origin: Origin = "edited" if old.model and not old.withheld else "human"
    changes = {"text": text, "withheld": "" if text else old.withheld, "origin": origin}
    return record.model_copy(update={"assessment": old.model_copy(update=changes)})


def _set_suggestions(record: Record, value: object) -> Record:
    """Set the list of options: entries that stay keep their origin, new ones are a person's choice."""
    ids = list(dict.fromkeys(value)) if isinstance(value, (list, tuple)) else [value]
    fitting = {item.id for item in list_options(record)}
    if unfit := [str(item) for item in ids if item not in fitting]:
        raise InputError(f"suggestions: {len(unfit)} unknown or unfit; accepted: {_name_options(record)}")
    kept = {line.id: line for line in record.suggestions}
    emotion = record.estimate.stated or ""
    lines = [kept.get(key) or describe_suggestion(SUGGESTIONS[key], record.language, emotion) for key in map(str, ids)]
    return _put_suggestions(record, lines)


def _put_suggestions(record: Record, lines: list[Any]) -> Record:
    """Return the record with these options; an empty list says why it is empty."""
    if lines == record.suggestions:
        return record
    stated = record.estimate.stated
    none = LIBRARY.no_suggestion["en"] if stated and needs_none(stated) else "None: a person left none in the list."
    why = "" if lines else none
    return record.model_copy(update={"suggestions": lines, "no_suggestions": why})


def _set_item(record: Record, section_id: str, item_id: str, value: object) -> Record:
    """Fill in a line of a section."""
    sections = []
    for section in record.sections:
        if section.id != section_id:
            sections.append(section)
            continue
        items = [_fill_item(item, section_id, value) if item.id == item_id else item for item in section.items]
        sections.append(section.model_copy(update={"items": items}))
    return record.model_copy(update={"sections": sections})


def _fill_item(item: Item, section_id: str, value: object) -> Item:
    limits = item.accepts
    assert limits is not None  # only such items are fields
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and limits.low <= value <= limits.high):  # type: ignore[operator]
        found = value if whole else type(value).__name__
        raise InputError(f"{section_id}.{item.id}: found {found}; accepted: {_name_range(item)}")
    return item.model_copy(update={"value": value, "origin": "human"})


def _all_machine(lines: list[Any]) -> bool:
    return all(isinstance(line, Marked) and line.origin == "machine" for line in lines)


def _name_range(item: Item) -> str:
    return "" if item.accepts is None else f"whole numbers from {item.accepts.low} to {item.accepts.high}, or nothing"


def _name_options(record: Record) -> str:
    return ", ".join(item.id for item in list_options(record)) or "none (no entry fits the stated emotion)"


_SETTERS: dict[str, Callable[[Record, object], Record]] = {
    "estimate.emotion": _set_emotion,
    "assessment.text": _set_text,
    "suggestions": _set_suggestions,
}
