"""Observations of the FHIR export: the estimate with its nine scores, sections of copilots, what people entered."""

from typing import Any

from copilot.record.fhir_codes import ABSENT, CATEGORY, LOCAL, UCUM, code_concept, name_item
from copilot.record.fhir_parts import STATUS, Names, narrate
from copilot.record.marks import Item, Section
from copilot.record.types import Record

Values = dict[str, Any]


def list_observations(record: Record, names: Names) -> dict[str, Values]:
    """Return all observations by name, in order."""
    found = {"estimate": describe_estimate(record, names)}
    if record.estimate.override:
        found["override"] = describe_override(record, names)
    if record.subject.age is not None:
        found["age"] = describe_age(record, names)
    for section in record.sections:
        if section.id != "emotion":  # the estimate says it in full
            found |= describe_section(section, record, names)
    if record.handoff:
        found["hand-off"] = describe_handoff(record, names)
    return found


def describe_estimate(record: Record, names: Names) -> Values:
    """Return the estimate: the model's label, or why there is none, and nine scores as components."""
    estimate = record.estimate
    values = _begin("procedure", code_concept(LOCAL, "emotion-estimate", estimate.wording), record, names)
    values |= {"device": names.refer("model"), "issued": record.created}
    if estimate.emotion:
        values["valueCodeableConcept"] = code_concept(LOCAL, estimate.emotion, f"Evoked emotion: {estimate.emotion}")
    else:
        code = "unknown" if estimate.scores else "not-performed"
        values["dataAbsentReason"] = code_concept(ABSENT, code, estimate.reason)
    notes = [estimate.reason, *estimate.cautions, *record.limits[:1]]
    values["note"] = [{"text": text} for text in notes if text]
    if record.recording.sha256:
        values["derivedFrom"] = [names.refer("recording")]
    if estimate.scores:
        values["component"] = [
            {
                "code": code_concept(LOCAL, score.emotion, f"Evoked emotion: {score.emotion}"),
                "valueQuantity": _measure(round(score.probability, 6), "1"),
            }
            for score in estimate.scores
        ]
    return values | {"text": narrate(f"{estimate.wording}: {estimate.emotion or 'none. ' + estimate.reason}")}


def describe_override(record: Record, names: Names) -> Values:
    """Return what a person states instead of the model's label, as an observation of its own."""
    emotion = record.estimate.override
    values = _begin(
        "procedure", code_concept(LOCAL, "emotion-by-person", "Emotion as a person states it"), record, names
    )
    return values | {
        "text": narrate(f"Emotion as a person states it: {emotion}"),
        **_performed(record, names),
        "valueCodeableConcept": code_concept(LOCAL, str(emotion), f"Evoked emotion: {emotion}"),
    }


def describe_age(record: Record, names: Names) -> Values:
    """Return the age, every one above 89 as one group."""
    age = record.subject.age
    values = _begin("procedure", code_concept(LOCAL, "age", "Age when recorded"), record, names)
    value = {"valueString": age} if isinstance(age, str) else {"valueQuantity": _measure(int(age or 0), "a")}
    return values | {"text": narrate(f"Age when recorded: {age}"), **value}


def describe_section(section: Section, record: Record, names: Names) -> dict[str, Values]:
    """Return a section: one observation per item with a code of its own, one with components for all others."""
    found = {}
    plain = [item for item in section.items if item.code is None and item.value is not None]
    if plain:
        values = _begin("procedure", code_concept(LOCAL, name_item(section.id), section.title), record, names)
        parts = [
            {"code": code_concept(LOCAL, name_item(section.id, item.id), item.label), **_state(item)} for item in plain
        ]
        found[section.id] = values | {"text": narrate(f"{section.title}: {section.summary}"), "component": parts}
    for item in section.items:
        if item.code is not None and item.value is not None:
            concept = code_concept(item.code.system, item.code.code, item.label)
            values = _begin("survey" if item.accepts else "procedure", concept, record, names)
            told = {"text": narrate(f"{item.label}: {item.value}"), **_state(item)}
            found[f"{section.id}.{item.id}"] = values | (_performed(record, names) if item.accepts else {}) | told
    return found


def describe_handoff(record: Record, names: Names) -> Values:
    """Return to whom the person was handed over, and when."""
    handoff = record.handoff
    assert handoff is not None
    told = f"{handoff.to}, {handoff.when}"
    values = _begin("procedure", code_concept(LOCAL, "hand-off", "Hand-off to a trained person"), record, names)
    values |= {"text": narrate(f"Hand-off: {told}"), **_performed(record, names), "valueString": told}
    return values | ({"note": [{"text": handoff.note}]} if handoff.note else {})


def _begin(category: str, code: Values, record: Record, names: Names) -> Values:
    """Return what every observation starts with."""
    return {
        "resourceType": "Observation",
        "status": STATUS[record.status],
        "category": [code_concept(CATEGORY, category)],
        "code": code,
        "subject": names.refer("patient"),
    }


def _performed(record: Record, names: Names) -> Values:
    """Return who entered a value, once somebody answers for it."""
    return {"performer": [names.refer("signer")]} if record.sign_off else {}


def _state(item: Item) -> Values:
    """Return an item's value under the key of its type."""
    if isinstance(item.value, bool):
        return {"valueBoolean": item.value}
    if isinstance(item.value, (int, float)):
        return {"valueQuantity": _measure(item.value, item.unit or "1")}
    return {"valueString": str(item.value)}


def _measure(value: float, unit: str) -> Values:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}
