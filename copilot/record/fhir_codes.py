"""Codes of the FHIR export: which systems and codes may stand in it, and our own system where none exists.

No LOINC or SNOMED code means "emotion that a model reads from EEG", so the nine labels and what belongs to them form a
local code system, which travels in every bundle. Codes of others are those that were checked against their publishers'
lists; a code that is not in this table does not leave the program.
"""

from collections.abc import Iterable
from typing import Any

from copilot.record.marks import Section
from copilot.record.types import WORDING
from dataset_builder.types import EMOTIONS

#: Address of our code system: a fixed UUID, since the project owns no web address.
LOCAL = "urn:uuid:5d0b6b0e-6c0e-5f0a-9a55-0d8f2f6f4c11"

#: SHA-256 as an object identifier: the system of digests that identify files.
SHA256 = "urn:oid:2.16.840.1.101.3.4.2.1"

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
_TERMS = "http://terminology.hl7.org/CodeSystem/"
ABSENT = _TERMS + "data-absent-reason"
CATEGORY = _TERMS + "observation-category"
PARTICIPANT = _TERMS + "provenance-participant-type"
SERVICE = _TERMS + "v2-0074"
OBSERVED = _TERMS + "v3-ObservationValue"
CONFIDENTIALITY = _TERMS + "v3-Confidentiality"
ACT = _TERMS + "v3-ActCode"
PURPOSE = _TERMS + "v3-ActReason"

#: System -> code -> official name (HL7 FHIR 4.0.1 and terminology.hl7.org; loinc.org). AIAST is newer than 4.0.1.
CODES: dict[str, dict[str, str]] = {
    LOINC: {"11523-8": "EEG study", "44261-6": "", "44260-8": "", "70274-6": ""},
    UCUM: {"1": "", "a": "", "{channels}": "", "{score}": ""},
    ABSENT: {"not-performed": "Not Performed", "unknown": "Unknown"},
    CATEGORY: {"procedure": "Procedure", "survey": "Survey"},
    PARTICIPANT: {"assembler": "Assembler", "author": "Author", "verifier": "Verifier", "legal": "Legal"},
    SERVICE: {"EN": "Electroneuro (EEG, EMG,EP,PSG)"},
    OBSERVED: {"AIAST": "Artificial Intelligence asserted"},
    CONFIDENTIALITY: {"R": "restricted"},
    ACT: {"MH": "mental health information sensitivity"},
    PURPOSE: {"HRESCH": "healthcare research", "HTEST": "test health data"},
}

#: Our own concepts besides the nine emotions and the items of sections.
CONCEPTS: dict[str, str] = {
    "emotion-estimate": WORDING,
    "emotion-by-person": "Emotion as a person states it",
    "age": "Age when recorded",
    "hand-off": "Hand-off to a trained person",
    "eeg-recording": "EEG recording",
}


def code_concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    """Return a CodeableConcept; `text` is what a reader sees."""
    concept: dict[str, Any] = {"coding": [code_one(system, code, text)]}
    return concept | ({"text": text} if text else {})


def code_one(system: str, code: str, local_display: str = "") -> dict[str, str]:
    """Return a Coding with its official name where that is known."""
    display = local_display if system == LOCAL else CODES.get(system, {}).get(code, "")
    return {"system": system, "code": code} | ({"display": display} if display else {})


def name_item(section: str, item: str = "") -> str:
    """Return the local code of a section or of one of its items."""
    return f"{section}.{item}" if item else f"section.{section}"


def make_code_system(sections: Iterable[Section]) -> dict[str, Any]:
    """Return our code system as a resource: the nine emotions, our concepts, sections and their uncoded items."""
    concepts = {emotion: f"Evoked emotion: {emotion}" for emotion in EMOTIONS} | CONCEPTS
    for section in sections:
        concepts[name_item(section.id)] = section.title
        concepts |= {name_item(section.id, item.id): item.label for item in section.items if item.code is None}
    return {
        "resourceType": "CodeSystem",
        "url": LOCAL,
        "version": "1",
        "name": "EEGEmotionCopilotCodes",
        "title": "Codes of EEG Emotion Copilot",
        "status": "draft",
        "experimental": True,
        "description": "The nine target emotions of the FACED film clips and what a record says of their estimate.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(concepts),
        "concept": [{"code": code, "display": display} for code, display in concepts.items()],
    }
