"""Prompts and answers: the words around a code.

A style renders the system and the user turn from a code and from facts that do not follow from the label, and an answer
from the emotion. What an answer says is selected from the cited library (`suggestions/library.yaml`); the words of the
turns stand in `wordings/`, one file per style and language. To add a style, write a file with a `Style` subclass
and its wordings, and add a line to `STYLES`.
"""

from pathlib import Path

from dataset_builder.manifest import read_manifest
from dataset_builder.prompts.base import MAX_PHRASINGS, Answer, PromptConfig, PromptFacts, Style
from dataset_builder.prompts.emotion_qa import EmotionQAStyle
from dataset_builder.prompts.library import (
    LANGUAGES,
    LIBRARY,
    SUGGESTIONS,
    Language,
    Library,
    Source,
    Suggestion,
    needs_none,
)
from dataset_builder.prompts.paper import PaperStyle
from dataset_builder.recipe import validate

STYLES: dict[str, type[Style]] = {
    "emotion_qa": EmotionQAStyle,
    "paper": PaperStyle,
}

#: What a corpus or a file that says nothing of its prompt was made with.
DEFAULT_STYLE: Style = STYLES["emotion_qa"](PromptConfig())


def get_style(config: PromptConfig) -> Style:
    """Return the style that a recipe's ``prompt:`` section names."""
    return STYLES[config.style](config)


def load_style(corpus_dir: str | Path) -> Style:
    """Return the style of a corpus, as its manifest tells.

    Raises
    ------
    InputError
        If the folder is not a finished corpus.
    """
    manifest = read_manifest(corpus_dir)
    return get_style(
        validate(PromptConfig, manifest.recipe.get("prompt", {}), where=f"{Path(corpus_dir).name}: prompt")
    )


__all__ = [
    "DEFAULT_STYLE",
    "LANGUAGES",
    "LIBRARY",
    "MAX_PHRASINGS",
    "STYLES",
    "SUGGESTIONS",
    "Answer",
    "Language",
    "Library",
    "PromptConfig",
    "PromptFacts",
    "Source",
    "Style",
    "Suggestion",
    "get_style",
    "load_style",
    "needs_none",
]
