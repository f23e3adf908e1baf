"""Requests in, answers out: routes are plain functions from a `Request` to an `Answer`, without sockets."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.hub_server.store import USERS, Refusal, Repo

if TYPE_CHECKING:
    from tests.hub_server.server import HubServer

KIND, NAME = r"(?P<kind>models|datasets|spaces)", r"(?P<name>[\w.-]+/[\w.-]+)"
PREFIX, REVISION = r"(?P<prefix>datasets/|spaces/|)", r"(?P<revision>[^/]+)"
REPO = rf"/api/{KIND}/{NAME}"


@dataclass
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """One request; `path` is raw, because a revision may hold an escaped slash."""

    hub: "HubServer"
    method: str
    path: str
    query: str
    headers: Any
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refusal(400, "body is not JSON") from None

    def argument(self, name: str, default: str = "") -> str:
        return parse_qs(self.query).get(name, [default])[0]

    @property
    def token(self) -> str:
        return str(self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def user(self) -> str | None:
        """Return who asks; None without a token. A token that nobody has is refused even for public things."""
        if not self.token:
            return None
        if self.token not in USERS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return USERS[self.token][0]

    def need_user(self) -> str:
        if (user := self.user()) is None:
            raise Refusal(401, "Invalid username or password.")
        return user

    def may_write(self, namespace: str) -> bool:
        return self.user() is not None and namespace in USERS[self.token][2]

    def need_write(self, namespace: str, what: str = "") -> None:
        self.need_user()
        if not self.may_write(namespace):
            raise Refusal(403, what or f"You don't have write access to {namespace!r}.")

    def find(self, kind: str, name: str, *, write: bool = False) -> Repo:
        """Return a repository that whoever asks may see, and may change with `write`."""
        user, repo = self.user(), self.hub.store.repos.get((kind, name))
        namespace = name.split("/")[0]
        if repo is None or (repo.private and not self.may_write(namespace)):
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if write:
            self.need_write(namespace)
        return repo

    def need_access(self, repo: Repo) -> None:
        """Stop at the gate of a gated repository: whoever has no access may see that it exists, but no file."""
        user = self.user()
        if not repo.gated or self.may_write(repo.name.split("/")[0]) or repo.access.get(user or "") == "accepted":
            return
        what = "log in to access it" if user is None else "ask for access first"
        message = f"Access to {repo.kind[:-1]} {repo.name} is restricted, you must {what}."
        raise Refusal(401 if user is None else 403, message, "GatedRepo")


Action = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Action]] = []


def route(method: str, pattern: str) -> Callable[[Action], Action]:
    """Register a function for a method and a pattern of the raw path; named groups become arguments, unquoted."""

    def register(action: Action) -> Action:
        ROUTES.append((method, re.compile(pattern), action))
        return action

    return register


def dispatch(request: Request) -> Answer:
    """Answer a request by the first route that fits."""
    method = "GET" if request.method == "HEAD" else request.method
    known = False
    for verb, pattern, action in ROUTES:
        if match := pattern.fullmatch(request.path):
            known = True
            if verb == method:
                return action(request, **{key: unquote(value or "") for key, value in match.groupdict().items()})
    raise Refusal(405 if known else 404, f"no such route: {request.method} {request.path}")


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer that holds JSON."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | named)


def refuse(refusal: Refusal) -> Answer:
    """Return the answer of a refusal, with the headers that the client reads."""
    extra = dict(refusal.extra)
    headers = {"X-Error-Message": refusal.message.splitlines()[0], **extra.pop("headers", {})}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    answer = reply({"error": refusal.message} | extra, refusal.status)
    answer.headers |= headers
    return answer


def cut(request: Request, data: bytes, **headers: str) -> Answer:
    """Return `data`, or the bytes that a Range header asks for."""
    named = {name.replace("_", "-"): text for name, text in headers.items()} | {"Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range") or "")
    if not match or not (match[1] or match[2]):
        return Answer(200, data, named)
    first = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
    last = min(int(match[2]) if match[1] and match[2] else len(data) - 1, len(data) - 1)
    if first > last:
        return Answer(416, b"", named | {"Content-Range": f"bytes */{len(data)}"})
    return Answer(206, data[first : last + 1], named | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})
