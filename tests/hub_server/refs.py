"""Branches, tags, histories, squashing."""

from tests.hub_server.http import REPO, REVISION, Answer, Request, reply, route
from tests.hub_server.store import Refusal, Repo


@route("POST", rf"{REPO}/branch/(?P<branch>[^/]+)")
def create_branch(request: Request, kind: str, name: str, branch: str) -> Answer:
    repo = request.find(kind, name, write=True)
    if branch in repo.branches:
        raise Refusal(409, f"Reference refs/heads/{branch} already exists")
    repo.branches[branch] = repo.resolve(request.json().get("startingPoint") or "main")
    return reply({}, 201)


@route("DELETE", rf"{REPO}/branch/(?P<branch>[^/]+)")
def delete_branch(request: Request, kind: str, name: str, branch: str) -> Answer:
    repo = request.find(kind, name, write=True)
    if branch == "main":
        raise Refusal(400, "the main branch cannot be deleted")
    if repo.branches.pop(branch, None) is None:
        raise Refusal(404, f"Reference {branch} does not exist", "RevisionNotFound")
    return Answer(204)


@route("POST", rf"{REPO}/tag/{REVISION}")
def create_tag(request: Request, kind: str, name: str, revision: str) -> Answer:
    repo, asked = request.find(kind, name, write=True), request.json()
    if not asked.get("tag"):
        raise Refusal(400, '"tag" is required')
    if asked["tag"] in repo.tags:
        raise Refusal(409, f"Tag reference exists already: {asked['tag']}")
    repo.tags[asked["tag"]] = repo.resolve(revision)
    return reply({})


@route("DELETE", rf"{REPO}/tag/(?P<tag>[^/]+)")
def delete_tag(request: Request, kind: str, name: str, tag: str) -> Answer:
    if request.find(kind, name, write=True).tags.pop(tag, None) is None:
        raise Refusal(404, f"Tag {tag} does not exist", "RevisionNotFound")
    return Answer(204)


@route("GET", rf"{REPO}/refs")
def list_refs(request: Request, kind: str, name: str) -> Answer:
    repo = request.find(kind, name)
    proposed = {name: sha for name, sha in repo.branches.items() if name.startswith("refs/pr/")}
    branches = {name: sha for name, sha in repo.branches.items() if name not in proposed}
    answer = {"branches": _rows(branches, "refs/heads/"), "tags": _rows(repo.tags, "refs/tags/"), "converts": []}
    if request.argument("include_prs"):
        answer["pullRequests"] = _rows(proposed, "")
    return reply(answer)


def _rows(refs: dict[str, str], prefix: str) -> list[dict[str, str]]:
    return [{"name": name, "ref": prefix + name, "targetCommit": sha} for name, sha in refs.items()]


@route("GET", rf"{REPO}/commits/{REVISION}")
def list_commits(request: Request, kind: str, name: str, revision: str) -> Answer:
    commits = _need(request, kind, name).history(revision)
    authors = [{"user": name.split("/")[0]}]
    rows = [{"id": c.sha, "title": c.title, "message": c.message, "authors": authors, "date": c.date} for c in commits]
    return reply(rows)


def _need(request: Request, kind: str, name: str) -> Repo:
    repo = request.find(kind, name)
    request.need_access(repo)
    return repo


@route("POST", rf"{REPO}/super-squash/{REVISION}")
def squash(request: Request, kind: str, name: str, revision: str) -> Answer:
    repo = request.find(kind, name, write=True)
    if revision not in repo.branches:
        raise Refusal(404, f"Reference {revision} does not exist", "RevisionNotFound")
    files = repo.tree(revision)
    del repo.branches[revision]
    repo.commit(revision, files, request.json().get("message") or "squashed")
    return reply({})
