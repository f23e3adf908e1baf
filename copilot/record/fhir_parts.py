"""Identifiers, labels and the small resources of the FHIR export: patient and devices."""

import uuid
from html import escape
from typing import Any

from copilot.record.fhir_codes import ACT, CONFIDENTIALITY, OBSERVED, PURPOSE, SHA256, code_one
from copilot.record.json import digest_record
from copilot.record.types import Record, Status

_GENDER = {"F": "female", "M": "male", None: "unknown"}

#: Status of our record -> status of Observation, DiagnosticReport and DocumentReference.
STATUS: dict[Status, str] = {"draft": "preliminary", "edited": "preliminary", "signed": "final", "amended": "amended"}

#: Resources that hold what the language model asserted.
AI_WRITTEN = ("estimate", "report", "document")


class Names:
    """Addresses of a record's resources: UUIDs that follow from its draft, so they stay when it is edited and signed.

    Parameters
    ----------
    record : Record
    """

    def __init__(self, record: Record) -> None:
        self._draft = record.draft_sha256 or digest_record(record)

    def identify(self, name: str) -> str:
        """Return a resource's identifier."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._draft}/{name}"))

    def address(self, name: str) -> str:
        """Return a resource's address within the bundle."""
        return f"urn:uuid:{self.identify(name)}"

    def refer(self, name: str) -> dict[str, str]:
        """Return a reference to a resource."""
        return {"reference": self.address(name)}


def add_labels(name: str, resource: dict[str, Any], record: Record) -> dict[str, Any]:
    """Return the resource with its security labels, right after its type and identifier.

    Everything is restricted and for research; made-up data are test data; what the model asserted says so.
    """
    labels = [code_one(CONFIDENTIALITY, "R"), code_one(PURPOSE, "HRESCH")]
    labels += [code_one(PURPOSE, "HTEST")] if record.synthetic else []
    labels += [code_one(OBSERVED, "AIAST")] if name in AI_WRITTEN else []
    labels += [code_one(ACT, "MH")] if name.startswith("questionnaire") or name == "hand-off" else []
    head = {key: resource[key] for key in ("resourceType", "id")}
    return head | {"meta": {"security": labels}} | {key: value for key, value in resource.items() if key not in head}


def narrate(text: str) -> dict[str, str]:
    """Return a resource's narrative: one paragraph of plain text."""
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div>'}


def identify_file(sha256: str) -> dict[str, str]:
    """Return the identifier of a file: its digest."""
    return {"system": SHA256, "value": sha256}


def describe_patient(record: Record) -> dict[str, Any]:
    """Return who was recorded: a sex, no name, no date. The year of birth would need that of the recording."""
    return {
        "resourceType": "Patient",
        "text": narrate("A person without identifiers."),
        "gender": _GENDER[record.subject.sex],
    }


def describe_device(record: Record) -> dict[str, Any]:
    """Return this program."""
    version = record.provenance.software.get("eeg-emotion-copilot", "")
    return {
        "resourceType": "Device",
        "text": narrate("EEG Emotion Copilot: research software, not a medical device."),
        "deviceName": [{"name": "EEG Emotion Copilot", "type": "model-name"}],
        **({"version": [{"value": version}]} if version else {}),
        "note": [{"text": record.notice}],
    }


def describe_model(record: Record, names: Names) -> dict[str, Any]:
    """Return the language model, identified by the digest of its file."""
    facts = record.provenance
    told = {"quantisation": facts.quantisation, "base": facts.base, "codec": facts.codec, "corpus": facts.corpus}
    versions = [{"type": {"text": key}, "value": value} for key, value in told.items() if value]
    return {
        "resourceType": "Device",
        "text": narrate(f"Language model {facts.model}."),
        "identifier": [identify_file(facts.gguf_sha256)],
        "deviceName": [{"name": facts.model or "unnamed", "type": "model-name"}],
        **({"version": versions} if versions else {}),
        "parent": names.refer("software"),
    }
