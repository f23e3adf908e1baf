"""Asking the model, watched: scores window by window, and sentences as they are written and pass the checks."""

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from copilot.answer import RecordingAnswer, answer_recording
from copilot.gate import check_confidence, check_text
from dataset_builder.codecs import Codec
from dataset_builder.prompts import Language, Style
from dataset_builder.types import EMOTIONS, Recording

#: Where the assessment begins in an answer that is JSON, and what ends a sentence.
_BEGINNING = re.compile(r'"assessment"\s*:\s*"')
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？]")


@dataclass(frozen=True)
class Progress:
    """How far an answer is.

    Parameters
    ----------
    n_windows : int
    n_done : int
        Windows that are scored.
    scores : dict of str to float
        Mean probability of each emotion over them; empty before the first.
    text : str
        Whole sentences of the assessment so far, each checked as a record's text is.
    answer : RecordingAnswer or None
        Set in the last one.
    """

    n_windows: int
    n_done: int = 0
    scores: dict[str, float] | None = None
    text: str = ""
    answer: RecordingAnswer | None = None


class WatchedEngine:
    """An engine that tells how far it is; otherwise the engine that it holds.

    Parameters
    ----------
    engine : LabelEngine
    on_scores : callable
        Gets the scores of each prompt.
    on_text : callable
        Gets the emotion that an answer is held to and what was written so far.
    """

    def __init__(
        self, engine: Any, on_scores: Callable[[dict[str, float]], None], on_text: Callable[[str, str], None]
    ) -> None:
        self._engine, self._on_scores, self._on_text = engine, on_scores, on_text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def score_labels(self, messages: list[dict[str, str]], labels: Sequence[str], prefix: str) -> dict[str, float]:
        """Score as the engine does, and tell."""
        scores: dict[str, float] = self._engine.score_labels(messages, labels, prefix)
        self._on_scores(scores)
        return scores

    def generate(self, messages: list[dict[str, str]], schema: dict[str, Any] | None, **options: Any) -> str:
        """Write as the engine does, and tell each piece of an answer that is JSON; others are told when whole."""
        emotion = schema["properties"]["emotion"]["enum"][0] if schema else ""
        written = ""

        def tell(piece: str) -> None:
            nonlocal written
            written += piece
            self._on_text(emotion, written)

        watch = {"on_token": tell} if schema else {}
        return str(self._engine.generate(messages, schema, **watch, **options))


def stream_answer(recording: Recording, engine: Any, codec: Codec, style: Style, seed: int) -> Iterator[Progress]:
    """Ask the model about a recording and tell how far it is.

    When the caller stops listening, the model is stopped.

    Parameters
    ----------
    recording : Recording
        Cut as the codec reads it.
    engine : LabelEngine
    codec, style
        The model's own.
    seed : int
        Seed of the generated answer.

    Yields
    ------
    Progress
        The last one has the answer.

    Raises
    ------
    CopilotError
        As `copilot.answer.answer_recording` does.
    """
    told: queue.SimpleQueue[Progress | BaseException] = queue.SimpleQueue()
    state = Progress(len(recording))
    rows: list[list[float]] = []

    def tell_scores(scores: dict[str, float]) -> None:
        nonlocal state
        rows.append([scores[emotion] for emotion in EMOTIONS])
        means = dict(zip(EMOTIONS, np.mean(rows, axis=0).tolist(), strict=True))
        state = replace(state, n_done=len(rows), scores=means)
        told.put(state)

    def tell_text(emotion: str, written: str) -> None:
        nonlocal state
        if state.scores and check_confidence(list(state.scores.values())):
            return  # no estimate will be given, so no sentence about one is shown
        text = find_sentences(written, emotion, style.config.language)
        if text != state.text:
            state = replace(state, text=text)
            told.put(state)

    def work() -> None:
        try:
            watched = WatchedEngine(engine, tell_scores, tell_text)
            answer = answer_recording(recording, watched, codec, style, seed=seed)
            told.put(replace(state, answer=answer))
        except BaseException as error:  # raised again where the caller is
            told.put(error)

    worker = threading.Thread(target=work, name="answer", daemon=True)
    worker.start()
    try:
        yield from _listen(told, state)
    finally:
        if worker.is_alive():
            engine.cancel()
        worker.join()


def find_sentences(written: str, emotion: str, language: Language) -> str:
    """Return the whole sentences of an unfinished JSON answer, as far as they may stand in a record.

    Parameters
    ----------
    written : str
        The beginning of an answer.
    emotion : str
        The label that it is held to.
    language : {"en", "zh"}

    Returns
    -------
    str
        Empty when there is no whole sentence yet, or `copilot.gate.check_text` refuses what there is.
    """
    found = _BEGINNING.search(written)
    if found is None:
        return ""
    text = _read_string(written[found.end() :])
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    shown = text[: ends[-1]] if ends else ""
    return "" if check_text(shown, emotion, language) else shown


def _listen(told: "queue.SimpleQueue[Progress | BaseException]", first: Progress) -> Iterator[Progress]:
    yield first
    while True:
        news = told.get()
        while not told.empty() and isinstance(news, Progress) and news.answer is None:
            news = told.get()  # only the latest matters
        if isinstance(news, BaseException):
            raise news
        yield news
        if news.answer is not None:
            return


def _read_string(text: str) -> str:
    """Return the beginning of a JSON string's value; a last escape that is cut in two is left out."""
    body = re.match(r'(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*', text)
    try:
        return str(json.loads(f'"{body[0] if body else ""}"'))
    except ValueError:
        return ""
