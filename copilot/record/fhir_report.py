"""Report, documents and provenance of the FHIR export."""

import base64
import hashlib
from typing import Any

from copilot.record.fhir_codes import LOCAL, LOINC, PARTICIPANT, SERVICE, code_concept
from copilot.record.fhir_parts import AI_WRITTEN, STATUS, Names, identify_file, narrate
from copilot.record.html import render_html
from copilot.record.pdf import render_pdf
from copilot.record.types import Record

Values = dict[str, Any]

_TITLE = "EEG emotion record"


def describe_report(record: Record, names: Names, results: list[Values]) -> Values:
    """Return the report; final at sign-off only. Its page has no pictures of the signal: the PDF beside it has them."""
    plain = record.model_copy(update={"pictures": []})
    values: Values = {
        "resourceType": "DiagnosticReport",
        "text": narrate(f"{_TITLE}, {record.status}. {record.notice}"),
        "status": STATUS[record.status],
        "category": [code_concept(SERVICE, "EN")],
        "code": code_concept(LOINC, "11523-8", "EEG study"),
        "subject": names.refer("patient"),
        "result": results,
        "conclusion": conclude(record),
        "presentedForm": [_attach(render_html(plain), "text/html", record)],
    }
    if record.sign_off:
        signed = {"issued": find_latest(record), "resultsInterpreter": [names.refer("signer")]}
        values |= signed
    return values


def conclude(record: Record) -> str:
    """Return the record in a few sentences: estimate, assessment, options, notes, limits; who wrote what is said."""
    estimate = record.estimate
    lines = [record.notice, f"{estimate.wording}: {estimate.emotion or 'none. ' + estimate.reason}"]
    if estimate.override:
        lines.append(f"A person states: {estimate.override}")
    if record.assessment and record.assessment.text:
        lines.append(f"Assessment ({record.assessment.origin}): {record.assessment.text}")
    lines += [
        f"Option to discuss ({line.origin}, {line.id}): {line.text} {line.source.url}" for line in record.suggestions
    ]
    lines += [f"Note ({note.role}): {note.text}" for note in record.notes]
    return "\n".join(lines)


def describe_document(record: Record, names: Names) -> Values:
    """Return the printed record as a document."""
    values: Values = {
        "resourceType": "DocumentReference",
        "text": narrate(f"{_TITLE} as PDF, {record.status}."),
        "status": "current",
        "docStatus": STATUS[record.status],
        "type": code_concept(LOINC, "11523-8", "EEG study"),
        "subject": names.refer("patient"),
        "date": find_latest(record),
        "author": [names.refer("software")],
        "content": [{"attachment": _attach(render_pdf(record), "application/pdf", record)}],
    }
    return values | ({"authenticator": names.refer("signer")} if record.sign_off else {})


def describe_recording(record: Record, names: Names) -> Values:
    """Return the recording, which stays where it is: its digest alone links to it."""
    facts = record.recording
    attachment = {"contentType": "application/octet-stream", "title": "EEG recording, not included"}
    return {
        "resourceType": "DocumentReference",
        "text": narrate(f"EEG recording of {len(facts.channels)} channels, {facts.seconds:g} s; not included."),
        **({"identifier": [identify_file(facts.sha256)]} if facts.sha256 else {}),
        "status": "current",
        "type": code_concept(LOCAL, "eeg-recording", "EEG recording"),
        "subject": names.refer("patient"),
        "content": [{"attachment": attachment}],
    }


def describe_signer(record: Record) -> Values:
    """Return who answers for the record."""
    assert record.sign_off is not None
    return {
        "resourceType": "Practitioner",
        "text": narrate(f"{record.sign_off.name}, {record.sign_off.role}"),
        "name": [{"text": record.sign_off.name}],
        "qualification": [{"code": {"text": record.sign_off.role}}],
    }


def describe_draft_provenance(record: Record, names: Names) -> Values:
    """Return who drafted what the model asserted: the model is its author, the program put it together."""
    return {
        "resourceType": "Provenance",
        "text": narrate("Drafted by a program."),
        "target": [names.refer(name) for name in AI_WRITTEN],
        "recorded": record.created,
        "agent": [
            {"type": code_concept(PARTICIPANT, "assembler"), "who": names.refer("software")},
            {"type": code_concept(PARTICIPANT, "author"), "who": names.refer("model")},
        ],
        "entity": [{"role": "source", "what": names.refer("recording")}],
    }


def describe_review_provenance(record: Record, names: Names) -> Values:
    """Return what people did: who changed it, who answers for it, and the draft that they began with."""
    roles = list(dict.fromkeys(change.role for change in record.changes))
    agents: list[Values] = [{"type": code_concept(PARTICIPANT, "author"), "who": {"display": role}} for role in roles]
    if record.sign_off:
        signer = names.refer("signer")
        agents += [{"type": code_concept(PARTICIPANT, kind), "who": signer} for kind in ("verifier", "legal")]
    draft = {"identifier": identify_file(record.draft_sha256), "display": "the machine's draft"}
    return {
        "resourceType": "Provenance",
        "text": narrate(f"Reviewed by a person; {record.status}."),
        "target": [names.refer("report"), names.refer("document")],
        "recorded": find_latest(record),
        "agent": agents,
        "entity": [{"role": "revision", "what": draft}],
    }


def find_latest(record: Record) -> str:
    """Return when a person last did something; when it was drafted if nobody did."""
    times = [change.time for change in record.changes] + ([record.sign_off.time] if record.sign_off else [])
    return max(times, default=record.created)


def _attach(data: bytes, kind: str, record: Record) -> Values:
    """Return a file inside the bundle; R4 wants the SHA-1 of its bytes."""
    return {
        "contentType": kind,
        "language": "en",
        "data": base64.b64encode(data).decode("ascii"),
        "size": len(data),
        "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii"),
        "title": f"{_TITLE} ({'signed' if record.signed else 'draft'})",
        "creation": record.created,
    }
