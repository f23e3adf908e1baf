"""What a bundle must hold to beyond the structure of its resources: references, value sets, labels, honesty.

The structural library knows no value sets and follows no reference. These checks run at every export; each rule says
what it found in one line.
"""

import base64
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from copilot.record.fhir_codes import CODES, LOCAL, SHA256
from dataset_builder.errors import StageError
from dataset_builder.types import EMOTIONS

Values = dict[str, Any]

#: Resources that an export may hold; anything that claims a disorder or orders care is none of them.
ALLOWED = {
    "Patient": 1,
    "Device": 2,
    "Observation": 99,
    "DiagnosticReport": 1,
    "DocumentReference": 2,
    "Provenance": 2,
    "Practitioner": 1,
    "CodeSystem": 1,
}

#: Required codes of elements (HL7 FHIR 4.0.1): type and element -> accepted values. Ours are subsets on purpose.
VALUE_SETS: dict[tuple[str, str], set[str]] = {
    ("Bundle", "type"): {"collection"},
    ("Patient", "gender"): {"male", "female", "unknown"},
    ("Observation", "status"): {"preliminary", "final", "amended"},
    ("DiagnosticReport", "status"): {"preliminary", "final", "amended"},
    ("DocumentReference", "status"): {"current"},
    ("DocumentReference", "docStatus"): {"preliminary", "final", "amended"},
    ("CodeSystem", "status"): {"draft"},
    ("CodeSystem", "content"): {"complete"},
}

#: What tells who a person is and may not stand in a Patient.
_IDENTIFYING = ("name", "birthDate", "address", "telecom", "identifier", "photo", "contact", "deceasedDateTime")


def check_bundle(bundle: Values) -> None:
    """Refuse a bundle that breaks a rule.

    Raises
    ------
    StageError
        Names the first rule that is broken.
    """
    for problem in find_problems(bundle):
        raise StageError(f"record.fhir.json: {problem}")


def find_problems(bundle: Values) -> list[str]:
    """Return what is wrong with a bundle, one line each; empty when nothing is."""
    return [problem for rule in RULES for problem in rule(bundle)]


def list_resources(bundle: Values, kind: str = "") -> list[Values]:
    """Return the resources of a bundle, of one type if asked."""
    found = [entry.get("resource", {}) for entry in bundle.get("entry", [])]
    return [resource for resource in found if not kind or resource.get("resourceType") == kind]


def _check_types(bundle: Values) -> Iterator[str]:
    kinds = [str(resource.get("resourceType")) for resource in list_resources(bundle)]
    yield from (f"holds a {kind}, which an export never does" for kind in sorted(set(kinds) - set(ALLOWED)))
    yield from (f"holds {kinds.count(k)} {k}; accepted: {n}" for k, n in ALLOWED.items() if kinds.count(k) > n)
    needed = ("Patient", "Device", "Observation", "DiagnosticReport", "Provenance", "CodeSystem")
    yield from (f"lacks a {kind}" for kind in needed if kind not in kinds)


def _check_addresses(bundle: Values) -> Iterator[str]:
    """Every address is a UUID of its own that ends in the resource's identifier; every reference leads somewhere."""
    addresses = [str(entry.get("fullUrl")) for entry in bundle.get("entry", [])]
    yield from (f"fullUrl {a} is given twice" for a in sorted({a for a in addresses if addresses.count(a) > 1}))
    for entry in bundle.get("entry", []):
        if entry.get("fullUrl") != f"urn:uuid:{entry.get('resource', {}).get('id')}":
            yield f"fullUrl {entry.get('fullUrl')} is not that of its resource"
    for node in _walk(bundle):
        if "reference" in node and node["reference"] not in addresses:
            yield f"reference {node['reference']} leads nowhere"


def _check_value_sets(bundle: Values) -> Iterator[str]:
    for resource in (bundle, *list_resources(bundle)):
        for (kind, element), accepted in VALUE_SETS.items():
            if resource.get("resourceType") == kind and resource.get(element, next(iter(accepted))) not in accepted:
                yield f"{kind}.{element} {resource[element]!r}; accepted: {', '.join(sorted(accepted))}"


def _check_codes(bundle: Values) -> Iterator[str]:
    """Only codes that were checked leave the program, and our own as the bundle's code system lists them."""
    local = {concept.get("code") for system in list_resources(bundle, "CodeSystem") for concept in system["concept"]}
    for node in _walk(bundle):
        system, code = node.get("system"), node.get("code")
        if system is None or not isinstance(code, str):
            continue
        if code not in (local if system == LOCAL else CODES.get(system, {})):
            yield f"code {code!r} of {system} is not one that was checked"
        if system in CODES and "display" in node and node["display"] != CODES[system].get(code):
            yield f"code {code!r} of {system} has a name that is not its own"


