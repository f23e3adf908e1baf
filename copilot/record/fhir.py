"""The record as a FHIR R4 Bundle of type ``collection``.

Resources: Patient without a name, Devices (this program and the model with its file's digest), Observations (the
estimate with nine scores, signal quality, what people entered), DiagnosticReport, DocumentReferences (the page to print
and the recording, which is named by its digest only), Provenance of the draft and of what people did, and our code
system. Never a Condition, MedicationRequest or CarePlan: an estimate of an evoked emotion is none of these.

R4B classes are right for R4: these resources are the same in both (hl7.org, R4B/r3maps.html).
"""

import json
from typing import Any

from copilot.record.fhir_check import check_bundle
from copilot.record.fhir_codes import make_code_system
from copilot.record.fhir_observations import list_observations
from copilot.record.fhir_parts import Names, add_labels, describe_device, describe_model, describe_patient
from copilot.record.fhir_report import (
    describe_document,
    describe_draft_provenance,
    describe_recording,
    describe_report,
    describe_review_provenance,
    describe_signer,
    find_latest,
)
from copilot.record.types import Record
from dataset_builder.errors import StageError


def render_fhir(record: Record) -> bytes:
    """Return the record as FHIR R4 JSON, UTF-8; the same record gives the same bytes.

    Raises
    ------
    StageError
        If the bundle breaks a rule of FHIR or of ours; that is a fault of this program, and nothing is exported.
    """
    bundle = make_bundle(record)
    _validate_structure(bundle)
    check_bundle(bundle)
    return (json.dumps(bundle, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def make_bundle(record: Record) -> dict[str, Any]:
    """Return the bundle as plain values, unchecked."""
    names = Names(record)
    observations = list_observations(record, names)
    written = [names.refer(name) for name in observations]
    resources: dict[str, dict[str, Any]] = {
        "patient": describe_patient(record),
        "software": describe_device(record),
        "model": describe_model(record, names),
        "recording": describe_recording(record, names),
        **observations,
        "report": describe_report(record, names, written),
        "document": describe_document(record, names),
        "draft": describe_draft_provenance(record, names),
        "codes": make_code_system(record.sections),
    }
    if record.sign_off:
        resources["signer"] = describe_signer(record)
    if record.changes or record.sign_off:
        resources["review"] = describe_review_provenance(record, names)
    entries = [_make_entry(name, resource, record, names) for name, resource in resources.items()]
    return {"resourceType": "Bundle", "id": names.identify("bundle"), "type": "collection"} | {
        "timestamp": find_latest(record),
        "entry": entries,
    }


def _make_entry(name: str, resource: dict[str, Any], record: Record, names: Names) -> dict[str, Any]:
    head = {"resourceType": resource.pop("resourceType"), "id": names.identify(name)}
    return {"fullUrl": names.address(name), "resource": add_labels(name, head | resource, record)}


def _validate_structure(bundle: dict[str, Any]) -> None:
    """Hold the bundle to the definitions of its resources."""
    from fhir.resources.R4B.bundle import Bundle  # loaded by this export alone

    try:
        Bundle.model_validate(bundle)
    except ValueError as error:
        raise StageError(f"record.fhir.json: {str(error).splitlines()[0]}") from None
