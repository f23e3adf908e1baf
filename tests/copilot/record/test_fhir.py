"""The FHIR export, held to two validators that are not ours and to our own rules; planted faults are found."""

import base64
import copy
import json
import re
from collections.abc import Callable
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from copilot.record import render_fhir
from copilot.record.audit import write_time
from copilot.record.fhir import make_bundle
from copilot.record.fhir_check import ALLOWED, check_bundle, find_problems, list_resources
from copilot.record.fhir_codes import CODES, LOCAL, make_code_system
from copilot.record.html import render_html
from dataset_builder.errors import StageError
from dataset_builder.types import EMOTIONS
from tests.copilot.copilot_fakes import CREATED
from tests.copilot.record.review_fakes import (
    AMENDER,
    MOMENT,
    edit_all,
    make_reviews,
    quick_record,
    sign_review,
    start_review,
)

Values = dict[str, Any]

#: Both libraries read accepted codes from an element's short description, which ends in "+" there: of R4's list
#: (registered, partial, preliminary, final, amended ...) they know the first four.
SHORT_LIST = "Code 'amended' is not in required ValueSet"


@pytest.fixture(scope="module")
def bundles() -> dict[str, Values]:
    return {name: json.loads(render_fhir(review.record)) for name, review in make_reviews().items()}


@pytest.fixture(scope="module")
def pyrofile(tmp_path_factory) -> Callable[[Values], list[str]]:
    """Return the validator of pyrofile; it may write beside itself, so it works in a folder of its own."""
    from pyrofile_validator import Validator
    from pyrofile_validator.models import Severity

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pyrofile"))
        validator = Validator()

        def validate(bundle: Values) -> list[str]:
            found = [issue for issue in validator.validate_resource(bundle).issues if issue.severity == Severity.ERROR]
            return [
                f"{issue.path}: {issue.message}"
                for issue in found
                if not (issue.path == "DiagnosticReport.status" and issue.message.startswith(SHORT_LIST))
            ]

        yield validate  # type: ignore[misc]


def hl7_classes(bundle: Values) -> list[str]:
    """Return what the R4B classes say of a bundle."""
    try:
        Bundle.model_validate(copy.deepcopy(bundle))
    except ValueError as error:
        return [str(error).splitlines()[0]]
    return []


def find(bundle: Values, kind: str, code: str = "") -> Values:
    """Return the first resource of a type, with a local code if asked."""
    found = list_resources(bundle, kind)
    return next(r for r in found if not code or r.get("code", {}).get("coding", [{}])[0].get("code") == code)


STATUSES = {
    "draft": "preliminary",
    "abstained": "preliminary",
    "unsure": "preliminary",
    "edited": "preliminary",
    "signed": "final",
    "amended": "amended",
}


@pytest.mark.parametrize("name", STATUSES)
def test_every_record_passes_every_validator(name, bundles, pyrofile):
    bundle = bundles[name]
    assert hl7_classes(bundle) == []
    assert pyrofile(bundle) == []
    assert find_problems(bundle) == []


@pytest.mark.parametrize("name", STATUSES)
def test_status_follows_the_record(name, bundles):
    bundle, status = bundles[name], STATUSES[name]
    assert find(bundle, "DiagnosticReport")["status"] == status
    assert {resource["status"] for resource in list_resources(bundle, "Observation")} == {status}
    assert [r["docStatus"] for r in list_resources(bundle, "DocumentReference") if "docStatus" in r] == [status]
    assert ("issued" in find(bundle, "DiagnosticReport")) is (status != "preliminary")
    assert bool(list_resources(bundle, "Practitioner")) is (status != "preliminary")
    assert len(list_resources(bundle, "Provenance")) == (1 if name in ("draft", "abstained", "unsure") else 2)


def test_an_amended_record_is_dated_by_its_latest_change(bundles):
    review = sign_review(edit_all(start_review()))
    review.edit("assessment.text", "The person spoke of sadness.", **AMENDER, moment=MOMENT + timedelta(days=2))
    dated = [("draft", CREATED), ("signed", MOMENT), ("amended", MOMENT + timedelta(days=2))]
    for name, moment in dated:
        bundle = make_bundle(review.record) if name == "amended" else bundles[name]
        document = next(r for r in list_resources(bundle, "DocumentReference") if "docStatus" in r)
        assert bundle["timestamp"] == document["date"] == write_time(moment)


