"""What every style offers: facts and code -> system and user turn, emotion -> answer and back."""

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts.library import LIBRARY, Language, Library, Suggestion, needs_none
from dataset_builder.prompts.wordings import load_terms, load_wording
from dataset_builder.recipe import StrictModel
from dataset_builder.types import EMOTIONS, Code

#: How many wordings of system and user turn each style has in each language.
MAX_PHRASINGS = 4


class PromptConfig(StrictModel):
    """Options of the prompt; a corpus keeps them in its recipe, a GGUF file in its header.

    Parameters
    ----------
    style : {"emotion_qa", "paper"}
        A name in `dataset_builder.prompts.STYLES`.
    language : {"en", "zh"}
        Keys and labels of an answer are English in both, so that programs read both.
    phrasings : int
        How many wordings of the turns and of the assessment are used, 1 to 4.
    demographics : bool
        Whether sex and age are told; otherwise they are called not stated.
    facial : bool
        Whether facial features are told where the user's own file has them.
    """

    style: Literal["emotion_qa", "paper"] = "emotion_qa"
    language: Language = "en"
    phrasings: int = Field(default=1, ge=1, le=MAX_PHRASINGS)
    demographics: bool = True
    facial: bool = False


@dataclass(frozen=True)
class PromptFacts:
    """All that a prompt may say besides the code. Nothing here follows from the label.

    Parameters
    ----------
    age : int or None
        Years.
    sex : {"F", "M"} or None
    facial : dict of str to float, or None
        Facial features of the trial from the user's own file, such as action units; no unit.
    device_sfreq_hz : float or None
        Sampling frequency of the device.
    channels : tuple of str
        Electrodes of the recording.
    """

    age: int | None = None
    sex: str | None = None
    facial: dict[str, float] | None = None
    device_sfreq_hz: float | None = None
    channels: tuple[str, ...] = ()


class Answer(StrictModel):
    """A parsed answer; `suggestions` are identifiers of the library."""

    emotion: str
    assessment: str
    suggestions: list[str]


class Style(ABC):
    """One form of prompt and answer.

    Every style writes the label in double quotes, after the same text in all its answers: tokenizers keep a quote apart
    from the letters that follow, so label scores can be read there.

    Parameters
    ----------
    config : PromptConfig
    library : Library
        Where sentences and suggestions are taken from.
    """

    name: ClassVar[str]
    #: How every answer starts; the label follows. Label scores are read right after this text.
    answer_prefix: ClassVar[str]
    #: What follows the label.
    label_end: ClassVar[str] = '"'

    def __init__(self, config: PromptConfig, library: Library = LIBRARY) -> None:
        self.config = config
        self.library = library

    @property
    def n_phrasings(self) -> int:
        """How many wordings `render_prompt` knows."""
        return self.config.phrasings

    def render_prompt(self, codec: Codec, code: Code, facts: PromptFacts, phrasing: int = 0) -> list[dict[str, str]]:
        """Render the system and the user turn.

        Parameters
        ----------
        codec : Codec
            The codec that made `code`; what it says of its text goes into the system turn.
        code : Code
        facts : PromptFacts
        phrasing : int
            Which wording, 0-based, below `n_phrasings`.

        Returns
        -------
        list of dict
            ``{"role": "system" | "user", "content": str}``; NFC text, so that llama.cpp and Transformers tokenise
            alike. The system turn is the same for every trial of a codec and a wording.

        Raises
        ------
        InputError
            If there is no such wording.
        """
        system = self.render_system(codec, phrasing)
        wording = load_wording(self.name, self.config.language)
        user = wording.user[phrasing].render(code=codec.to_text(code), **self._describe_facts(facts))
        return [{"role": "system", "content": system}, {"role": "user", "content": _clean(user)}]

    def render_system(self, codec: Codec, phrasing: int = 0) -> str:
        """Render the system turn, which is the same for everybody; see `render_prompt`."""
        if not 0 <= phrasing < self.n_phrasings:
            raise InputError(f"phrasing: found {phrasing}; accepted: 0 to {self.n_phrasings - 1}")
        wording, terms = load_wording(self.name, self.config.language), load_terms(self.config.language)
        labels, legend = [terms.name_label(emotion) for emotion in EMOTIONS], codec.explain(self.config.language)
        return _clean(wording.system[phrasing].render(labels=labels, emotions=EMOTIONS, legend=legend))

    @abstractmethod
    def render_answer(self, emotion: str, facts: PromptFacts, codec: Codec, code: Code) -> str:
        """Render the answer that the model is trained to give.

        Parameters
        ----------
        emotion : str
            One of `EMOTIONS`.
        facts : PromptFacts
            Age and sex decide which suggestions fit.
        codec : Codec
            Says what stands out in the code, see `Codec.describe`.
        code : Code
        """

    @abstractmethod
    def parse_answer(self, text: str) -> Answer:
        """Read an answer back.

        Raises
        ------
        InputError
            If the text has another form, or names an unknown emotion or a suggestion that is not in the library.
        """

    def answer_schema(
        self, emotion: str | None = None, age: int | None = None, sex: str | None = None
    ) -> dict[str, Any] | None:
        """Return the JSON schema of an answer, None for a style whose answers are not JSON.

        Parameters
        ----------
        emotion : str, optional
            Fixes the emotion; then only the suggestions that fit it, `age` and `sex` are accepted.
        age : int, optional
            Years.
        sex : {"F", "M"}, optional
        """
        return None

    def start_answer(self, emotion: str) -> str:
        """Return how an answer with this label begins."""
        return f"{self.answer_prefix}{emotion}{self.label_end}"

    def choose_suggestions(self, emotion: str, facts: PromptFacts) -> list[Suggestion]:
        """Return the suggestions of an answer; they follow from the label and from what the prompt tells."""
        age, sex = (facts.age, facts.sex) if self.config.demographics else (None, None)
        return self.library.select_suggestions(emotion, age, sex)

    def assess(self, emotion: str, codec: Codec, code: Code) -> str:
        """Return the sentences of an answer: the label in words, why there is no suggestion, what the code shows."""
        language, terms = self.config.language, load_terms(self.config.language)
        wordings = self.library.select_assessments(emotion)[: self.config.phrasings]
        text = wordings[_draw(codec.to_text(code), len(wordings))].text[language]
        sentences = [text.format(emotion=emotion, word=terms.emotions[emotion], valence=terms.name_valence(emotion))]
        if needs_none(emotion):
            sentences.append(self.library.no_suggestion[language])
        sentences.append(codec.describe(code, language))
        return _clean(terms.join_sentences(sentences))

    def _describe_facts(self, facts: PromptFacts) -> dict[str, str]:
        """Return what a user turn's wording may name, as text."""
        terms, told = load_terms(self.config.language), self.config.demographics
        age, sex = (facts.age, facts.sex) if told else (None, None)
        rate = facts.device_sfreq_hz
        return {
            "sex": sex or terms.missing,
            "sex_word": terms.sex[sex] if sex else terms.missing,
            "age": terms.missing if age is None else str(age),
            "sfreq": terms.missing if rate is None else f"{rate:g} Hz",
            "channels": " ".join(facts.channels) or terms.missing,
            "facial": _list_facial(facts.facial or {}) if self.config.facial else "",
        }


def _list_facial(facial: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {facial[name]:.2f}" for name in sorted(facial))


def _draw(text: str, n: int) -> int:
    """Return a number below `n` that follows from a text alone, and so not from the label."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % n


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
