"""The local runtime: a GGUF file answers in this process, through llama.cpp, without torch and without a network."""

import json
import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dataset_builder.errors import InputError
from model_recipes.engine_server import EngineError, LocalServer
from model_recipes.gguf_header import check_magic
from model_recipes.labels import LabelTrie, build_trie

__all__ = ["Engine", "EngineError", "count_threads"]

#: Tokens of context to begin with; reopened with more when a prompt needs it.
_FIRST_CTX = 2048

#: Added to the logits of the tokens asked about, so that no other can be drawn. Costs 1e-5 of their precision.
_BIAS = 200.0

#: Sampling without any of llama.cpp's or the file's own defaults.
_PLAIN = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, "cache_prompt": True}

#: Makes llama.cpp write JSON as `json.dumps` does, which is how the model was trained, instead of with any white space.
_SPACING = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}

Messages = list[dict[str, str]]


class Engine:
    """A loaded GGUF file; use as a context manager.

    Parameters
    ----------
    path : str or Path
        GGUF file.
    n_threads : int, optional
        Default: `count_threads`.
    n_ctx : int, optional
        Tokens that prompt and answer may take together. Default: 2048, and more when a prompt needs it, up to what the
        model was made for.

    Raises
    ------
    InputError
        If the file is missing or is not GGUF.
    EngineError
        If llama.cpp cannot load it.
    """

    def __init__(self, path: str | Path, n_threads: int | None = None, n_ctx: int | None = None) -> None:
        self.path = Path(path)
        check_magic(self.path)
        self.n_threads = n_threads or count_threads()
        self._fixed_ctx = n_ctx is not None
        self.n_ctx = n_ctx or _FIRST_CTX
        #: Numbers of llama.cpp for the last call: tokens and milliseconds of prompt and answer.
        self.timings: dict[str, float] = {}
        self._server: LocalServer | None = LocalServer(self.path, self.n_threads, self.n_ctx)
        self._limit = int(self._open.post("/v1/models")["data"][0]["meta"]["n_ctx_train"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; harmless when done twice."""
        if self._server is not None:
            self._server.close()
        self._server = None

    def render(self, messages: Messages) -> str:
        """Return the prompt in the file's chat template, ready for the answer, as NFC text."""
        clean = [{"role": m["role"], "content": unicodedata.normalize("NFC", m["content"])} for m in messages]
        return str(self._open.post("/apply-template", {"messages": clean})["prompt"])

    def tokenize(self, text: str) -> list[int]:
        """Return token ids of a text; special tokens written in it are read as such, none is added.

        The text is brought to NFC first, which Qwen2's tokenizer does in Transformers and llama.cpp does not.
        """
        body = {"content": unicodedata.normalize("NFC", text), "add_special": False, "parse_special": True}
        return [int(token) for token in self._open.post("/tokenize", body)["tokens"]]

    def score_labels(self, messages: Messages, labels: Sequence[str], prefix: str) -> dict[str, float]:
        """Tell how probable each label is as the next words of the answer.

        Parameters
        ----------
        messages : list of dict
            System and user turn.
        labels : sequence of str
            None may begin another.
        prefix : str
            How the answer starts before the label; a double quote is expected after it.

        Returns
        -------
        dict of str to float
            Sums to 1; see `model_recipes.labels.LabelTrie` for what is computed.

        Raises
        ------
        EngineError
            If the prompt does not fit.
        """
        prompt = self.render(messages)
        trie = build_trie(labels, [self.tokenize(f'{prompt}{prefix}{label}"') for label in labels])
        self._make_room(max(len(trie.root) + len(path) for path in trie.paths))
        return trie.combine({node: self._ask_branch(trie, node) for node in trie.branches})

    def generate(
        self,
        messages: Messages,
        schema: dict[str, Any] | None = None,
        *,
        prefix: str = "",
        max_tokens: int = 512,
        seed: int = 0,
        temperature: float = 0.0,
        on_token: Callable[[str], bool | None] | None = None,
        time_limit_s: float | None = None,
    ) -> str:
        """Write an answer.

        Parameters
        ----------
        messages : list of dict
            System and user turn.
        schema : dict, optional
            JSON schema of an object that the answer is held to; not together with `prefix`.
        prefix : str
            How the answer starts; part of the returned text.
        max_tokens : int
            With a schema, an answer cut here is not valid JSON.
        seed : int
            Matters above temperature 0 only.
        temperature : float
            0 takes the most probable token each time.
        on_token : callable, optional
            Gets each piece of text as it comes; returning True stops.
        time_limit_s : float, optional
            Stops after so many seconds.

        Returns
        -------
        str

        Raises
        ------
        EngineError
            If the prompt does not fit, or llama.cpp does not hold the answer to the schema.
        InputError
            If both `schema` and `prefix` are given.
        """
        if schema is not None and prefix:
            raise InputError("generate: schema and prefix were both given; accepted: one of them")
        tokens = self.tokenize(self.render(messages) + prefix)
        self._make_room(len(tokens) + max_tokens)
        request = {"prompt": tokens, "n_predict": max_tokens, "temperature": temperature, "seed": seed, **_PLAIN}
        if schema is not None:
            request["json_schema"] = schema | _SPACING
        if on_token is not None or time_limit_s is not None:
            return prefix + self._stream(request, on_token, time_limit_s)
        answer = self._open.complete(request)
        self.timings = dict(answer.get("timings", {}))
        choice = answer["choices"][0]
        if schema is not None and not _may_be_json(choice["text"], complete=choice["finish_reason"] == "stop"):
            # A schema that llama.cpp cannot compile is dropped without a word.
            raise EngineError(f"{self.path.name}: the answer is not held to the schema; is it a valid JSON schema?")
        return prefix + str(choice["text"])

    @property
    def _open(self) -> LocalServer:
        if self._server is None:
            raise EngineError(f"{self.path.name}: the engine was closed")
        return self._server

    def _stream(
        self, request: dict[str, Any], on_token: Callable[[str], bool | None] | None, time_limit_s: float | None
    ) -> str:
        pieces: list[str] = []
        self.timings = {}
        end = time.monotonic() + (float("inf") if time_limit_s is None else time_limit_s)

        def receive(chunk: dict[str, Any]) -> bool:
            self.timings = dict(chunk.get("timings") or self.timings)
            pieces.extend(choice.get("text", "") for choice in chunk.get("choices", []))
            stop = on_token(pieces[-1]) if on_token and pieces and pieces[-1] else False
            return bool(stop) or time.monotonic() >= end

        self._open.complete(request, receive)
        return "".join(pieces)

    def _ask_branch(self, trie: LabelTrie, node: tuple[int, ...]) -> dict[int, float]:
        """Return the probabilities of the tokens that may follow `node`, among themselves."""
        tokens = trie.branches[node]
        request = {
            "prompt": [*trie.root, *node],
            "n_predict": 1,
            "n_probs": len(tokens),
            "post_sampling_probs": True,
            "samplers": ["temperature"],
            "temperature": 1.0,
            "logit_bias": [[token, _BIAS] for token in tokens],
            **_PLAIN,
        }
        answer = self._open.complete(request)
        self.timings = dict(answer.get("timings", {}))
        found = {item["id"]: item["prob"] for item in answer["choices"][0]["logprobs"]["content"][0]["top_probs"]}
        if not set(found) <= set(tokens):
            raise EngineError(f"{self.path.name}: the scores of {len(tokens)} labels could not be told apart")
        total = sum(found.values())
        return {token: found.get(token, 0.0) / total for token in tokens}

    def _make_room(self, n_tokens: int) -> None:
        """Reopen the model with a longer context when a prompt needs it."""
        limit = min(self.n_ctx, self._limit) if self._fixed_ctx else self._limit
        if n_tokens > limit:
            raise EngineError(f"{self.path.name}: prompt and answer take {n_tokens} tokens; at most {limit} fit")
        if n_tokens > self.n_ctx:
            self.n_ctx = min(self._limit, 2 ** (n_tokens - 1).bit_length())
            self.close()
            self._server = LocalServer(self.path, self.n_threads, self.n_ctx)


def _may_be_json(text: str, complete: bool) -> bool:
    """Tell whether a text is JSON, or, when it was cut, at least the beginning of an object."""
    if not complete:
        return text.startswith("{")
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def count_threads() -> int:
    """Return one less than the physical cores this process may use, at least one.

    llama.cpp's threads wait for each other after every matrix: one that the system takes away stops them all.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_read_siblings(cpu) for cpu in usable}
    return max(1, len(cores) - 1)


def _read_siblings(cpu: int) -> str:
    """Return which logical processors share a core with this one; its own number where the system does not tell."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)
