"""Discussions and pull requests."""

from typing import Any

from tests.hub_server.http import REPO, Answer, Request, reply, route
from tests.hub_server.store import Files, Proposal, Refusal, Repo

_DATE = "2026-01-01T00:00:00.000Z"
_ONE = rf"{REPO}/discussions/(?P<number>\d+)"


@route("POST", rf"{REPO}/discussions")
def open_discussion(request: Request, kind: str, name: str) -> Answer:
    """Open a discussion; pull requests are born as drafts."""
    user, repo, asked = request.need_user(), request.find(kind, name), request.json()
    if not str(asked.get("title") or "").strip():
        raise Refusal(400, '"title" is required')
    as_pr = bool(asked.get("pullRequest"))
    proposal = repo.propose(asked["title"], pull_request=as_pr, status="draft" if as_pr else "open")
    _add_event(proposal, user, "comment", latest={"raw": asked.get("description"), "updatedAt": _DATE})
    return reply(_describe(repo, proposal))


@route("GET", rf"{REPO}/discussions")
def list_discussions(request: Request, kind: str, name: str) -> Answer:
    repo, wanted, status = request.find(kind, name), request.argument("type"), request.argument("status")
    rows = [
        _describe(repo, proposal)
        for proposal in repo.proposals
        if (not wanted or wanted == "all" or (wanted == "pull_request") == proposal.is_pull_request)
        and (not status or status == "all" or (status == "closed") != (proposal.status in ("open", "draft")))
    ]
    return reply({"discussions": rows, "count": len(rows), "start": 0})


@route("GET", _ONE)
def show_discussion(request: Request, kind: str, name: str, number: str) -> Answer:
    repo = request.find(kind, name)
    return reply(_describe(repo, repo.proposal(number)))


@route("POST", rf"{_ONE}/status")
def change_status(request: Request, kind: str, name: str, number: str) -> Answer:
    repo = request.find(kind, name, write=True)
    proposal, status = repo.proposal(number), request.json().get("status")
    if status not in ("open", "closed") or proposal.status == "merged":
        raise Refusal(400, f"cannot become {status!r} from {proposal.status!r}")
    proposal.status = status
    return reply({"newStatus": _add_event(proposal, request.need_user(), "status-change", status=status)})


@route("POST", rf"{_ONE}/merge")
def merge(request: Request, kind: str, name: str, number: str) -> Answer:
    repo = request.find(kind, name, write=True)
    proposal = repo.proposal(number)
    if not proposal.is_pull_request or proposal.status != "open":
        raise Refusal(400, f"a {proposal.status} discussion cannot be merged")
    changed = _changes(repo, proposal)
    if _conflicts(repo, proposal, changed):
        raise Refusal(409, "Merge conflict")
    files = {**repo.tree("main"), **repo.tree(f"refs/pr/{number}")}
    for path in set(repo.commits[proposal.base].files) - set(repo.tree(f"refs/pr/{number}")):
        files.pop(path, None)
    repo.commit("main", files, f"{proposal.title} (#{number})")
    proposal.status = "merged"
    return reply({"newStatus": _add_event(proposal, request.need_user(), "status-change", status="merged")})


@route("POST", rf"{_ONE}/comment")
def comment(request: Request, kind: str, name: str, number: str) -> Answer:
    user, repo = request.need_user(), request.find(kind, name)
    latest = {"raw": request.json().get("comment"), "updatedAt": _DATE}
    return reply({"newMessage": _add_event(repo.proposal(number), user, "comment", latest=latest)})


@route("POST", rf"{_ONE}/title")
def rename(request: Request, kind: str, name: str, number: str) -> Answer:
    proposal = request.find(kind, name, write=True).proposal(number)
    before, proposal.title = proposal.title, request.json()["title"]
    event = _add_event(proposal, request.need_user(), "title-change", **{"from": before, "to": proposal.title})
    return reply({"newTitle": event})


def _changes(repo: Repo, proposal: Proposal) -> set[str]:
    ours, base = repo.tree(f"refs/pr/{proposal.number}"), repo.commits[proposal.base].files
    return _differing(ours, base)


def _conflicts(repo: Repo, proposal: Proposal, changed: set[str]) -> list[str]:
    """Return what main and the proposal both changed, differently."""
    theirs = _differing(repo.tree("main"), repo.commits[proposal.base].files)
    return sorted(changed & theirs & _differing(repo.tree("main"), repo.tree(f"refs/pr/{proposal.number}")))


def _differing(one: Files, other: Files) -> set[str]:
    ids = [{path: blob.content_id for path, blob in files.items()} for files in (one, other)]
    return {path for path in {*one, *other} if ids[0].get(path) != ids[1].get(path)}


def _describe(repo: Repo, proposal: Proposal) -> dict[str, Any]:
    row: dict[str, Any] = {
        "num": proposal.number,
        "title": proposal.title,
        "author": {"name": repo.name.split("/")[0]},
        "status": proposal.status,
        "isPullRequest": proposal.is_pull_request,
        "createdAt": _DATE,
        "repo": {"name": repo.name, "type": repo.kind[:-1]},
        "events": proposal.events,
        "diff": "",
    }
    if proposal.is_pull_request:
        row |= {"changes": {"base": "refs/heads/main"}, "diffUrl": ""}
        row["filesWithConflicts"] = _conflicts(repo, proposal, _changes(repo, proposal))
    return row


def _add_event(proposal: Proposal, user: str, kind: str, **data: Any) -> dict[str, Any]:
    event = {"id": f"e{len(proposal.events)}", "type": kind, "createdAt": _DATE, "author": {"name": user}, "data": data}
    if kind == "comment":
        data |= {"edited": False, "hidden": False, "history": []}
    proposal.events.append(event)
    return event