def test_the_nine_scores_are_components(bundles):
    estimate = find(bundles["draft"], "Observation", "emotion-estimate")
    codes = [part["code"]["coding"][0]["code"] for part in estimate["component"]]
    assert codes == list(EMOTIONS)
    assert sum(part["valueQuantity"]["value"] for part in estimate["component"]) == pytest.approx(1, abs=1e-5)
    assert estimate["valueCodeableConcept"]["coding"][0] == {
        "system": LOCAL,
        "code": "fear",
        "display": "Evoked emotion: fear",
    }
    assert estimate["device"]["reference"] == next(
        entry["fullUrl"] for entry in bundles["draft"]["entry"] if entry["resource"].get("identifier")
    )


@pytest.mark.parametrize(("name", "code", "n"), [("abstained", "not-performed", 0), ("unsure", "unknown", 9)])
def test_an_abstaining_record_says_why_there_is_no_value(name, code, n, bundles):
    estimate = find(bundles[name], "Observation", "emotion-estimate")
    assert estimate["dataAbsentReason"]["coding"][0]["code"] == code
    assert len(estimate["dataAbsentReason"]["text"]) > 30
    assert not [key for key in estimate if key.startswith("value")]
    assert len(estimate.get("component", [])) == n


def test_the_model_is_named_by_the_digest_of_its_file(bundles):
    models = [device for device in list_resources(bundles["draft"], "Device") if "identifier" in device]
    assert [device["identifier"][0]["value"] for device in models] == ["ab" * 32]
    assert models[0]["deviceName"] == [{"name": "tiny", "type": "model-name"}]
    assert models[0]["parent"]


def test_the_patient_has_no_name_and_no_date(bundles):
    assert set(find(bundles["signed"], "Patient")) == {"resourceType", "id", "meta", "text", "gender"}


@pytest.mark.parametrize("age", [None, 24, 95])
def test_ages_above_89_are_one_group(age):
    from dataclasses import replace

    from tests.copilot.record.review_fakes import quick_recording

    bundle = make_bundle(quick_record(recording=replace(quick_recording(), age=age)))
    ages = [o for o in list_resources(bundle, "Observation") if o["code"]["coding"][0]["code"] == "age"]
    said = [o.get("valueString") or o["valueQuantity"]["value"] for o in ages]
    assert said == ([] if age is None else ["90 or older" if age > 89 else age])


