"""Upload of small files and commits: asked first (preupload), then all lines of a commit or none."""

import base64
import binascii
import fnmatch
import json
from typing import Any

from tests.hub_server.http import REPO, REVISION, Answer, Request, reply, route
from tests.hub_server.store import LFS_LIMIT, Blob, Files, Refusal, Repo
from tests.hub_server.validation import judge_card


@route("POST", rf"{REPO}/preupload/{REVISION}")
def preupload(request: Request, kind: str, name: str, revision: str) -> Answer:
    """Tell for each file how it has to come, and what is there under its path."""
    repo, asked = _open(request, kind, name), request.json()
    if len(asked["files"]) > 256:
        raise Refusal(413, "at most 256 files at once")
    current, rows = repo.tree(revision), []
    ignored = _read_patterns(asked.get("gitIgnore") or _read_text(current, ".gitignore"))
    large = [line.split()[0] for line in _read_text(current, ".gitattributes").splitlines() if "filter=lfs" in line]
    for file in asked["files"]:
        sample = _decode(file.get("sample", ""), file["path"])
        as_lfs = b"\0" in sample or file["size"] > LFS_LIMIT or _matches(file["path"], large)
        row = {"path": file["path"], "uploadMode": "lfs" if as_lfs else "regular"}
        row["shouldIgnore"] = _matches(file["path"], ignored)
        if blob := current.get(file["path"]):
            row["oid"] = blob.content_id
        rows.append(row)
    return reply({"files": rows})


@route("POST", rf"{REPO}/commit/{REVISION}")
def commit(request: Request, kind: str, name: str, revision: str) -> Answer:
    """Make a commit: on a branch, or as a new pull request."""
    create_pr = bool(request.argument("create_pr"))
    repo = request.find(kind, name) if create_pr else request.find(kind, name, write=True)
    request.need_user()
    if revision not in repo.branches:
        known = revision in repo.tags or revision in repo.commits
        raise Refusal(400 if known else 404, "commits go to a branch", "" if known else "RevisionNotFound")
    lines = _read_lines(request.body)
    header, head = lines[0]["value"], repo.branches[revision]
    parent = header.get("parentCommit")
    if parent and not (7 <= len(parent) <= 40 and head.startswith(parent)):
        raise Refusal(412, "The branch was updated since you opened this page. Please refresh and try again.")
    files = _apply_all(repo, dict(repo.commits[head].files), lines[1:])
    target, answer = revision, {}
    if create_pr:
        proposal = repo.propose(header["summary"], pull_request=True, status="open")
        target = f"refs/pr/{proposal.number}"
        answer["pullRequestUrl"] = f"{request.hub.url}/{repo.prefix}{name}/discussions/{proposal.number}"
    sha = repo.commit(target, files, header["summary"], header.get("description") or "")
    url = f"{request.hub.url}/{repo.prefix}{name}/commit/{sha}"
    return reply({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""} | answer)


def _open(request: Request, kind: str, name: str) -> Repo:
    """Return the repository that may be written to; anybody who may see it may propose a change."""
    request.need_user()
    return request.find(kind, name, write=not request.argument("create_pr"))


def _read_lines(body: bytes) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError:
        raise Refusal(400, "a line of the commit is not JSON") from None
    if not lines or lines[0].get("key") != "header" or not lines[0]["value"].get("summary"):
        raise Refusal(400, "a commit begins with a header that has a summary")
    return lines


def _apply_all(repo: Repo, files: Files, lines: list[dict[str, Any]]) -> Files:
    for line in lines:
        action = _ACTIONS.get(line.get("key", ""))
        if action is None:
            raise Refusal(400, f"unknown operation {line.get('key')!r}")
        action(repo, files, line["value"])
    if "README.md" in files:
        errors, _ = judge_card(files["README.md"].data.decode("utf-8", errors="replace"), repo.kind[:-1])
        if errors:
            raise Refusal(400, "Your push was rejected because of README.md:\n- " + "\n- ".join(errors))
    return files


def _add_file(repo: Repo, files: Files, value: dict[str, Any]) -> None:
    data = _decode(value["content"], value["path"])
    if value.get("encoding") != "base64" or len(data) > LFS_LIMIT:
        raise Refusal(400, f"{value['path']}: too large or wrongly encoded for a regular file; use LFS")
    if b"\0" in data[:512]:
        raise Refusal(400, f"{value['path']}: binary files go over LFS or Xet")
    files[_check_path(value["path"])] = Blob(data)


def _add_large(repo: Repo, files: Files, value: dict[str, Any]) -> None:
    data = repo.objects.get(value["oid"])
    if value.get("algo") != "sha256" or data is None:
        raise Refusal(400, f"{value['path']}: LFS object {value['oid'][:12]} was never uploaded")
    if value.get("size", len(data)) != len(data):
        raise Refusal(400, f"{value['path']}: has {len(data)} bytes, not {value['size']}")
    files[_check_path(value["path"])] = Blob(data, lfs=True, xet=repo.xet_hashes.get(value["oid"], ""))


def _delete_file(repo: Repo, files: Files, value: dict[str, Any]) -> None:
    if files.pop(value["path"], None) is None:
        raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")


def _delete_folder(repo: Repo, files: Files, value: dict[str, Any]) -> None:
    inside = [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]
    if not inside:
        raise Refusal(404, "A folder with this name doesn't exist", "EntryNotFound")
    for path in inside:
        del files[path]


_ACTIONS = {"file": _add_file, "lfsFile": _add_large, "deletedFile": _delete_file, "deletedFolder": _delete_folder}


def _check_path(path: str) -> str:
    parts = path.split("/")
    if "" in parts or ".." in parts or "." in parts or ".git" in parts or len(path.encode()) > 4096:
        raise Refusal(400, f"invalid path {path!r}")
    return path


def _decode(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refusal(400, f"{path}: not base64") from None


def _read_text(files: Files, path: str) -> str:
    return files[path].data.decode() if path in files else ""


def _read_patterns(text: str) -> list[str]:
    return [line.strip().rstrip("/") for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _matches(path: str, patterns: list[str]) -> bool:
    names = [path, *path.split("/")]
    return any(fnmatch.fnmatchcase(name, pattern.lstrip("/")) for pattern in patterns for name in names)
