"""Who am I, repositories and their settings, gates, Spaces."""

from typing import Any

from tests.hub_server.http import NAME, REPO, Answer, Request, reply, route
from tests.hub_server.store import KINDS, USERS, Refusal, Repo
from tests.hub_server.validation import read_header


@route("GET", r"/api/whoami-v2")
def tell_who(request: Request) -> Answer:
    user = request.need_user()
    role, namespaces = USERS[request.token][1:]
    access = {"displayName": "test", "role": role, "createdAt": "2026-01-01T00:00:00.000Z"}
    organisations = [{"type": "org", "name": name, "fullname": name} for name in sorted(namespaces - {user})]
    auth = {"type": "access_token", "accessToken": access}
    person = {"type": "user", "id": user, "name": user, "fullname": user, "email": f"{user}@example.org"}
    return reply(person | {"isPro": False, "orgs": organisations, "auth": auth})


@route("POST", r"/api/repos/create")
def create_repo(request: Request) -> Answer:
    kind, name, asked = _read_target(request)
    request.need_write(name.split("/")[0], f"You don't have the rights to create a {kind[:-1]} under this namespace")
    if kind == "spaces" and asked.get("sdk") not in ("gradio", "docker", "static"):
        raise Refusal(400, '"sdk" must be one of [gradio, docker, static]')
    url = f"{request.hub.url}/{'' if kind == 'models' else f'{kind}/'}{name}"
    if (kind, name) in request.hub.repos:
        raise Refusal(409, f"You already created this {kind[:-1]} repo", url=url)
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    request.hub.repos[kind, name] = Repo(kind, name, private, sdk=asked.get("sdk") or "")
    return reply({"url": url, "name": name, "id": name})


@route("DELETE", r"/api/repos/delete")
def delete_repo(request: Request) -> Answer:
    kind, name, _ = _read_target(request)
    request.find(kind, name, write=True)
    del request.hub.repos[kind, name]
    return reply({})


def _read_target(request: Request) -> tuple[str, str, dict[str, Any]]:
    user, asked = request.need_user(), request.json()
    kind = f"{asked.get('type') or 'model'}s"
    if kind not in KINDS:
        raise Refusal(400, f'"type" must be one of [model, dataset, space], not {asked.get("type")!r}')
    if not isinstance(asked.get("name"), str) or "/" in asked["name"]:
        raise Refusal(400, '"name" must be a name without a slash')
    return kind, f"{asked.get('organization') or user}/{asked['name']}", asked


@route("PUT", rf"{REPO}/settings")
def change_settings(request: Request, kind: str, name: str) -> Answer:
    repo, asked = request.find(kind, name, write=True), request.json()
    if unknown := set(asked) - {"gated", "visibility", "private"}:
        raise Refusal(400, f"unknown settings {sorted(unknown)}")
    if asked.get("gated", False) not in ("auto", "manual", False):
        raise Refusal(400, '"gated" must be one of [auto, manual, false]')
    repo.gated = asked.get("gated", repo.gated)
    if "visibility" in asked or "private" in asked:
        repo.private = asked.get("visibility") == "private" or bool(asked.get("private"))
    return reply({"gated": repo.gated, "private": repo.private})


@route("GET", r"/api/(?P<kind>models|datasets|spaces)")
def list_repos(request: Request, kind: str) -> Answer:
    author = request.argument("author")
    seen = [
        repo
        for (repo_kind, name), repo in sorted(request.hub.repos.items())
        if repo_kind == kind and name.split("/")[0] == author and (not repo.private or request.may_write(author))
    ]
    return reply([_describe(repo, "main") for repo in seen])


@route("GET", REPO)
def show_repo(request: Request, kind: str, name: str) -> Answer:
    return reply(_describe(request.find(kind, name), "main", blobs=bool(request.argument("blobs"))))


@route("GET", rf"{REPO}/revision/(?P<revision>[^/]+)")
def show_revision(request: Request, kind: str, name: str, revision: str) -> Answer:
    return reply(_describe(request.find(kind, name), revision, blobs=bool(request.argument("blobs"))))


