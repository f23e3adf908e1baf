"""The words of the turns: one YAML file per style and language, and the terms that they share."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, Template

from dataset_builder.recipe import StrictModel, validate
from dataset_builder.types import VALENCE


class Terms(StrictModel):
    """Words of one language.

    Parameters
    ----------
    missing : str
        Stands where a fact is unknown.
    sex : dict of str to str
        ``"F"`` and ``"M"`` in words.
    emotions : dict of str to str
        Label -> its word.
    valences : dict of str to str
    label : str
        How a label is named in a list: with ``{emotion}`` and ``{word}``.
    between : str
        Stands between two sentences.
    """

    missing: str
    sex: dict[str, str]
    emotions: dict[str, str]
    valences: dict[str, str]
    label: str
    between: str

    def name_label(self, emotion: str) -> str:
        """Return a label as the system turn lists it."""
        return self.label.format(emotion=emotion, word=self.emotions[emotion])

    def name_valence(self, emotion: str) -> str:
        """Return the valence of an emotion in words."""
        return self.valences[VALENCE[emotion]]

    def join_sentences(self, sentences: list[str]) -> str:
        """Put sentences behind each other, empty ones left out."""
        return self.between.join(sentence for sentence in sentences if sentence)


class _WordingFile(StrictModel):
    """A wording file: as many system as user turns, jinja inside."""

    system: list[str]
    user: list[str]


@dataclass(frozen=True)
class Wording:
    """The turns of a style in one language; the i-th system turn goes with the i-th user turn.

    Parameters
    ----------
    system : tuple of Template
        Named in them: ``labels``, ``emotions``, ``legend``.
    user : tuple of Template
        Named in them: ``sex``, ``sex_word``, ``age``, ``sfreq``, ``channels``, ``facial``, ``code``.
    """

    system: tuple[Template, ...]
    user: tuple[Template, ...]


@cache
def load_terms(language: str) -> Terms:
    """Read the words of a language."""
    return validate(Terms, _read_yaml("terms.yaml")[language], where="wordings/terms.yaml")


@cache
def load_wording(style: str, language: str) -> Wording:
    """Read the turns of a style in a language."""
    name = f"{style}.{language}.yaml"
    turns = validate(_WordingFile, _read_yaml(name), where=f"wordings/{name}")
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
    return Wording(tuple(map(environment.from_string, turns.system)), tuple(map(environment.from_string, turns.user)))


def _read_yaml(name: str) -> Any:
    return yaml.safe_load(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))
