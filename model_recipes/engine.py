"""The local runtime: a GGUF file answers in this process, through llama.cpp, without torch and without a network."""

import json
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dataset_builder.errors import InputError
from model_recipes.runtime.check import check_file
from model_recipes.runtime.errors import CancelledError, EngineError, UnfinishedError
from model_recipes.runtime.generator import SPACING, Messages
from model_recipes.runtime.labels import LabelTrie, build_trie
from model_recipes.runtime.large_pages import has_large_pages, has_room
from model_recipes.runtime.model_digest import hash_model
from model_recipes.runtime.prefix_cache import PrefixCache, make_key
from model_recipes.runtime.reply import PLAIN, Reply, make_score_request
from model_recipes.runtime.server import LocalServer, choose_kv_type, is_read_in_place
from model_recipes.runtime.slots import N_SLOTS, Slots
from model_recipes.runtime.threads import count_threads

__all__ = ["CancelledError", "Engine", "EngineError", "Messages", "UnfinishedError", "count_threads"]

#: Tokens of context to begin with, for each prompt in memory; reopened with more when a prompt needs it.
_FIRST_CTX = 1536

#: What the tokenizer of a model of ours keeps in one piece, and what it never does.
_WHOLE, _APART = ("<|im_start|>", "<|im_end|>"), "0123456789"

#: Stands for the user's turn where the prefix of all prompts ends.
_MARK = "\u27e6user\u27e7"


