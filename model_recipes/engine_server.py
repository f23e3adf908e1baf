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

from dataset_builder.errors import CopilotError

#: A Unix socket's path must fit into 104 bytes on macOS, 108 on Linux.
_MAX_SOCKET_PATH = 100


class EngineError(CopilotError):
    """llama.cpp could not load a model or could not answer."""


class LocalServer:
    """One loaded model.

    Parameters
    ----------
    path : Path
        GGUF file.
    n_threads : int
    n_ctx : int
        Tokens that prompt and answer may take together.

    Raises
    ------
    EngineError
        If llama.cpp cannot load the file.
    """

    def __init__(self, path: Path, n_threads: int, n_ctx: int) -> None:
        self._key = secrets.token_hex(16)
        self._folder = tempfile.mkdtemp(prefix="eeg-copilot-")
        self._connection: http.client.HTTPConnection | None = None
        try:
            self._server: Any = xllamacpp.Server(self._make_params(path, n_threads, n_ctx))
        except RuntimeError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(f"{path.name}: llama.cpp cannot load it; is it a complete language model?") from None

    def complete(
        self, request: dict[str, Any], on_chunk: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """Run one completion in this process.

        Parameters
        ----------
        request : dict
            Fields of llama.cpp's ``/completion``.
        on_chunk : callable, optional
            Gets every chunk as it comes; returning True stops.

        Returns
        -------
        dict
            The answer, or an empty one when streamed.

        Raises
        ------
        EngineError
            With llama.cpp's own message.
        """
        if on_chunk is None:
            return _checked(self._server.handle_completions(request))
        faults: list[dict[str, Any]] = []

        def receive(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                faults.append(chunk)
                return True
            return on_chunk(chunk)

        self._server.handle_completions({**request, "stream": True}, receive)
        for fault in faults:
            _checked(fault)
        return {}

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a function that exists over HTTP only; without `body` by GET."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        try:
            self._connection = self._connection or self._connect()
            self._connection.request("GET" if body is None else "POST", path, data, headers)
            return _checked(json.loads(self._connection.getresponse().read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"engine: {path} failed ({type(error).__name__})") from None

    def close(self) -> None:
        """Stop the server and free the model; harmless when done twice."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_params(self, path: Path, n_threads: int, n_ctx: int) -> Any:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = n_ctx, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.n_gpu_layers, params.fit_params, params.warmup = 0, False, False
        # Exact attention: a half-precision cache moves logits by 0.03, a full one by 0.0002, at 25 MB for 1000 tokens.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_ram_mib = params.n_ctx_checkpoints = 0  # the slot's own cache is enough
        params.api_keys, params.n_threads_http = [self._key], 1
        params.ui = params.endpoint_slots = params.endpoint_props = False
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
