"""Trees, paths and the files themselves: small ones from here, large ones by redirect from another origin."""

from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from tests.hub_server.http import NAME, PREFIX, REPO, REVISION, Answer, Request, cut, reply, route
from tests.hub_server.store import Commit, Files, Refusal, Repo


@route("GET", rf"{REPO}/tree/{REVISION}(?:/(?P<path>.+))?")
def list_tree(request: Request, kind: str, name: str, revision: str, path: str) -> Answer:
    """List a folder page by page."""
    repo = request.find(kind, name)
    sha = repo.resolve(revision)
    rows = _list_rows(repo.commits[sha].files, path, recursive=request.argument("recursive").lower() in ("true", "1"))
    if path and not rows:
        raise Refusal(404, f"{path} does not exist on {revision!r}", "EntryNotFound", headers={"X-Repo-Commit": sha})
    first = int(request.argument("cursor", "0"))
    last = first + min(int(request.argument("limit", "1000")), request.hub.page_rows)
    more = {"Link": f'<{_next_page(request, last)}>; rel="next"'} if last < len(rows) else {}
    return reply([_expand(request, repo.commits[sha], row) for row in rows[first:last]], **more)


def _list_rows(files: Files, path: str, *, recursive: bool) -> list[dict[str, Any]]:
    start = f"{path}/" if path else ""
    inside = {file: blob for file, blob in files.items() if file.startswith(start)}
    parts = {file: file[len(start) :].split("/")[:-1] for file in inside}
    depths = {
        file: range(1, len(names) + 1) if recursive else range(1, 2)[: len(names)] for file, names in parts.items()
    }
    folders = {start + "/".join(parts[file][:depth]) for file, depth_range in depths.items() for depth in depth_range}
    rows = [blob.row(file) for file, blob in inside.items() if recursive or not parts[file]]
    rows += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in folders]
    return sorted(rows, key=lambda row: row["path"])


def _next_page(request: Request, cursor: int) -> str:
    query = {key: values[0] for key, values in parse_qs(request.query).items()} | {"cursor": str(cursor)}
    return f"{request.hub.url}{request.path}?{urlencode(query)}"


def _expand(request: Request, commit: Commit, row: dict[str, Any]) -> dict[str, Any]:
    if request.argument("expand").lower() not in ("true", "1"):
        return row
    scan = {"status": "safe", "avScan": {"virusFound": False}, "pickleImportScan": None}
    last = {"id": commit.sha, "title": commit.title, "date": commit.date}
    return row | {"lastCommit": last, "securityFileStatus": scan}


@route("POST", rf"{REPO}/paths-info/{REVISION}")
def describe_paths(request: Request, kind: str, name: str, revision: str) -> Answer:
    """Describe the named files and folders; unknown ones are left out."""
    repo = request.find(kind, name)
    commit = repo.commits[repo.resolve(revision)]
    form = parse_qs(request.body.decode())
    rows = {row["path"]: row for row in _list_rows(commit.files, "", recursive=True)}
    return reply([rows[path] for path in form.get("paths", []) if path in rows])


@route("GET", rf"/{PREFIX}{NAME}/resolve/{REVISION}/(?P<path>.+)")
def resolve(request: Request, prefix: str, name: str, revision: str, path: str) -> Answer:
    """Send a small file, or say where a large one is."""
    kind = prefix.strip("/") or "models"
    repo = request.find(kind, name)
    request.need_access(repo)
    sha = repo.resolve(revision)
    blob = repo.commits[sha].files.get(path)
    if blob is None:
        raise Refusal(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": sha})
    if not blob.lfs:
        return cut(request, blob.data, ETag=f'"{blob.oid}"', X_Repo_Commit=sha)
    headers = {
        "Location": f"{request.hub.cdn_url}/cdn/{blob.sha256}/{quote(path.rsplit('/', 1)[-1])}",
        "X-Linked-Etag": f'"{blob.sha256}"',
        "X-Linked-Size": str(len(blob.data)),
        "X-Repo-Commit": sha,
    }
    return Answer(302, headers=headers | _describe_xet(request, repo, blob.xet, sha))


def _describe_xet(request: Request, repo: Repo, xet: str, sha: str) -> dict[str, str]:
    if not (xet and request.hub.xet):
        return {}
    link = f'<{request.hub.url}/api/{repo.kind}/{repo.name}/xet-read-token/{sha}>; rel="xet-auth"'
    return {"X-Xet-Hash": xet, "Link": link}


@route("GET", r"/cdn/(?P<sha256>[0-9a-f]{64})/[^/]+")
def send_large(request: Request, sha256: str) -> Answer:
    data = request.hub.store.find_object(sha256)
    if data is None:
        raise Refusal(404, "NoSuchKey")
    return cut(request, data, ETag=f'"{sha256}"', Content_Type="application/octet-stream")
