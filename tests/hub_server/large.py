"""Large files over LFS: a batch that says where to, the bytes (whole or in parts), a check of what arrived."""

import hashlib

from tests.hub_server.http import NAME, PREFIX, Answer, Request, reply, route
from tests.hub_server.store import Refusal, Repo

_OBJECT = r"/lfs/(?P<kind>models|datasets|spaces)/(?P<name>[\w.-]+/[\w.-]+)"


@route("POST", rf"/{PREFIX}{NAME}\.git/info/lfs/objects/batch")
def plan_upload(request: Request, prefix: str, name: str) -> Answer:
    """Say for each object where it goes; nothing for what is there already, which is how uploads resume."""
    kind, asked = prefix.strip("/") or "models", request.json()
    request.need_user()
    repo = request.find(kind, name)
    if asked.get("operation") != "upload" or asked.get("hash_algo", "sha256") != "sha256":
        raise Refusal(422, "only uploads with sha256 are known")
    in_parts = request.hub.part_bytes and "multipart" in asked.get("transfers", [])
    rows = []
    for item in asked["objects"]:
        row = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in repo.objects:
            base = f"{request.hub.url}/lfs/{kind}/{name}"
            parts = in_parts and item["size"] > request.hub.part_bytes
            row["actions"] = {
                "upload": _plan_parts(request, base, item) if parts else {"href": f"{base}/upload/{item['oid']}"},
                "verify": {"href": f"{base}/verify/{item['oid']}"},
            }
        rows.append(row)
    return reply({"transfer": "multipart" if in_parts else "basic", "objects": rows})


def _plan_parts(request: Request, base: str, item: dict[str, int | str]) -> dict[str, object]:
    size, part = int(item["size"]), request.hub.part_bytes
    places = {str(n): f"{base}/part/{item['oid']}/{n}" for n in range(1, -(-size // part) + 1)}
    return {"href": f"{base}/complete/{item['oid']}", "header": {"chunk_size": str(part)} | places}


@route("PUT", rf"{_OBJECT}/upload/(?P<oid>\w+)")
def take_object(request: Request, kind: str, name: str, oid: str) -> Answer:
    _keep(request.hub.repo(kind, name), oid, request.body)
    return Answer(200, headers={"ETag": f'"{oid}"'})


@route("PUT", rf"{_OBJECT}/part/(?P<oid>\w+)/(?P<number>\d+)")
def take_part(request: Request, kind: str, name: str, oid: str, number: str) -> Answer:
    if not 0 < len(request.body) <= request.hub.part_bytes:
        raise Refusal(400, "EntityTooLarge or empty part")
    request.hub.store.parts.setdefault(f"{kind}/{name}/{oid}", {})[int(number)] = request.body
    return Answer(200, headers={"ETag": f'"{hashlib.md5(request.body, usedforsecurity=False).hexdigest()}"'})


@route("POST", rf"{_OBJECT}/complete/(?P<oid>\w+)")
def join_parts(request: Request, kind: str, name: str, oid: str) -> Answer:
    parts = request.hub.store.parts.get(f"{kind}/{name}/{oid}", {})
    listed = [item["partNumber"] for item in request.json()["parts"]]
    if listed != sorted(parts) or listed != list(range(1, len(listed) + 1)):
        raise Refusal(400, "InvalidPart: the list differs from what arrived")
    _keep(request.hub.repo(kind, name), oid, b"".join(parts[number] for number in listed))
    del request.hub.store.parts[f"{kind}/{name}/{oid}"]
    return reply({"success": True})


@route("POST", rf"{_OBJECT}/verify/(?P<oid>\w+)")
def verify_object(request: Request, kind: str, name: str, oid: str) -> Answer:
    request.need_user()
    asked, data = request.json(), request.hub.repo(kind, name).objects.get(oid)
    if data is None or len(data) != asked["size"] or asked["oid"] != oid:
        raise Refusal(422, "object was not uploaded, or is of another size")
    return reply({})


def _keep(repo: Repo, oid: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != oid:
        raise Refusal(400, "XAmzContentSHA256Mismatch: what arrived is not what was announced")
    repo.objects[oid] = data
