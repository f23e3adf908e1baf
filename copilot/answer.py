"""One recording -> nine scores, a headline emotion and one explained answer, or a reason why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from copilot.gate import (
    LOW_MARGIN,
    LOW_PROBABILITY,
    cap_age,
    check_age,
    check_text,
    find_cautions,
    find_reason_to_abstain,
)
from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import DEFAULT_STYLE, Language, PromptFacts, Style, Suggestion
from dataset_builder.quality import Quality, assess_quality
from dataset_builder.types import EMOTIONS, Recording, Trial
from model_recipes.runtime.errors import CancelledError, UnfinishedError

#: Room for the longest answer the schema admits (300 characters of assessment), at about one token a character.
MAX_ANSWER_TOKENS = 512

#: Why the sentences are not shown when the answer has not the form that it should have.
_UNREADABLE = "they could not be read as an answer"


class LabelEngine(Protocol):
    """What is needed of `model_recipes.engine.Engine`."""

    def read_prefix(self, system: str) -> None:
        """Prepare for prompts that begin with this system turn, which names nobody and may be kept on disk."""

    def score_labels(self, messages: list[dict[str, str]], labels: Sequence[str], prefix: str) -> dict[str, float]:
        """Return the probability of each label right after `prefix`; the values sum to 1."""

    def generate(
        self, messages: list[dict[str, str]], schema: dict[str, Any] | None, *, prefix: str, max_tokens: int, seed: int
    ) -> str:
        """Return the answer to `messages`, held to the JSON schema or begun with `prefix`."""


@dataclass(frozen=True)
class Explanation:
    """The one generated answer and what the model read for it.

    Parameters
    ----------
    window : int
        The window that was explained, 0-based: the one that gives the headline its highest score.
    messages : list of dict
        System and user turn exactly as the model read them.
    text : str
        The model's sentences; empty when `withheld`.
    withheld : str
        Why the sentences are not shown; empty when they are.
    observation : str
        What stands out in that window's code, computed from the numbers and not by the model.
    suggestions : tuple of Suggestion
        Entries of the cited library that the model selected.
    language : str
        In which the model answers, see `PromptConfig`.
    """

    window: int
    messages: list[dict[str, str]]
    text: str
    withheld: str
    observation: str
    suggestions: tuple[Suggestion, ...]
    language: Language = "en"


@dataclass(frozen=True)
class RecordingAnswer:
    """What the model says about a recording.

    Parameters
    ----------
    quality : Quality
        Signal quality; decides about abstaining.
    abstained : bool
        True when no estimate is given.
    reason : str
        Why it abstained; empty otherwise.
    window_scores : ndarray of shape (n_windows, 9), float64
        Probabilities in the order of `EMOTIONS`, rows sum to 1; no rows when abstained.
    explanation : Explanation or None
        None when abstained.
    cautions : tuple of str
        What a reader must know before using the estimate.
    """

    quality: Quality
    abstained: bool
    reason: str
    window_scores: np.ndarray
    explanation: Explanation | None
    cautions: tuple[str, ...]

    @property
    def scores(self) -> dict[str, float]:
        """Mean probability of each emotion over the windows; empty when abstained."""
        return {} if self.abstained else dict(zip(EMOTIONS, self.window_scores.mean(axis=0).tolist(), strict=True))

    @property
    def emotion(self) -> str | None:
        """The headline: the emotion with the highest mean probability; None when abstained."""
        return None if self.abstained else max(self.scores, key=self.scores.__getitem__)

    @property
    def margin(self) -> float:
        """Lead of the headline over the second label, 0 to 1; 0 when abstained."""
        first, second = sorted(self.scores.values() or (0.0, 0.0), reverse=True)[:2]
        return first - second

    @property
    def entropy(self) -> float:
        """Shannon entropy of the scores over that of guessing: 0 is certain, 1 says nothing (also when abstained)."""
        if self.abstained:
            return 1.0
        return -sum(p * math.log(p) for p in self.scores.values() if p > 0) / math.log(len(EMOTIONS))

    @property
    def agreement(self) -> float:
        """Share of windows whose own best label is the headline; 0 when abstained."""
        if self.emotion is None:
            return 0.0
        return float((self.window_scores.argmax(axis=1) == EMOTIONS.index(self.emotion)).mean())

    @property
    def low_confidence(self) -> bool:
        """Whether the scores hardly favour one label, see `LOW_PROBABILITY` and `LOW_MARGIN`."""
        return max(self.scores.values(), default=0.0) < LOW_PROBABILITY or self.margin < LOW_MARGIN


def answer_recording(
    recording: Recording, engine: LabelEngine, codec: Codec, style: Style = DEFAULT_STYLE, *, seed: int = 0
) -> RecordingAnswer:
    """Ask the model about every window of a recording.

    Each window is encoded, rendered and scored by itself; the nine probabilities are averaged over the windows and the
    highest is the headline. Then one answer is generated, on the window that supports the headline best, with the
    emotion fixed to the headline, so that the sentences cannot contradict the scores. Of a bad signal, or of a person
    far from the ages that the model was trained on, it is not asked at all.

    Parameters
    ----------
    recording : Recording
        One person's windows of 30 s.
    engine : LabelEngine
        The model.
    codec : Codec
        The fitted codec that belongs to the model.
    style : Style
        The prompts that the model was trained with.
    seed : int
        Seed of the generated answer.

    Returns
    -------
    RecordingAnswer

    Raises
    ------
    InputError
        If the recording holds no window, or nothing that the codec can read.
    """
    if not len(recording):
        raise InputError("recording: holds no complete 30-s window")
    quality = assess_quality(recording)
    cautions = find_cautions(recording, quality)
    if reason := find_reason_to_abstain(quality) or check_age(recording.age):
        return RecordingAnswer(quality, True, reason, np.empty((0, len(EMOTIONS))), None, cautions)
    codes = codec.encode_recording(recording)
    facts = [describe_facts(trial) for trial in recording]
    prompts = [style.render_prompt(codec, code, told) for code, told in zip(codes, facts, strict=True)]
    engine.read_prefix(style.render_system(codec))
    scores = np.array([_score(engine, messages, style) for messages in tqdm(prompts, desc="windows", disable=None)])
    headline = int(scores.mean(axis=0).argmax())
    window = int(scores[:, headline].argmax())
    observation = codec.describe(codes[window], style.config.language)
    asked = Explanation(window, prompts[window], "", _UNREADABLE, observation, (), style.config.language)
    explanation = _explain(asked, engine, style, EMOTIONS[headline], facts[window], seed)
    return RecordingAnswer(quality, False, "", scores, explanation, cautions)


def describe_facts(trial: Trial) -> PromptFacts:
    """Return what a prompt may say of a window besides its code; ages above 89 as one, see `cap_age`."""
    recording = trial.recording
    return PromptFacts(
        age=None if recording.age is None else cap_age(recording.age),
        sex=recording.sex,
        facial=recording.facial[trial.index] if recording.facial else None,
        device_sfreq_hz=recording.device_sfreq_hz,
        channels=recording.channels,
    )


def _score(engine: LabelEngine, messages: list[dict[str, str]], style: Style) -> list[float]:
    scores = engine.score_labels(messages, EMOTIONS, style.answer_prefix)
    return [scores[emotion] for emotion in EMOTIONS]


def _explain(
    asked: Explanation, engine: LabelEngine, style: Style, emotion: str, facts: PromptFacts, seed: int
) -> Explanation:
    """Let the model answer with the emotion fixed, by the schema or by how the answer begins; keep what may stand."""
    schema = style.answer_schema(emotion, facts.age, facts.sex)
    prefix = style.start_answer(emotion) if schema is None else ""
    try:
        raw = engine.generate(asked.messages, schema, prefix=prefix, max_tokens=MAX_ANSWER_TOKENS, seed=seed)
        answer = style.parse_answer(raw)
    except CancelledError:
        raise
    except (InputError, UnfinishedError):
        return asked
    withheld = check_text(answer.assessment, emotion, asked.language)
    fitting = {item.id: item for item in style.library.list_suggestions(emotion, facts.age, facts.sex)}
    chosen = tuple(fitting[key] for key in dict.fromkeys(answer.suggestions) if key in fitting)
    return replace(asked, text="" if withheld else answer.assessment, withheld=withheld, suggestions=chosen)