def _describe(repo: Repo, revision: str, *, blobs: bool = False) -> dict[str, Any]:
    commit = repo.commits[repo.resolve(revision)]
    card = read_header(commit.files["README.md"].data) if "README.md" in commit.files else {}
    rows = []
    for path, blob in sorted(commit.files.items()):
        row = blob.row(path)
        extra = {"size": row["size"], "blobId": row["oid"]} | ({"lfs": row["lfs"]} if blob.lfs else {})
        rows.append({"rfilename": path} | (extra if blobs else {}))
    info = {
        "_id": repo.name, "id": repo.name, "modelId": repo.name, "author": repo.name.split("/")[0], "sha": commit.sha,
        "lastModified": commit.date, "createdAt": "2026-01-01T00:00:00.000Z", "private": repo.private,
        "gated": repo.gated, "disabled": False, "downloads": 0, "likes": 0, "tags": _list_tags(card), "siblings": rows,
        "cardData": card,
    }  # fmt: skip
    return info | ({"sdk": repo.sdk, "runtime": {"stage": "RUNNING"}} if repo.kind == "spaces" else {})


def _list_tags(card: dict[str, Any]) -> list[str]:
    """Return the tags that search and the tree of models read, as the Hub derives them from a card."""
    base, relation = card.get("base_model"), card.get("base_model_relation")
    bases = [base] if isinstance(base, str) else list(base or [])
    tags = [f"base_model:{name}" for name in bases]
    tags += [f"base_model:{relation}:{name}" for name in bases if relation]
    tags += [f"license:{card['license']}"] if isinstance(card.get("license"), str) else []
    return [*map(str, card.get("tags") or []), *tags]


@route("GET", rf"{REPO}/auth-check(?P<write>/write)?")
def check_access(request: Request, kind: str, name: str, write: str) -> Answer:
    request.need_access(request.find(kind, name, write=bool(write)))
    return reply({})


@route("POST", rf"{REPO}/user-access-request/grant")
def grant_access(request: Request, kind: str, name: str) -> Answer:
    return _set_access(request, kind, name, request.json().get("user", ""), "accepted", new=True)


@route("POST", rf"{REPO}/user-access-request/handle")
def handle_access(request: Request, kind: str, name: str) -> Answer:
    asked = request.json()
    return _set_access(request, kind, name, asked.get("user", ""), asked.get("status", ""), new=False)


def _set_access(request: Request, kind: str, name: str, user: str, status: str, *, new: bool) -> Answer:
    repo = request.find(kind, name, write=True)
    if not repo.gated:
        raise Refusal(400, "this repo is not gated")
    if status not in ("accepted", "rejected", "pending") or not (new or user in repo.access):
        raise Refusal(404, "no such access request")
    if repo.access.get(user) == status:
        raise Refusal(400 if new else 404, f"the request is {status} already")
    repo.access[user] = status
    return reply({})


@route("POST", rf"/(?P<prefix>datasets/|){NAME}/ask-access")
def ask_access(request: Request, prefix: str, name: str) -> Answer:
    """Ask at the gate: open at once where it is automatic, and waiting for somebody where it is manual."""
    repo, user = request.find(prefix.strip("/") or "models", name), request.need_user()
    repo.access.setdefault(user, "accepted" if repo.gated == "auto" else "pending")
    return reply({"status": repo.access[user]})


@route("GET", rf"{REPO}/user-access-request/(?P<status>pending|accepted|rejected)")
def list_access(request: Request, kind: str, name: str, status: str) -> Answer:
    repo = request.find(kind, name, write=True)
    when = "2026-01-01T00:00:00.000Z"
    return reply(
        [
            {
                "requestId": f"r-{user}",
                "user": {"_id": user, "user": user, "fullname": user},
                "status": state,
                "timestamp": when,
            }
            for user, state in sorted(repo.access.items())
            if state == status
        ]
    )


@route("GET", rf"/api/spaces/{NAME}/runtime")
def show_runtime(request: Request, name: str) -> Answer:
    repo = request.find("spaces", name)
    hardware = {"current": "cpu-basic", "requested": "cpu-basic"}
    return reply({"stage": "RUNNING" if "README.md" in repo.tree("main") else "NO_APP_FILE", "hardware": hardware})
