"""What the server remembers: repositories, commits, large objects, proposals, collections. Everything in memory."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

OWNER, ORGANISATION, READER = "lab", "institute", "guest"
TOKEN, READER_TOKEN = "hf_test", "hf_reader"
#: Token -> (user, role, namespaces it may write to).
USERS: dict[str, tuple[str, str, frozenset[str]]] = {
    TOKEN: (OWNER, "write", frozenset({OWNER, ORGANISATION})),
    READER_TOKEN: (READER, "read", frozenset()),
}
LFS_LIMIT = 10_000_000
KINDS = ("models", "datasets", "spaces")
_ATTRIBUTES = b"*.gguf filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class Refusal(Exception):
    """An error answer. `code` goes into X-Error-Code, which the client turns into a class of exception."""

    def __init__(self, status: int, message: str, code: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.extra = status, message, code, extra


def git_sha1(data: bytes) -> str:
    """Return the id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Blob:
    """One version of one file, with the ids under which git and LFS know it."""

    def __init__(self, data: bytes, *, lfs: bool = False, xet: str = "") -> None:
        self.data, self.lfs, self.xet = data, lfs, xet
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.oid = git_sha1(self.pointer if lfs else data)

    @property
    def pointer(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def content_id(self) -> str:
        """What preupload tells of the file that is there: sha256 of a large one, git's id of a small one."""
        return self.sha256 if self.lfs else self.oid

    def row(self, path: str) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "file", "oid": self.oid, "size": len(self.data), "path": path}
        if self.lfs:
            row["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return row | ({"xetHash": self.xet} if self.xet else {})


Files = dict[str, Blob]


@dataclass
class Commit:
    """One commit: its parent's id, what it says, and the whole tree after it."""

    sha: str
    parent: str | None
    title: str
    message: str
    files: Files
    number: int

    @property
    def date(self) -> str:
        """A made-up time: the server's clock counts commits, so that two runs are alike."""
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class Proposal:
    """A discussion or pull request; the latter has a branch ``refs/pr/N``."""

    number: int
    title: str
    is_pull_request: bool
    status: str
    base: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Repo:
    """A repository: commits by id, branches and tags by name, large objects by sha256."""

    kind: str
    name: str
    private: bool
    sdk: str = ""
    gated: str | bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    xet_hashes: dict[str, str] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)
    access: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.branches:
            self.commit("main", {".gitattributes": Blob(_ATTRIBUTES)}, "initial commit")

    @property
    def prefix(self) -> str:
        return "" if self.kind == "models" else f"{self.kind}/"

    @property
    def titles(self) -> list[str]:
        """Titles of all commits, in the order in which they were made."""
        return [commit.title for commit in self.commits.values()]

    def commit(self, branch: str, files: Files, title: str, message: str = "") -> str:
        parent, number = self.branches.get(branch), len(self.commits)
        text = json.dumps([parent, number, branch, title, message, [[p, b.oid] for p, b in sorted(files.items())]])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, message, dict(files), number)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str:
        """Return the commit of a branch, a tag, or the (abbreviated) id of a commit."""
        if sha := self.branches.get(revision) or self.tags.get(revision):
            return sha
        found = [sha for sha in self.commits if len(revision) >= 7 and sha.startswith(revision)]
        if len(found) != 1:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def tree(self, revision: str) -> Files:
        return self.commits[self.resolve(revision)].files

    def history(self, revision: str) -> list[Commit]:
        """Return the commits of a revision, newest first."""
        commits, sha = [], self.resolve(revision) if revision else None
        while sha:
            commits.append(self.commits[sha])
            sha = commits[-1].parent
        return commits

    def proposal(self, number: str) -> Proposal:
        for proposal in self.proposals:
            if proposal.number == int(number):
                return proposal
        raise Refusal(404, "Discussion not found")

    def propose(self, title: str, *, pull_request: bool, status: str) -> Proposal:
        proposal = Proposal(len(self.proposals) + 1, title, pull_request, status, base=self.branches["main"])
        self.proposals.append(proposal)
        if pull_request:
            self.branches[f"refs/pr/{proposal.number}"] = self.branches["main"]
        return proposal


@dataclass
class Collection:
    """A titled list of repositories."""

    slug: str
    title: str
    owner: str
    private: bool
    description: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)


class Store:
    """All of it, behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: dict[str, Collection] = {}
        #: Xet: serialised groups of chunks by hash, and files as lists of (group, first chunk, end chunk, bytes).
        self.xorbs: dict[str, bytes] = {}
        self.xet_files: dict[str, list[tuple[str, int, int, int]]] = {}
        self.xet_tokens: dict[str, tuple[str, str]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}

    def find_object(self, sha256: str) -> bytes | None:
        return next((repo.objects[sha256] for repo in self.repos.values() if sha256 in repo.objects), None)