class Engine:
    """A loaded GGUF file; use as a context manager.

    Several threads may ask one engine: they are served one after another.

    Parameters
    ----------
    path : str or Path
        GGUF file.
    n_threads : int, optional
        Default: `count_threads`.
    n_ctx : int, optional
        Tokens that prompt and answer may take together. Default: 1536, and more when a prompt needs it, up to what the
        model was made for.
    cache : PrefixCache, optional
        Where `read_prefix` keeps what it computed. Default: the user's cache folder.
    large_pages : bool
        Put weights that llama.cpp reads as they lie in the file (F32, F16, BF16, Q8_0) into large pages of memory,
        where the system has them (Linux from 6.1 on) and twice the file's size is free. Answers stay the same. Opening
        takes 3.3 seconds of the processor longer per gigabyte, and Q8_0 then answers 5 to 35 % faster, by the host: it
        pays from 150 to 1,300 tokens on.

    Raises
    ------
    InputError
        If the file is missing, is not GGUF, is damaged, or is no language model of ours.
    EngineError
        If llama.cpp cannot load it.
    """

    def __init__(
        self,
        path: str | Path,
        n_threads: int | None = None,
        n_ctx: int | None = None,
        *,
        cache: PrefixCache | None = None,
        large_pages: bool = False,
    ) -> None:
        self.path = Path(path)
        file_type = check_file(self.path)
        self._kv_type = choose_kv_type(file_type)
        wanted = large_pages and is_read_in_place(file_type)
        #: Whether the weights are in large pages, so far as the system has enough of them.
        self.large_pages = wanted and has_large_pages() and has_room(self.path.stat().st_size)
        self.n_threads = n_threads or count_threads()
        self._fixed_ctx = n_ctx is not None
        self.n_ctx = n_ctx or _FIRST_CTX
        #: Numbers of llama.cpp for the last call: tokens and milliseconds of prompt and answer.
        self.timings: dict[str, float] = {}
        self._cache = cache or PrefixCache()
        self._prefix: list[int] = []
        self._lock, self._cancel = threading.RLock(), threading.Event()
        self._server: LocalServer | None
        self._start()
        try:
            self._limit = int(self._open.post("/v1/models")["data"][0]["meta"]["n_ctx_train"])
            self._check_tokenizer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; harmless when done twice. A call in progress ends with `CancelledError` first."""
        self._cancel.set()
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def cancel(self) -> None:
        """Stop the call in progress, from another thread; it raises `CancelledError`. Without one nothing happens."""
        self._cancel.set()

    def render(self, messages: Messages) -> str:
        """Return the prompt in the file's chat template, ready for the answer, as NFC text."""
        clean = [{"role": m["role"], "content": unicodedata.normalize("NFC", m["content"])} for m in messages]
        with self._lock:
            return str(self._open.post("/apply-template", {"messages": clean})["prompt"])

    def tokenize(self, text: str) -> list[int]:
        """Return token ids of a text; special tokens written in it are read as such, none is added.

        The text is brought to NFC first, which Qwen2's tokenizer does in Transformers and llama.cpp does not.
        """
        body = {"content": unicodedata.normalize("NFC", text), "add_special": False, "parse_special": True}
        with self._lock:
            return [int(token) for token in self._open.post("/tokenize", body)["tokens"]]

    def read_prefix(self, system: str) -> None:
        """Read the system turn that the next prompts begin with, or take it from an earlier start.

        Answers do not depend on it, only how long the first one takes.

        Parameters
        ----------
        system : str
            Is kept on disk, as tokens and as what the model computed of them: it must be the same for everybody. User
            turns are never kept.

        Raises
        ------
        EngineError
            If it does not fit.
        """
        turns = [{"role": "system", "content": system}, {"role": "user", "content": _MARK}]
        with self._serving():
            tokens = self.tokenize(self.render(turns).split(_MARK)[0])
            self._make_room(len(tokens) + 1)
            self._prefix = tokens
            self._load_prefix()

    def score_labels(
        self, messages: Messages, labels: Sequence[str], prefix: str, *, time_limit_s: float | None = None
    ) -> dict[str, float]:
        """Tell how probable each label is as the next words of the answer.

        Parameters
        ----------
        messages : list of dict
            System and user turn.
        labels : sequence of str
            None may begin another.
        prefix : str
            How the answer starts before the label; a double quote is expected after it.
        time_limit_s : float, optional
            For each of the few times that the model is asked.

        Returns
        -------
        dict of str to float
            Sums to 1; see `model_recipes.runtime.labels.LabelTrie` for what is computed.

        Raises
        ------
        EngineError
            If the prompt does not fit, or time is over (`UnfinishedError`).
        """
        with self._serving():
            prompt = self.render(messages)
            trie = build_trie(labels, [self.tokenize(f'{prompt}{prefix}{label}"') for label in labels])
            self._make_room(max(len(trie.root) + len(path) for path in trie.paths))
            return trie.combine({node: self._ask_branch(trie, node, time_limit_s) for node in trie.branches})

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
            With a schema, an answer that is longer raises `UnfinishedError`; without one it is cut.
        seed : int
            Matters above temperature 0 only.
        temperature : float
            0 takes the most probable token each time.
        on_token : callable, optional
            Gets each piece of text as it comes; returning True stops.
        time_limit_s : float, optional
            Seconds; like `max_tokens`. A batch of the prompt that is being read is read to its end.

        Returns
        -------
        str

        Raises
        ------
        EngineError
            If the prompt does not fit, or llama.cpp does not hold the answer to the schema.
        UnfinishedError
            If an answer held to a schema did not end in time, or within `max_tokens`; its `text` is what there is.
        CancelledError
            After `cancel`.
        InputError
            If both `schema` and `prefix` are given.
        """
        if schema is not None and prefix:
            raise InputError("generate: schema and prefix were both given; accepted: one of them")
        with self._serving():
            tokens = self.tokenize(self.render(messages) + prefix)
            self._make_room(len(tokens) + max_tokens)
            request = {"prompt": tokens, "n_predict": max_tokens, "temperature": temperature, "seed": seed, **PLAIN}
            if schema is not None:
                request["json_schema"] = schema | SPACING
            reply = self._ask(request, on_token, time_limit_s)
        if schema is not None:
            reply.check_held(self.path.name)
        return prefix + reply.text

    @property
    def _open(self) -> LocalServer:
        if self._server is None:
            raise EngineError(f"{self.path.name}: the engine was closed")
        return self._server

    def _start(self) -> None:
        """Load the model; nothing is in its memory yet."""
        sizes = (self.n_threads, self.n_ctx, N_SLOTS, self._kv_type)
        self._server = LocalServer(self.path, *sizes, large_pages=self.large_pages)
        self._slots = Slots()

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """Let one thread in at a time; what was cancelled before is forgotten."""
        with self._lock:
            self._cancel.clear()
            yield

    def _ask(
        self,
        request: dict[str, Any],
        on_token: Callable[[str], bool | None] | None = None,
        time_limit_s: float | None = None,
    ) -> Reply:
        reply = Reply(self._cancel, on_token, time_limit_s)
        self._open.complete(request | {"id_slot": self._slots.take(request["prompt"])}, reply.receive)
        self.timings = reply.timings
        reply.check_not_cancelled(self.path.name)
        return reply

    def _ask_branch(self, trie: LabelTrie, node: tuple[int, ...], time_limit_s: float | None) -> dict[int, float]:
        """Return the probabilities of the tokens that may follow `node`, among themselves."""
        tokens = trie.branches[node]
        reply = self._ask(make_score_request([*trie.root, *node], tokens), time_limit_s=time_limit_s)
        return reply.read_probabilities(tokens, self.path.name)

    def _load_prefix(self) -> None:
        """Bring the model into the state after the prefix, from disk or by reading it."""
        length, origin = len(self._prefix), (hash_model(self.path), self._kv_type, metadata.version("xllamacpp"))
        key = make_key(*origin, json.dumps(self._prefix))
        state = self._cache.load(key)
        if state is None or not self._open.restore_state(state, length):
            state = self._read_prefix()
            if state is None or not self._open.restore_state(state, length):
                return
            self._cache.save(key, state)
        self._slots.fill(self._prefix)

    def _read_prefix(self) -> bytes | None:
        """Let the model read the prefix; return its state, None where that cannot be had."""
        self._open.forget()
        self._slots = Slots()
        self._ask({"prompt": self._prefix, "n_predict": 0, **PLAIN})
        return self._open.save_state(self._slots.take(self._prefix), len(self._prefix))

    def _check_tokenizer(self) -> None:
        """Refuse a tokenizer that would cut turns or codes otherwise than in training."""
        if any(len(self.tokenize(text)) != 1 for text in _WHOLE) or len(self.tokenize(_APART)) != len(_APART):
            found = "turn marks are cut or digits are not"
            raise InputError(f"{self.path.name}: {found}; accepted: a Qwen2 tokenizer with ChatML's tokens")

    def _make_room(self, n_tokens: int) -> None:
        """Reopen the model with a longer context when a prompt needs it."""
        limit = min(self.n_ctx, self._limit) if self._fixed_ctx else self._limit
        if n_tokens > limit:
            raise EngineError(f"{self.path.name}: prompt and answer take {n_tokens} tokens; at most {limit} fit")
        if n_tokens > self.n_ctx:
            self.n_ctx = min(self._limit, 2 ** (n_tokens - 1).bit_length())
            self._open.close()
            self._start()
            if self._prefix:
                self._load_prefix()