def _check_values(bundle: Values) -> Iterator[str]:
    """Hold observations to one value or a reason why not, and the nine scores to a sum of 1."""
    for resource in list_resources(bundle, "Observation"):
        name = resource.get("code", {}).get("text", "?")
        values = [key for key in resource if key.startswith("value")]
        given = len(values) + ("dataAbsentReason" in resource)
        if given > 1:
            yield f"Observation {name!r} has {given} values or reasons; accepted: one"
        if not given and not resource.get("component"):
            yield f"Observation {name!r} has neither a value nor a reason why not"
        codes = [part.get("code", {}).get("coding", [{}])[0].get("code") for part in resource.get("component", [])]
        if len(codes) != len(set(codes)):
            yield f"Observation {name!r} has a component twice"
        if _is_code(resource, "emotion-estimate"):
            yield from _check_scores(resource, codes)


def _check_scores(estimate: Values, codes: list[str]) -> Iterator[str]:
    if not codes and "valueCodeableConcept" not in estimate:
        return
    if codes != list(EMOTIONS):
        yield f"the estimate has {len(codes)} scores; accepted: the nine emotions in order"
    shares = [part.get("valueQuantity", {}).get("value", math.nan) for part in estimate.get("component", [])]
    if not math.isclose(math.fsum(shares), 1, abs_tol=1e-4) or min(shares, default=0) < 0:
        yield "the nine scores do not sum to 1"


def _check_people(bundle: Values) -> Iterator[str]:
    for patient in list_resources(bundle, "Patient"):
        yield from (f"Patient.{key} tells who the person is" for key in _IDENTIFYING if key in patient)


def _check_labels(bundle: Values) -> Iterator[str]:
    """All is restricted and for research; what the model asserted says so."""
    for resource in list_resources(bundle):
        labels = {label.get("code") for label in resource.get("meta", {}).get("security", [])}
        kind = resource.get("resourceType")
        asserted = kind == "DiagnosticReport" or _is_code(resource, "emotion-estimate") or "docStatus" in resource
        needed = {"R", "HRESCH"} | ({"AIAST"} if asserted else set())
        yield from (f"{kind} lacks the label {label}" for label in sorted(needed - labels))


def _check_sign_off(bundle: Values) -> Iterator[str]:
    """Nothing is final without a person who answers for it; all that has a status has the same."""
    dated = [*list_resources(bundle, "Observation"), *list_resources(bundle, "DiagnosticReport")]
    status = {str(resource.get("status")) for resource in dated}
    status |= {r["docStatus"] for r in list_resources(bundle, "DocumentReference") if "docStatus" in r}
    signed = bool(list_resources(bundle, "Practitioner"))
    if len(status) > 1:
        yield f"resources are {' and '.join(sorted(status))} at once"
    if signed is not (status <= {"final", "amended"}):
        yield "status and sign-off contradict each other"
    proofs = list_resources(bundle, "Provenance")
    if signed and not any(_verifies(proof) for proof in proofs):
        yield "no Provenance names who verified the report"


def _verifies(proof: Values) -> bool:
    types = [agent.get("type", {}) for agent in proof.get("agent", [])]
    return any(coding.get("code") == "verifier" for kind in types for coding in kind.get("coding", []))


def _check_files(bundle: Values) -> Iterator[str]:
    """Attached files are what their digest and size say; digests of files are digests."""
    for node in _walk(bundle):
        if "contentType" in node and "data" in node:
            data = base64.b64decode(node["data"])
            digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
            if node.get("size") != len(data) or node.get("hash") != digest:
                yield f"attachment {node['contentType']} is not what its size and hash say"
        if node.get("system") == SHA256 and not _is_digest(node.get("value")):
            yield "a file's identifier is no SHA-256"


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _is_code(resource: Values, code: str) -> bool:
    codings = resource.get("code", {}).get("coding", []) if isinstance(resource.get("code"), dict) else []
    return any(coding.get("system") == LOCAL and coding.get("code") == code for coding in codings)


def _walk(node: Any) -> Iterator[Values]:
    """Yield every object in a bundle."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(child)


RULES: tuple[Callable[[Values], Iterator[str]], ...] = (
    _check_types,
    _check_addresses,
    _check_value_sets,
    _check_codes,
    _check_values,
    _check_people,
    _check_labels,
    _check_sign_off,
    _check_files,
)
