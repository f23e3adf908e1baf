"""The app in a process of its own, and what a browser does with it: opens a tab, presses buttons, saves, closes."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LIMIT_S = 600

_LINK = re.compile(r"export/\w+/json")


class PageError(RuntimeError):
    """The page did not answer as it does to a browser."""


class Server:
    """A page that is served at this machine.

    Parameters
    ----------
    address : str
        As the app prints it.
    """

    def __init__(self, address: str) -> None:
        self.place = urlsplit(address).netloc
        self.config = json.loads(self.ask("GET", "/config"))

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Return the answer to a request."""
        with self.open(method, path, body, kind) as response:
            return response.read()

    @contextmanager
    def open(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Iterator[HTTPResponse]:
        """Yield the answer to a request while it comes."""
        connection = HTTPConnection(self.place, timeout=_LIMIT_S)
        try:
            connection.request(method, path, body, {"content-type": kind} if body is not None else {})
            response = connection.getresponse()
            if response.status != 200:
                raise PageError(f"{method} {path.split('?')[0]}: {response.status}")
            yield response
        finally:
            connection.close()

    def find_events(self, name: str, kind: str) -> list[int]:
        """Return the numbers of what happens to the part, or step, of that name; to the page if it is empty."""
        parts = {part["id"]: part["props"] for part in self.config["components"]}
        names = {number: props.get("elem_id") or props.get("id") for number, props in parts.items()}
        events = [
            int(known["id"])
            for known in self.config["dependencies"]
            if any((names.get(target) or "", event) == (name, kind) for target, event in known["targets"])
        ]
        if not events:
            raise PageError(f"the page has no {kind} of {name!r}")
        return events


class App(Server):
    """The app as a user starts it.

    Parameters
    ----------
    model : Path
        GGUF file.
    """

    def __init__(self, model: Path) -> None:
        options = ["--model", str(model), "--no-browser", "--threads", "1"]
        command = [sys.executable, "-m", "copilot.cli", "app", *options]
        home = os.environ | {"HOME": str(model.parent)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=home)
        assert self.process.stdout is not None
        found = re.match(r"open (http\S+)", self.process.stdout.readline())
        if found is None:
            raise PageError("the app did not start")
        super().__init__(found[1])

    def close(self) -> None:
        """Stop the app as the system does at its end."""
        self.process.terminate()
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Tab:
    """One tab of a browser.

    Parameters
    ----------
    server : Server
    """

    def __init__(self, server: Server) -> None:
        self.server, self.key = server, secrets.token_hex(6)

    def draft(self, recording: Path) -> bytes:
        """Go the whole way with a recording; return the record that is saved."""
        with self.server.open("GET", f"/gradio_api/heartbeat/{self.key}") as alive:  # its end closes the tab
            alive.readline()
            self.press("", "load")
            self.press("upload", "upload", [self._upload(recording)])
            self.press("person-save", "click", 24, "F")
            self.press("signal", "select")
            found = _LINK.search(self.press("ask", "click"))
            if found is None:
                raise PageError("no record to save after the answer")
            return self.server.ask("GET", f"/{found[0]}")

    def press(self, name: str, kind: str, *values: Any) -> str:
        """Do what the page does at an event, wait for the end and return all that is shown anew, as JSON."""
        return "".join(self._run(number, kind, values) for number in self.server.find_events(name, kind))

    def _run(self, number: int, kind: str, values: tuple[Any, ...]) -> str:
        state = [] if kind == "load" else [None]  # the session itself stays with the server
        body = {"data": [*state, *values], "fn_index": number, "session_hash": self.key, "event_data": None}
        self.server.ask("POST", "/gradio_api/queue/join", json.dumps(body).encode())
        with self.server.open("GET", f"/gradio_api/queue/data?session_hash={self.key}") as stream:
            told = stream.read().decode()  # up to its end: what is left unread would cancel the next event
        done = [json.loads(line[5:]) for line in told.splitlines() if '"process_completed"' in line]
        if not done or not done[0]["success"]:
            raise PageError(f"event {number} of the page failed")
        return told

    def _upload(self, path: Path) -> dict[str, Any]:
        """Send a file and return how Gradio names it."""
        mark = secrets.token_hex(8)
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        kept = self.server.ask("POST", "/gradio_api/upload", body, f"multipart/form-data; boundary={mark}")
        return {"path": json.loads(kept)[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
