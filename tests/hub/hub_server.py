"""A small, strict server that speaks the Hub's protocol on the loopback interface.

It keeps everything in memory and knows what publishing needs today: who am I, create a repository, card validation,
preupload, LFS upload with its digest checked, commits with ``parentCommit``, trees, branches, downloads by redirect to
another origin. One method a request; a fault can be put before any of them (`HubServer.fail_next`).
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

OWNER, TOKEN = "lab", "hf_test"
LFS_LIMIT = 10_000_000


def git_sha1(data: bytes) -> str:
    """Return the id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Blob:
    """One file of one commit."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def oid(self) -> str:
        return git_sha1(self.pointer if self.lfs else self.data)

    def row(self, path: str) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "file", "oid": self.oid, "size": len(self.data), "path": path}
        if self.lfs:
            row["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return row


@dataclass
class Repo:
    """A repository: commits by id, branches by name, LFS objects by digest."""

    kind: str
    name: str
    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> str:
        text = json.dumps([self.branches.get(branch), title, [[p, b.oid] for p, b in sorted(files.items())]])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.titles.append(title)
        return sha

    def resolve(self, revision: str) -> str:
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "Revision not found", "RevisionNotFound")
        return sha


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, code: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.extra = status, message, code, extra


@dataclass
class Fault:
    """What happens to the next `times` requests that match: an error status, or a cut connection (status 0)."""

    method: str
    pattern: str
    status: int
    times: int = 1
    after: bool = False


class HubServer:
    """The server; use as a context manager. `url` is the endpoint, `requests` what was asked."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.events: list[tuple[str, str, Callable[[], object]]] = []
        self.lock = threading.RLock()
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler(cdn)) for cdn in (False, True)]
        self.url = f"http://127.0.0.1:{self.servers[0].server_port}"
        self.cdn_url = f"http://localhost:{self.servers[1].server_port}"

    def __enter__(self) -> "HubServer":
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def repo(self, kind: str, name: str) -> Repo:
        """Return a repository; `kind` is ``"models"`` or ``"datasets"``."""
        return self.repos[kind, name]

    def files(self, kind: str, name: str, branch: str = "main") -> dict[str, bytes]:
        """Return path -> content of a branch."""
        repo = self.repo(kind, name)
        return {path: blob.data for path, blob in repo.commits[repo.branches[branch]].items()}

    def fail_next(self, method: str, pattern: str, status: int, times: int = 1, *, after: bool = False) -> None:
        """Answer the next matching requests with `status` (0: cut the line), before or `after` doing what they ask."""
        self.faults.append(Fault(method, pattern, status, times, after))

    def before_next(self, method: str, pattern: str, event: Callable[[], object]) -> None:
        """Let something happen just before the next matching request is answered, as if somebody else were quicker."""
        self.events.append((method, pattern, event))

    def take_event(self, method: str, path: str) -> None:
        for item in [item for item in self.events if item[0] == method and re.search(item[1], path)][:1]:
            self.events.remove(item)
            item[2]()

    def count(self, pattern: str) -> int:
        """Return how many requests matched."""
        return sum(re.search(pattern, line) is not None for line in self.requests)

    def take_fault(self, method: str, path: str, *, after: bool) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.after is after and fault.method == method and re.search(fault.pattern, path):
                fault.times -= 1
                return fault
        return None

    def _handler(self, cdn: bool) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Cdn if cdn else _Hub,), {"hub": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def send_data(self, data: bytes, **headers: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return self.send(200, data, **headers)
        first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        span = f"bytes {first}-{last}/{len(data)}"
        return self.send(206, data[first : last + 1], Content_Range=span, **headers)

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


class _Cdn(_Handler):
    """Another origin, where large files are."""

    def do_GET(self) -> None:
        digest = self.path.rsplit("/", 1)[-1]
        data = next((repo.objects[digest] for repo in self.hub.repos.values() if digest in repo.objects), None)
        if data is None:
            return self.send(404)
        return self.send_data(data, ETag=f'"{digest}"')

    do_HEAD = do_GET


class _Hub(_Handler):
    """The API. Routes are tried in order on the raw path, so that a revision may hold an escaped slash."""

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query, self.body = parse_qs(url.query), self.read_body()
        self.hub.requests.append(f"{self.command} {url.path}")
        self.hub.take_event(self.command, url.path)
        if fault := self.hub.take_fault(self.command, url.path, after=False):
            return self.fail(fault)
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, action in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match and verb == method:
                return self.run(action, {k: unquote(v or "") for k, v in match.groupdict().items()}, url.path)
        return self.refuse(Refusal(404, f"no such route: {method} {url.path}"))

    def run(self, action: Callable[..., None], parts: dict[str, str], path: str) -> None:
        with self.hub.lock:
            try:
                if self.hub.take_fault(self.command, path, after=True):
                    self.send = lambda *_, **__: None  # type: ignore[method-assign]
                    action(self, **parts)
                    self.fail(Fault("", "", 0))
                else:
                    action(self, **parts)
            except Refusal as refusal:
                self.refuse(refusal)

    def fail(self, fault: Fault) -> None:
        if fault.status:
            return self.refuse(Refusal(fault.status, "injected"))
        self.close_connection = True
        return self.connection.close()

    def refuse(self, refusal: Refusal) -> None:
        headers = {"X-Error-Message": refusal.message} | ({"X-Error-Code": refusal.code} if refusal.code else {})
        body = {"error": refusal.message} | refusal.extra
        self.send_json(body, refusal.status, **{name.replace("-", "_"): value for name, value in headers.items()})

    # --- who and what ---

    def need_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "Invalid username or password.")

    def find(self, kind: str, name: str) -> Repo:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        repo = self.hub.repos.get((kind or "models", name))
        if repo is None or (repo.private and not known):
            raise Refusal(404 if known else 401, "Repository not found", "RepoNotFound")
        return repo

    def who(self) -> None:
        self.need_token()
        access = {"displayName": "test", "role": "write", "createdAt": "2026-01-01T00:00:00.000Z"}
        auth = {"type": "access_token", "accessToken": access}
        self.send_json({"type": "user", "name": OWNER, "fullname": OWNER, "orgs": [], "auth": auth})

    def create(self) -> None:
        self.need_token()
        asked = json.loads(self.body)
        owner, kind = asked.get("organization") or OWNER, f"{asked.get('type') or 'model'}s"
        name = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        if owner != OWNER:
            raise Refusal(403, f"You don't have the rights to create a {kind[:-1]} under the namespace {owner!r}")
        if (kind, name) in self.hub.repos:
            raise Refusal(409, "You already created this repo", url=url)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        repo = self.hub.repos[kind, name] = Repo(kind, name, private)
        repo.commit(
            "main", {".gitattributes": Blob(b"*.gguf filter=lfs\n*.safetensors filter=lfs\n")}, "initial commit"
        )
        self.send_json({"url": url, "name": name, "id": name})

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        repo = self.find(kind, name)
        sha = repo.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repo.commits[sha])]
        self.send_json({"id": name, "sha": sha, "private": repo.private, "tags": [], "siblings": siblings})

    def tree(self, kind: str, name: str, revision: str, path: str = "") -> None:
        repo = self.find(kind, name)
        files = repo.commits[repo.resolve(revision)]
        rows = [blob.row(file) for file, blob in sorted(files.items()) if file.startswith(f"{path}/" if path else "")]
        folders = {file.rsplit("/", depth)[0] for file in files for depth in range(1, file.count("/") + 1)}
        rows += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
        self.send_json(rows)

    def make_branch(self, kind: str, name: str, branch: str) -> None:
        self.need_token()
        repo = self.find(kind, name)
        if branch in repo.branches:
            raise Refusal(409, "Reference already exists")
        start = json.loads(self.body or b"{}").get("startingPoint") or "main"
        repo.branches[branch] = repo.resolve(start)
        self.send_json({}, 201)

    # --- upload ---

    def validate(self) -> None:
        match = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], flags=re.DOTALL)
        try:
            header = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError:
            raise Refusal(400, "YAML", errors=[{"message": "bad YAML"}]) from None
        if not re.fullmatch(r"[a-z0-9.+-]+", str(header.get("license", "unknown"))):
            raise Refusal(400, "license", errors=[{"message": '"license" must be one of [apache-2.0, mit, ...]'}])
        self.send_json({"errors": [], "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        self.need_token()
        repo = self.find(kind, name)
        current = repo.commits[repo.resolve(revision)]
        rows = []
        for file in json.loads(self.body)["files"]:
            binary = b"\0" in base64.b64decode(file.get("sample", ""))
            mode = "lfs" if binary or file["size"] > LFS_LIMIT else "regular"
            row = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if blob := current.get(file["path"]):
                row["oid"] = blob.sha256 if blob.lfs else blob.oid
            rows.append(row)
        self.send_json({"files": rows})

    def lfs_batch(self, prefix: str, name: str) -> None:
        self.need_token()
        kind = prefix.strip("/") or "models"
        repo, objects = self.find(kind, name), []
        for item in json.loads(self.body)["objects"]:
            row = dict(item)
            if item["oid"] not in repo.objects:
                base = f"{self.hub.url}/lfs/{kind}/{name}"
                row["actions"] = {verb: {"href": f"{base}/{verb}/{item['oid']}"} for verb in ("upload", "verify")}
            objects.append(row)
        self.send_json({"transfer": "basic", "objects": objects})

    def lfs_put(self, kind: str, name: str, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "sha256 does not match")
        self.find_any(kind, name).objects[oid] = self.body
        self.send(200, ETag=f'"{oid}"')

    def lfs_verify(self, kind: str, name: str, oid: str) -> None:
        asked = json.loads(self.body)
        if len(self.find_any(kind, name).objects.get(asked["oid"], b"")) != asked["size"] or asked["oid"] != oid:
            raise Refusal(422, "object was not uploaded")
        self.send_json({})

    def find_any(self, kind: str, name: str) -> Repo:
        return self.hub.repos[kind, name]

    def commit(self, kind: str, name: str, revision: str) -> None:
        self.need_token()
        repo = self.find(kind, name)
        if revision not in repo.branches:
            raise Refusal(400, "commits go to a branch")
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repo.branches[revision]
        if header.get("parentCommit") and not head.startswith(header["parentCommit"]):
            raise Refusal(412, "The branch was updated since you opened this page. Please refresh and try again.")
        files = dict(repo.commits[head])
        for line in lines:
            self.apply(repo, files, line["key"], line["value"])
        target, answer = revision, {}
        if self.query.get("create_pr"):
            number = 1 + sum(branch.startswith("refs/pr/") for branch in repo.branches)
            target = f"refs/pr/{number}"
            repo.branches[target] = head
            answer["pullRequestUrl"] = f"{self.hub.url}/{name}/discussions/{number}"
        sha = repo.commit(target, files, header["summary"])
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self.send_json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""} | answer)

    def apply(self, repo: Repo, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in repo.objects:
                raise Refusal(400, f"LFS object of {value['path']} was never uploaded")
            files[value["path"]] = Blob(repo.objects[value["oid"]], lfs=True)
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key != "header":
            raise Refusal(400, f"unknown operation {key}")

    # --- download ---

    def download(self, prefix: str, name: str, revision: str, path: str) -> None:
        repo = self.find(prefix.strip("/") or "models", name)
        sha = repo.resolve(revision)
        blob = repo.commits[sha].get(path)
        if blob is None:
            headers = {"X_Error_Code": "EntryNotFound", "X_Error_Message": "Entry not found", "X_Repo_Commit": sha}
            return self.send_json({"error": "Entry not found"}, 404, **headers)
        if not blob.lfs:
            return self.send_data(blob.data, ETag=f'"{blob.oid}"', X_Repo_Commit=sha)
        linked = {"X_Linked_Etag": f'"{blob.sha256}"', "X_Linked_Size": str(len(blob.data)), "X_Repo_Commit": sha}
        return self.send(302, Location=f"{self.hub.cdn_url}/{blob.sha256}", **linked)


_KIND, _NAME = r"(?P<kind>models|datasets)", r"(?P<name>[\w.-]+/[\w.-]+)"
_PREFIX, _REVISION = r"/(?P<prefix>datasets/|)", r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", r"/api/whoami-v2", _Hub.who),
    ("POST", r"/api/repos/create", _Hub.create),
    ("POST", r"/api/validate-yaml", _Hub.validate),
    ("GET", rf"/api/{_KIND}/{_NAME}", _Hub.info),
    ("GET", rf"/api/{_KIND}/{_NAME}/revision/{_REVISION}", _Hub.info),
    ("GET", rf"/api/{_KIND}/{_NAME}/tree/{_REVISION}(?:/(?P<path>.+))?", _Hub.tree),
    ("POST", rf"/api/{_KIND}/{_NAME}/preupload/{_REVISION}", _Hub.preupload),
    ("POST", rf"/api/{_KIND}/{_NAME}/commit/{_REVISION}", _Hub.commit),
    ("POST", rf"/api/{_KIND}/{_NAME}/branch/(?P<branch>[^/]+)", _Hub.make_branch),
    ("POST", rf"{_PREFIX}{_NAME}\.git/info/lfs/objects/batch", _Hub.lfs_batch),
    ("PUT", rf"/lfs/{_KIND}/{_NAME}/upload/(?P<oid>\w+)", _Hub.lfs_put),
    ("POST", rf"/lfs/{_KIND}/{_NAME}/verify/(?P<oid>\w+)", _Hub.lfs_verify),
    ("GET", rf"{_PREFIX}{_NAME}/resolve/{_REVISION}/(?P<path>.+)", _Hub.download),
]