def test_what_people_entered_has_its_code_and_its_performer(bundles):
    bundle = bundles["signed"]
    signer = next(e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Practitioner")
    for code, value in (("44261-6", 12), ("44260-8", 2)):
        entered = find(bundle, "Observation", code)
        assert entered["valueQuantity"]["value"] == value
        assert entered["category"][0]["coding"][0]["code"] == "survey"
        assert entered["performer"] == [{"reference": signer}]
        assert "MH" in {label["code"] for label in entered["meta"]["security"]}
    assert find(bundle, "Observation", "hand-off")["valueString"].startswith("on-call clinician")
    assert find(bundle, "Observation", "emotion-by-person")["valueCodeableConcept"]["coding"][0]["code"] == "sadness"
    assert find(bundle, "Observation", "emotion-estimate")["valueCodeableConcept"]["coding"][0]["code"] == "fear"


def test_who_drafted_and_who_signed_stand_apart(bundles):
    drafted, reviewed = list_resources(bundles["signed"], "Provenance")
    kinds = [[a["type"]["coding"][0]["code"] for a in p["agent"]] for p in (drafted, reviewed)]
    assert kinds == [["assembler", "author"], ["author", "verifier", "legal"]]
    assert drafted["entity"][0]["role"] == "source"
    assert re.fullmatch("[0-9a-f]{64}", reviewed["entity"][0]["what"]["identifier"]["value"])


@pytest.mark.parametrize("name", STATUSES)
def test_the_model_is_author_of_what_it_asserted_alone(name, bundles):
    drafted = list_resources(bundles[name], "Provenance")[0]
    resources = {entry["fullUrl"]: entry["resource"] for entry in bundles[name]["entry"]}
    estimate, *others = [resources[target["reference"]] for target in drafted["target"]]
    assert estimate == find(bundles[name], "Observation", "emotion-estimate")
    assert [other["resourceType"] for other in others] == ["DiagnosticReport", "DocumentReference"]


def test_labels_say_what_a_machine_asserted_and_what_is_made_up(bundles):
    for resource in list_resources(bundles["draft"]):
        labels = {label["code"] for label in resource["meta"]["security"]}
        assert {"R", "HRESCH", "HTEST"} <= labels
    patient = {label["code"] for label in find(bundles["draft"], "Patient")["meta"]["security"]}
    report = {label["code"] for label in find(bundles["draft"], "DiagnosticReport")["meta"]["security"]}
    assert "AIAST" in report
    assert "AIAST" not in patient


def test_the_attached_page_and_pdf_are_those_of_the_record(bundles):
    record = make_reviews()["signed"].record
    page = find(bundles["signed"], "DiagnosticReport")["presentedForm"][0]
    assert base64.b64decode(page["data"]) == render_html(record.model_copy(update={"pictures": []}))
    document = next(r for r in list_resources(bundles["signed"], "DocumentReference") if "docStatus" in r)
    assert base64.b64decode(document["content"][0]["attachment"]["data"]).startswith(b"%PDF-")


def test_addresses_stay_when_the_record_is_signed(bundles):
    first, later = ({e["fullUrl"] for e in bundles[name]["entry"]} for name in ("draft", "signed"))
    assert first < later


def test_same_record_same_bytes():
    record = make_reviews()["signed"].record
    assert render_fhir(record) == render_fhir(record)


def test_nothing_that_orders_or_diagnoses_is_ever_in_a_bundle(bundles):
    for bundle in bundles.values():
        assert {resource["resourceType"] for resource in list_resources(bundle)} <= set(ALLOWED)
    assert not {"Condition", "MedicationRequest", "CarePlan", "ServiceRequest", "RiskAssessment"} & set(ALLOWED)


def test_the_published_code_system_is_the_one_that_travels():
    text = resources.files("copilot.record").joinpath("codesystem.json").read_text(encoding="utf-8")
    assert json.loads(text) == make_code_system(quick_record().sections)


def test_every_official_code_is_one_that_was_checked(bundles):
    used = {
        (system, code)
        for system, code in re.findall(r'"system": "([^"]+)",\s*"code": "([^"]+)"', json.dumps(bundles["amended"]))
    }
    assert len(used) > 15
    assert {(system, code) for system, code in used if system != LOCAL and code not in CODES[system]} == set()


def _mutations() -> dict[str, Callable[[Values], object]]:
    """Return faults to plant into the bundle of a signed record, each a change in place."""

    def estimate(bundle: Values) -> Values:
        return find(bundle, "Observation", "emotion-estimate")

    def report(bundle: Values) -> Values:
        return find(bundle, "DiagnosticReport")

    def proof(bundle: Values) -> Values:
        return list_resources(bundle, "Provenance")[1]

    def add(kind: str, **fields: Any) -> Callable[[Values], object]:
        identifier = "00000000-0000-4000-8000-000000000001"
        resource = {"resourceType": kind, "id": identifier, **fields}
        return lambda bundle: bundle["entry"].append({"fullUrl": f"urn:uuid:{identifier}", "resource": resource})

    subject = {"display": "x"}
    return {
        "status drafty": lambda b: report(b).update(status="drafty"),
        "unknown element": lambda b: report(b).update(mood="bad"),
        "no time of provenance": lambda b: proof(b).pop("recorded"),
        "two values": lambda b: estimate(b).update(valueString="fear"),
        "value and reason": lambda b: estimate(b).update(dataAbsentReason={"text": "none"}),
        "reference to nowhere": lambda b: report(b)["result"][0].update(reference="urn:uuid:" + "0" * 36),
        "address given twice": lambda b: b["entry"][1].update(fullUrl=b["entry"][0]["fullUrl"]),
        "address of another": lambda b: b["entry"][0].update(fullUrl="urn:uuid:" + "1" * 36),
        "diagnosis": add("Condition", subject=subject),
        "prescription": add(
            "MedicationRequest",
            status="active",
            intent="order",
            subject=subject,
            medicationCodeableConcept={"text": "sertraline"},
        ),
        "plan of care": add("CarePlan", status="active", intent="order", subject=subject),
        "risk": add("RiskAssessment", status="final", subject=subject),
        "name of the patient": lambda b: find(b, "Patient").update(name=[{"text": "Ada"}]),
        "birthday": lambda b: find(b, "Patient").update(birthDate="1931-02-03"),
        "label of the machine gone": lambda b: estimate(b)["meta"].update(security=[]),
        "score missing": lambda b: estimate(b)["component"].pop(),
        "score twice": lambda b: estimate(b)["component"].append(estimate(b)["component"][0]),
        "scores above one": lambda b: estimate(b)["component"][0]["valueQuantity"].update(value=0.9),
        "score as text": lambda b: estimate(b)["component"][0]["valueQuantity"].update(value="high"),
        "final without a signature": lambda b: [b["entry"].remove(e) for e in b["entry"][:] if _is_person(e)],
        "draft with a signature": lambda b: report(b).update(status="preliminary"),
        "no verifier": lambda b: proof(b).update(agent=proof(b)["agent"][:1]),
        "no agent": lambda b: proof(b).pop("agent"),
        "code of nobody": lambda b: report(b)["code"]["coding"][0].update(code="99999-9"),
        "unchecked SNOMED code": lambda b: report(b)["code"]["coding"].append(
            {"system": "http://snomed.info/sct", "code": "54550000"}
        ),
        "wrong name of a code": lambda b: report(b)["code"]["coding"][0].update(display="EEG therapy"),
        "local code of nobody": lambda b: estimate(b)["valueCodeableConcept"]["coding"][0].update(code="bliss"),
        "page changed": lambda b: report(b)["presentedForm"][0].update(data="AAAA"),
        "digest cut": lambda b: list_resources(b, "Device")[1]["identifier"][0].update(value="ab"),
        "no code": lambda b: estimate(b).pop("code"),
        "no subject's type": lambda b: find(b, "Patient").pop("resourceType"),
        "broken date": lambda b: report(b).update(issued="yesterday"),
        "list for a value": lambda b: estimate(b).update(status=["final"]),
        "bundle of another type": lambda b: b.update(type="batchy"),
        "no report": lambda b: b["entry"].remove(
            next(e for e in b["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
        ),
    }


def _is_person(entry: Values) -> bool:
    return entry["resource"]["resourceType"] == "Practitioner"


MUTATIONS = _mutations()
#: Structural faults, each of which a validator that is not ours must find.
STRUCTURAL = (
    "unknown element",
    "no time of provenance",
    "two values",
    "score as text",
    "no agent",
    "no code",
    "broken date",
    "list for a value",
)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_fault_is_found(name, bundles, pyrofile):
    bundle = copy.deepcopy(bundles["signed"])
    MUTATIONS[name](bundle)
    assert bundle != bundles["signed"]
    others = hl7_classes(bundle) + pyrofile(bundle)
    if name in STRUCTURAL:
        assert others
        return
    problems = find_problems(bundle)
    assert others or problems
    if problems:
        with pytest.raises(StageError, match=r"^record\.fhir\.json: [^\n]+$"):
            check_bundle(bundle)


def test_a_fault_of_ours_stops_the_export(monkeypatch):
    from copilot.record import fhir

    made = make_bundle(quick_record())
    made["entry"][0]["resource"]["mood"] = "bad"
    monkeypatch.setattr(fhir, "make_bundle", lambda record: made)
    with pytest.raises(StageError, match=r"^record\.fhir\.json: [^\n]+$"):
        render_fhir(quick_record())
