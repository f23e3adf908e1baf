"""What keeps a session private: a closed environment, one private folder, and a browser that may not look elsewhere."""

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TextIO

#: How our private folders begin, so that those of a killed process are found and removed.
_PREFIX = "eeg-app-"

#: Held locked as long as the process lives; the kernel lets go of it however the process ends.
_LOCK = "lock"

#: How long an empty file may be one that is just being uploaded, s.
_NEW_S = 30.0

#: Read by Gradio and the Hugging Face libraries when they are imported.
_CLOSED = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}

#: What the browser may load, and from where: only from this program. Gradio's own page needs inline scripts and styles.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)

#: No copy in the browser's cache, no address told to others.
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class PrivateFolder:
    """A folder that only this user can enter, removed with all its content at the end of the process.

    Folders that killed processes of ours left are removed as well.

    Parameters
    ----------
    parent : Path, optional
        Default: the system's folder for temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        remove_leftovers(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mode 0700
        self._lock: TextIO | None = (self.path / f"{_LOCK}.new").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(self.path / f"{_LOCK}.new", self.path / _LOCK)  # seen by others only when it is locked
        atexit.register(self.remove)

    def make(self) -> Path:
        """Return a new folder in it whose name cannot be guessed."""
        folder = self.path / "uploads" / secrets.token_hex(20)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def sweep(self) -> None:
        """Remove the empty files that Gradio makes for every upload and forgets."""
        for path in (self.path / "uploads").glob("tmp*"):
            with contextlib.suppress(FileNotFoundError):  # renamed, or swept by the end of another tab
                status = path.stat()
                if path.is_file() and not status.st_size and time.time() - status.st_mtime > _NEW_S:
                    path.unlink()

    def remove(self) -> None:
        """Remove the folder; harmless when done twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        self._lock = None


def remove_leftovers(parent: Path) -> None:
    """Remove private folders of processes that are gone."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("r+") as stream:  # OSError: in use, or somebody else's
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def close_environment(folder: Path) -> None:
    """Tell Gradio and all libraries to stay offline and to write nowhere but into `folder`.

    Must be called before Gradio is imported.
    """
    os.environ.update(_CLOSED, GRADIO_TEMP_DIR=str(folder / "uploads"), TMPDIR=str(folder))
    direct = ["127.0.0.1", "localhost", os.environ.get("NO_PROXY", "")]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, direct))
    tempfile.tempdir = str(folder)


class PrivateAnswers:
    """ASGI middleware: every answer forbids the browser to keep it and to load anything from elsewhere.

    Parameters
    ----------
    app : ASGI application
    framed : bool
        Whether other sites may show the page in a frame, as the Hub does with a Space.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], framed: bool = False) -> None:
        self.app = app
        policy = _POLICY if framed else f"{_POLICY}; frame-ancestors 'none'"
        headers = _HEADERS | {"content-security-policy": policy}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and put the headers on what comes back."""
        names = {name for name, _ in self._headers}

        async def send_private(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
                message["headers"] = kept + self._headers
            await send(message)

        await self.app(scope, receive, send_private)
