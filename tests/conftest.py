"""Offline by construction: no token, no cache of the user, no connection but to this machine."""

import atexit
import os
import shutil
import signal
import socket
import tempfile
import threading
from typing import Any

# Before anything imports a Hugging Face library: they read these once, at import.
_HOME = tempfile.mkdtemp(prefix="eeg-copilot-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    EEG_COPILOT_CACHE=os.path.join(_HOME, "engine"),
    HF_HOME=_HOME,
    HF_HUB_CACHE=os.path.join(_HOME, "hub"),
    HF_DATASETS_CACHE=os.path.join(_HOME, "datasets"),
    HF_TOKEN="",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    MNE_HOME=_HOME,
    MPLBACKEND="Agg",
    MPLCONFIGDIR=_HOME,
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.pop("HF_ENDPOINT", None)
os.environ.pop("EEG_COPILOT_THREADS", None)

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them every command that they start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402

from tests.loopback import is_loopback  # noqa: E402


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine, except in tests marked ``network``."""
    if request.node.get_closest_marker("network") is None:
        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, _guard(getattr(socket.socket, name)))


def _guard(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not is_loopback(address):
            raise PermissionError(f"tests stay on this machine; refused a connection to {address[0]}")
        return connect(self, address)

    return guarded
