"""The server itself: two origins on the loopback interface, one for the API and one for large files."""

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.hub_server import (  # noqa: F401  (each module registers its routes)
    chunks,
    commits,
    discussions,
    download,
    groups,
    large,
    refs,
    registry,
    repos,
)
from tests.hub_server.faults import Fault, Faults
from tests.hub_server.http import Answer, Request, dispatch, refuse
from tests.hub_server.store import Blob, Refusal, Repo, Store


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client hangs up."""


class HubServer:
    """The server; use as a context manager.

    Parameters
    ----------
    xet : bool
        Whether uploads over Xet are possible; without, the client has to go over LFS.
    part_bytes : int
        Larger objects go in parts of this size over LFS (0: never).
    page_rows : int
        Rows of a tree per page.
    ports : tuple of two int
        Of the API and of the large files; 0: any.
    delay_s : float
        What a ``slow`` fault waits.
    """

    def __init__(
        self,
        *,
        xet: bool = False,
        part_bytes: int = 0,
        page_rows: int = 1000,
        ports: tuple[int, int] = (0, 0),
        delay_s: float = 0.2,
    ) -> None:
        self.xet, self.part_bytes, self.page_rows, self.delay_s = xet, part_bytes, page_rows, delay_s
        self.store, self.faults = Store(), Faults()
        self.requests: list[str] = []
        self.servers = [_Server(("127.0.0.1", port), self._handler()) for port in ports]
        self.url = f"http://127.0.0.1:{self.servers[0].server_port}"
        #: Another origin, as on the Hub: a client that follows the redirect of a HEAD request would miss its headers.
        self.cdn_url = f"http://localhost:{self.servers[1].server_port}"

    def __enter__(self) -> "HubServer":
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    @property
    def repos(self) -> dict[tuple[str, str], Repo]:
        """All repositories by kind (``"models"``, ``"datasets"``, ``"spaces"``) and name."""
        return self.store.repos

    def repo(self, kind: str, name: str) -> Repo:
        """Return one repository."""
        return self.store.repos[kind, name]

    def files(self, kind: str, name: str, revision: str = "main") -> dict[str, bytes]:
        """Return path -> content of a revision."""
        return {path: blob.data for path, blob in self.repo(kind, name).tree(revision).items()}

    def count(self, pattern: str) -> int:
        """Return how many requests (``POST /api/...``) hold the pattern."""
        return sum(re.search(pattern, line) is not None for line in self.requests)

    def answer(self, request: Request) -> Answer:
        """Answer one request, with the trouble it meets."""
        self.requests.append(f"{request.method} {request.path}")
        fault = self.faults.take(request.method, request.path)
        kind = fault.kind if fault else ""
        if kind == "drop":
            raise ConnectionAbortedError
        if kind.isdigit():
            retry = {"Retry-After": fault.retry_after} if fault and fault.retry_after else {}
            return refuse(Refusal(int(kind), "injected fault", headers=retry))
        if kind == "slow":
            time.sleep(self.delay_s)
        with self.store.lock:
            if fault and kind == "foreign":
                self._let_others_commit(fault, request.path)
            try:
                answer = dispatch(request)
            except Refusal as refusal:
                answer = refuse(refusal)
        if kind == "lost":
            raise ConnectionAbortedError
        if kind == "midway":
            answer.headers["X-Cut"] = "1"
        return answer

    def _let_others_commit(self, fault: Fault, path: str) -> None:
        if fault.event:
            fault.event()
            return
        _, _, kind, *name, _, _ = path.split("/")
        if repo := self.store.repos.get((kind, "/".join(name))):
            number, files = sum("theirs" in title for title in repo.titles), dict(repo.tree("main"))
            text = f"theirs-{number}.txt"
            files[text] = Blob(text.encode())
            if "README.md" in files:  # and edits the card in the browser
                files["README.md"] = Blob(files["README.md"].data + f"\n{text}\n".encode())
            repo.commit("main", files, f"theirs: {text}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"hub": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: HubServer

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length")
        if length is None and self.command in ("POST", "PUT") and self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            return self._send(refuse(Refusal(411, "Content-Length is needed")))
        body = self.rfile.read(int(length or 0))
        try:
            answer = self.hub.answer(Request(self.hub, self.command, url.path, url.query, self.headers, body))
        except ConnectionAbortedError:
            return self._hang_up()
        except Exception as error:  # a mistake of this server must not look like a network problem
            answer = Answer(500, json.dumps({"error": f"server: {error!r}"}).encode())
        return self._send(answer)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _send(self, answer: Answer) -> None:
        cut = answer.headers.pop("X-Cut", "")
        self.send_response(answer.status)
        for name, value in ({"X-Request-Id": f"r{len(self.hub.requests)}"} | answer.headers).items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
