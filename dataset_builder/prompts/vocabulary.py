"""Which words an answer's sentences can be made of: those of the cited library and of the codecs (`vocabulary.yaml`).

A deny list knows only what somebody thought of. Answers that models are trained on hold some hundred words; sentences
of other words cannot come from the library, whatever they say.
"""

import re
import unicodedata
from functools import cache
from importlib import resources

import yaml

from dataset_builder.prompts.library import LIBRARY, Language
from dataset_builder.prompts.wordings import load_terms
from dataset_builder.types import BANDS, EMOTIONS, SCALP_CHANNELS, VALENCE

_FILE = "vocabulary.yaml"

#: What may stand between words, and letters of bands; anything else (markup, links, invisible marks) is none of ours.
_MARKS = set(" .,:;()%'\"-\u2019。，：；（）、《》δθαβγ")

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:['\u2019]s)?|\d+(?:\.\d+)?|[\u4e00-\u9fff]")


def find_foreign_words(text: str, language: Language = "en") -> list[str]:
    """Return the words of a text that no answer is trained on, in order, each once.

    Parameters
    ----------
    text : str
        A model's sentences.
    language : {"en", "zh"}
        In which it answers; labels, bands and channels are English in both.

    Returns
    -------
    list of str
        English words and single Chinese characters; characters that no answer holds (symbols, letters of other
        scripts, invisible ones) by their Unicode names.
    """
    words = _WORD.findall(text)
    known = load_vocabulary(language)
    foreign = [word for word in words if not word[0].isdigit() and _strip(word) not in known]
    rest = [unicodedata.name(mark, "UNNAMED") for mark in _WORD.sub("", text) if mark not in _MARKS]
    return list(dict.fromkeys((*foreign, *rest)))


@cache
def load_vocabulary(language: Language) -> frozenset[str]:
    """Return the words of a language in lower case, for Chinese its characters and the English labels and names."""
    listed = yaml.safe_load(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))[language]
    names = (*EMOTIONS, *BANDS, *SCALP_CHANNELS, *VALENCE.values())
    found = (word for text in (*listed, *names, *_list_sentences(language)) for word in _WORD.findall(text))
    return frozenset(_strip(word) for word in found)


def _list_sentences(language: Language) -> list[str]:
    """Return the library's sentences with every label filled in."""
    terms = load_terms(language)
    sentences = [LIBRARY.no_suggestion[language]]
    for entry in LIBRARY.assessments:
        for emotion in entry.emotions:
            filled = {"word": terms.emotions[emotion], "valence": terms.name_valence(emotion), "emotion": emotion}
            sentences.append(entry.text[language].format(**filled))
    return sentences


def _strip(word: str) -> str:
    return re.sub(r"['\u2019]s$", "", word.lower())
