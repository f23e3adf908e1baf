"""llama.cpp inside this process: start it quietly, reach its few HTTP-only functions without a network port.

The server of xllamacpp always listens. Where the system has Unix sockets it is given one in a private folder, so that
no port is opened at all; elsewhere it is bound to the loopback address. Either way every request needs a random key.
"""

import http.client
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xllamacpp

from model_recipes.runtime.errors import EngineError
from model_recipes.runtime.large_pages import list_regions, use_large_pages

#: A Unix socket's path must fit into 104 bytes on macOS, 108 on Linux.
_MAX_SOCKET_PATH = 100

#: Tokens that are read at once; between two batches a request can be stopped.
_BATCH = 256

#: Numbers of GGUF's file types whose weights are not quantised: F32, F16, BF16.
_WHOLE_TYPES = (0, 1, 32)

#: Number of a type whose weights are quantised and yet read as they lie in the file: Q8_0.
_Q8_0 = 7

#: Name of a state while it lies in the private folder.
_STATE = "prefix.state"


class LocalServer:
    """One loaded model.

    Parameters
    ----------
    path : Path
        GGUF file.
    n_threads : int
    n_ctx : int
        Tokens that prompt and answer may take together.
    n_slots : int
        Prompts that are held in memory at once.
    kv_type : str
        Precision of keys and values, see `choose_kv_type`.
    large_pages : bool
        Read the file into large pages of memory instead of mapping it.

    Raises
    ------
    EngineError
        If llama.cpp cannot load the file.
    """

    def __init__(
        self,
        path: Path,
        n_threads: int,
        n_ctx: int,
        n_slots: int = 1,
        kv_type: str = "F32",
        *,
        large_pages: bool = False,
    ) -> None:
        self.n_slots, self.kv_type, self.large_pages = n_slots, kv_type, large_pages
        self._key = secrets.token_hex(16)
        self._folder = tempfile.mkdtemp(prefix="eeg-copilot-")
        self._connection: http.client.HTTPConnection | None = None
        before = list_regions()
        try:
            self._server: Any = xllamacpp.Server(self._make_params(path, n_threads, n_ctx))
        except RuntimeError:  # says no more than that it failed
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(f"{path.name}: llama.cpp cannot load it; is it a complete language model?") from None
        # Answered by the server's main loop, which runs by then: closed before, it would never hear that it shall end.
        self.forget()
        if large_pages:
            use_large_pages(before)

    def complete(self, request: dict[str, Any], on_chunk: Callable[[dict[str, Any]], bool]) -> None:
        """Run one completion in this process.

        Parameters
        ----------
        request : dict
            Fields of llama.cpp's ``/completion``.
        on_chunk : callable
            Gets every chunk as it comes, while the prompt is read too; returning True stops. What it raises stops as
            well and is raised here: llama.cpp would swallow it.

        Raises
        ------
        EngineError
            With llama.cpp's own message.
        """
        faults: list[BaseException] = []

        def receive(chunk: dict[str, Any]) -> bool:
            try:
                return on_chunk(_checked(chunk))
            except BaseException as error:  # Ctrl-C lands here too
                faults.append(error)
                return True

        self._server.handle_completions({**request, "stream": True, "return_progress": True}, receive)
        if faults:
            raise faults[0]

    def save_state(self, slot: int, n_tokens: int) -> bytes | None:
        """Return what the model computed of a slot's prompt, None unless that was exactly so many tokens."""
        path = Path(self._folder, _STATE)
        try:
            answer = self.post(f"/slots/{slot}?action=save", {"filename": _STATE})
            return path.read_bytes() if answer.get("n_saved") == n_tokens else None
        except OSError:
            return None  # a full disk; whoever asked can do without
        finally:
            path.unlink(missing_ok=True)

    def restore_state(self, state: bytes, n_tokens: int) -> bool:
        """Put a prompt from `save_state` into every slot; tell whether that worked."""
        path = Path(self._folder, _STATE)
        places = [f"/slots/{slot}?action=restore" for slot in range(self.n_slots)]
        try:
            path.write_bytes(state)
            return all(self.post(place, {"filename": _STATE}).get("n_restored") == n_tokens for place in places)
        except (OSError, EngineError):
            return False
        finally:
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Forget all prompts."""
        for slot in range(self.n_slots):
            self.post(f"/slots/{slot}?action=erase", {})

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a function that exists over HTTP only; without `body` by GET."""
        try:
            return _checked(json.loads(self._request(path, body)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection = None  # half an answer may be left in it
            raise EngineError(f"engine: {path} failed ({type(error).__name__})") from None

    def _request(self, path: str, body: dict[str, Any] | None) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        data, old = None if body is None else json.dumps(body), self._connection
        self._connection = old or self._connect()
        try:
            self._connection.request("GET" if body is None else "POST", path, data, headers)
            return self._connection.getresponse().read()
        except (ConnectionError, http.client.RemoteDisconnected):
            if old is None:
                raise
            self._connection = None  # the server closes a connection that was idle for a few seconds
            return self._request(path, body)

    def close(self) -> None:
        """Stop the server and free the model; harmless when done twice."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_params(self, path: Path, n_threads: int, n_ctx: int) -> Any:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = n_ctx * self.n_slots, self.n_slots
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.n_gpu_layers, params.fit_params, params.warmup = 0, False, False
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type[f"GGML_TYPE_{self.kv_type}"]
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.n_batch, params.slot_save_path = _BATCH, os.path.join(self._folder, "")
        params.cache_ram_mib = params.n_ctx_checkpoints = 0  # the slot's own cache is enough
        params.api_keys, params.n_threads_http = [self._key], 1
        params.ui = params.endpoint_slots = params.endpoint_props = False
        if self.large_pages:  # a mapped file has small pages
            params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
        params.verbosity = -1
        params.hostnames = [self._socket_path or "127.0.0.1"]
        return params

    @property
    def _socket_path(self) -> str:
        path = os.path.join(self._folder, "engine.sock")
        return path if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= _MAX_SOCKET_PATH else ""

    def _connect(self) -> http.client.HTTPConnection:
        if self._socket_path:
            return _UnixConnection(self._socket_path)
        address = urlsplit(self._server.listening_address)
        return http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port)


def choose_kv_type(file_type: int | None) -> str:
    """Return the precision of keys and values for a file of some type, a number of GGUF's.

    A half-precision cache moves logits by 0.03, a full one by 0.0002, at 25 MB for 1000 tokens of a 0.5B model. Where
    the weights are not quantised that is the largest error there is; elsewhere theirs is some hundred times larger, and
    half the bytes make both reading and writing faster.
    """
    return "F32" if file_type is None or file_type in _WHOLE_TYPES else "F16"


def is_read_in_place(file_type: int | None) -> bool:
    """Tell whether llama.cpp reads a file's weights as they lie there.

    Q4_0 and most matrices of Q4_K_M it arranges anew in memory of its own, where the processor has AVX2 or what ARM has
    instead; reading Q5_K_M is so much arithmetic that pages hardly matter.
    """
    return file_type == _Q8_0 or file_type in _WHOLE_TYPES


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        message = str(answer["error"].get("message", "no reason given")).splitlines()[0]
        raise EngineError(f"engine: {message}")
    return answer
