"""What all tabs share: the models, the private folder, and the list of open sessions."""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from copilot.app.models import ModelShelf
from copilot.app.privacy import PrivateFolder
from copilot.app.session import Session
from dataset_builder.errors import CopilotError


@dataclass(frozen=True)
class DeskOptions:
    """How the page is offered.

    Parameters
    ----------
    hosted : bool
        The page is served by somebody else's computer, such as a Space: it says so, takes no uploads and no paths.
    max_mb : int
        Largest file that is accepted, MB.
    sample : Path or None
        Made-up EDF file that the page offers; None: it is made when somebody asks for it.
    """

    hosted: bool = False
    max_mb: int = 1024
    sample: Path | None = None


@dataclass
class Desk:
    """The process's side of the page.

    Parameters
    ----------
    shelf : ModelShelf
    folder : PrivateFolder
    options : DeskOptions
    """

    shelf: ModelShelf
    folder: PrivateFolder
    options: DeskOptions = DeskOptions()
    _sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open_session(self, key: str) -> Session:
        """Start a session for a browser tab; one of the same tab that is still open ends."""
        self.close_session(key)
        session = Session(self.folder.make())
        with self._lock:
            self._sessions[key] = session
        return session

    def close_session(self, key: str) -> None:
        """End a tab's session; harmless when there is none."""
        with self._lock:
            session = self._sessions.pop(key, None)
        if session is not None:
            session.close()
            self.folder.sweep()

    def find_session(self, token: str) -> Session | None:
        """Return the open session whose downloads carry this secret."""
        with self._lock:
            return next((session for session in self._sessions.values() if session.token == token), None)

    def first_model(self) -> Path | None:
        """Return the model that a new session begins with: the last file of the first folder, as the demo takes it."""
        return self.shelf.files[-1] if self.shelf.files else None

    def warm_up(self) -> None:
        """Load the first model in the background, so that nobody waits. A file that fails is told when chosen."""
        first = self.first_model()
        if first is not None:
            threading.Thread(target=self._warm, args=(first,), name="warm-up", daemon=True).start()

    def _warm(self, path: Path) -> None:
        with contextlib.suppress(CopilotError):
            self.shelf.warm(self.shelf.choose(path))

    def close(self) -> None:
        """End all sessions, free the model, remove the private folder."""
        with self._lock:
            keys = list(self._sessions)
        for key in keys:
            self.close_session(key)
        self.shelf.close()
        self.folder.remove()
