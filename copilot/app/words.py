"""The words of the page: one YAML file per language, the same keys in each."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import yaml

from copilot.phrases import say
from dataset_builder.prompts.wordings import load_terms
from dataset_builder.types import VALENCE

UiLanguage = Literal["en", "zh"]

#: Language -> how it calls itself.
LANGUAGES: dict[UiLanguage, str] = {"en": "English", "zh": "中文"}


@dataclass(frozen=True)
class Words:
    """The words of one language.

    Parameters
    ----------
    language : {"en", "zh"}
    texts : dict of str to str
        Key such as ``"import.title"`` -> text, with places such as ``{count}``.
    """

    language: UiLanguage
    texts: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its places filled."""
        text = self.texts[key]
        return text.format(**values) if values else text

    def say(self, text: str) -> str:
        """Return a sentence of gate, readers or record, which are English, in the language; see `copilot.phrases`."""
        return say(text, self.language)

    def emotion(self, label: str) -> str:
        """Return the word of a label of `dataset_builder.types.EMOTIONS`."""
        return load_terms(self.language).emotions[label]

    def valence(self, label: str) -> str:
        """Return the word of an emotion's valence."""
        return load_terms(self.language).valences[VALENCE[label]]


@cache
def load_words(language: UiLanguage) -> Words:
    """Read the words of a language.

    Parameters
    ----------
    language : {"en", "zh"}

    Returns
    -------
    Words
    """
    text = resources.files("copilot.app").joinpath(f"words/{language}.yaml").read_text(encoding="utf-8")
    sections: dict[str, dict[str, str]] = yaml.safe_load(text)
    texts = {f"{name}.{key}": str(value) for name, part in sections.items() for key, value in part.items()}
    return Words(language, texts)
