"""One request to llama.cpp: how it is put, what comes back piece by piece, why it ended, whether it is whole."""

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from model_recipes.runtime.errors import CancelledError, EngineError, UnfinishedError

#: Sampling without any of llama.cpp's or the file's own defaults.
PLAIN = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, "cache_prompt": True}

#: Added to the logits of the tokens asked about, so that no other can be drawn. Costs 1e-5 of their precision.
_BIAS = 200.0

_LIMITS = {"time": "time limit", "length": "largest number of tokens"}


class Reply:
    """What came back of one request until now.

    Parameters
    ----------
    cancel : threading.Event
        Once set, the request is stopped.
    on_token : callable, optional
        Gets each piece of text; returning True stops.
    time_limit_s : float, optional
        Seconds from now on.
    """

    def __init__(
        self,
        cancel: threading.Event,
        on_token: Callable[[str], bool | None] | None = None,
        time_limit_s: float | None = None,
    ) -> None:
        self.text = ""
        #: ``"stop"``, ``"length"``, or why we stopped it: ``"cancelled"``, ``"time"``, ``"callback"``.
        self.finish = ""
        #: llama.cpp's numbers: tokens and milliseconds of prompt and answer; none when stopped early.
        self.timings: dict[str, float] = {}
        self._tokens: list[dict[str, Any]] = []
        self._cancel, self._on_token = cancel, on_token
        self._end = time.monotonic() + (math.inf if time_limit_s is None else time_limit_s)

    def receive(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk; tell whether to stop."""
        piece = ""
        for choice in chunk.get("choices", []):
            piece += choice.get("text") or ""
            self.finish = choice.get("finish_reason") or self.finish
            self._tokens += (choice.get("logprobs") or {}).get("content", [])
        self.text += piece
        self.timings = dict(chunk.get("timings") or self.timings)
        if self.finish:
            return False
        if self._cancel.is_set():
            self.finish = "cancelled"
        elif time.monotonic() >= self._end:
            self.finish = "time"
        elif piece and self._on_token is not None and self._on_token(piece):
            self.finish = "callback"
        return bool(self.finish)

    def check_not_cancelled(self, name: str) -> None:
        """Raise `CancelledError` after a cancellation; `name` is the file's."""
        if self.finish == "cancelled":
            raise CancelledError(f"{name}: the answer was cancelled", self.text)

    def check_held(self, name: str) -> None:
        """Refuse what is not the JSON that was asked for.

        Raises
        ------
        UnfinishedError
            If it was cut.
        EngineError
            If it is something else: a schema that llama.cpp cannot compile is dropped without a word.
        """
        begun = not self.text or self.text.startswith("{")
        if begun and self.finish in _LIMITS:
            raise UnfinishedError(f"{name}: the {_LIMITS[self.finish]} came before the end of the answer", self.text)
        if not begun or (self.finish == "stop" and not _is_json(self.text)):
            raise EngineError(f"{name}: the answer is not held to the schema; is it a valid JSON schema?")

    def read_probabilities(self, tokens: Sequence[int], name: str) -> dict[int, float]:
        """Return the probabilities of the tokens that `make_score_request` asked about, among themselves.

        Raises
        ------
        UnfinishedError
            If time was over before.
        EngineError
            If others came back.
        """
        if not self._tokens:
            raise UnfinishedError(f"{name}: the time limit came before the scores")
        found = {item["id"]: item["prob"] for item in self._tokens[0]["top_probs"]}
        if not set(found) <= set(tokens):
            raise EngineError(f"{name}: the scores of {len(tokens)} labels could not be told apart")
        total = sum(found.values())
        return {token: found.get(token, 0.0) / total for token in tokens}


def make_score_request(prompt: Sequence[int], tokens: Sequence[int]) -> dict[str, Any]:
    """Return the request for the probabilities of some tokens after a prompt."""
    return {
        "prompt": list(prompt),
        "n_predict": 1,
        "n_probs": len(tokens),
        "post_sampling_probs": True,
        "samplers": ["temperature"],
        "temperature": 1.0,
        "logit_bias": [[token, _BIAS] for token in tokens],
        **PLAIN,
    }


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
