"""What the model computed of a constant beginning, kept on disk between starts.

::

    ~/.cache/eeg-emotion-copilot/prefixes/     mode 0700
      <sha256>.prefix                          magic, digest, llama.cpp's state; mode 0600

Only the words that every prompt of a model begins with are ever stored; nothing of a recording or a person is. A file
that is damaged counts as absent, and so does a folder that other users can write to.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

#: Environment variable that names another folder.
CACHE_VARIABLE = "EEG_COPILOT_CACHE"

#: Changed when the layout of a file changes.
_MAGIC = b"EEGPFX1\n"

_SUFFIX = ".prefix"


class PrefixCache:
    """A folder of states.

    Parameters
    ----------
    folder : str or Path, optional
        Default: ``prefixes`` in the folder that ``EEG_COPILOT_CACHE`` names, else in the user's cache folder.
    max_bytes : int
        When files take more than this together, those not used for longest are removed.
    """

    def __init__(self, folder: str | Path | None = None, max_bytes: int = 256 * 2**20) -> None:
        self.folder = find_cache_folder() / "prefixes" if folder is None else Path(folder)
        self.max_bytes = max_bytes

    def load(self, key: str) -> bytes | None:
        """Return a state, None if there is none or it is damaged."""
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            if not self._is_private():
                return None
            data = path.read_bytes()
            os.utime(path)  # counts as used
        except OSError:
            return None
        head, state = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
        return state if head == _MAGIC + hashlib.sha256(state).digest() else None

    def save(self, key: str, state: bytes) -> None:
        """Keep a state, whole or not at all. Where nothing can be written the next start only takes longer."""
        if len(state) > self.max_bytes:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_private():
                self._write(self.folder / f"{key}{_SUFFIX}", _MAGIC + hashlib.sha256(state).digest() + state)
                self._trim()

    def _write(self, path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def _trim(self) -> None:
        """Remove the files that were not used for longest, as many as there are too many bytes."""
        found = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in self.folder.glob(f"*{_SUFFIX}")]
        excess = sum(size for _, size, _ in found) - self.max_bytes
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _is_private(self) -> bool:
        """Tell whether nobody else can put a file there."""
        facts = self.folder.lstat()
        others = stat.S_IWGRP | stat.S_IWOTH
        owned = not hasattr(os, "getuid") or facts.st_uid == os.getuid()
        return stat.S_ISDIR(facts.st_mode) and owned and not facts.st_mode & others


def find_cache_folder() -> Path:
    """Return the folder for what can be computed again."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "eeg-emotion-copilot"


def make_key(*parts: str) -> str:
    """Return the name of a state: a digest of all that it depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
