"""What drove the estimate: the same question asked again with something taken away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from copilot.answer import LabelEngine, describe_facts
from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import PromptFacts, Style
from dataset_builder.types import EMOTIONS, Code, Recording

Without = Literal["nothing", "eeg", "person", "both"]

#: In the order of the table: what is taken away.
QUESTIONS: tuple[Without, ...] = ("nothing", "eeg", "person", "both")


@dataclass(frozen=True)
class Control:
    """The scores of one window with something taken away.

    Parameters
    ----------
    without : {"nothing", "eeg", "person", "both"}
        ``"nothing"`` is the question as it was asked.
    scores : dict of str to float
        Probability of each emotion; empty where the codec has no code that says nothing.
    """

    without: Without
    scores: dict[str, float]

    @property
    def emotion(self) -> str:
        """The most probable emotion; empty without scores."""
        return max(self.scores, key=self.scores.__getitem__) if self.scores else ""


def ask_why(recording: Recording, window: int, engine: LabelEngine, codec: Codec, style: Style) -> list[Control]:
    """Ask about one window again without its EEG, without age and sex, and without both.

    Parameters
    ----------
    recording : Recording
        Cut as the codec reads it.
    window : int
        0-based.
    engine : LabelEngine
    codec, style
        The model's own.

    Returns
    -------
    list of Control
        In the order of `QUESTIONS`. Without EEG, the code of every person would be the same one, see `find_blank_code`.
    """
    code = codec.encode_recording(recording)[window]
    facts, blank = describe_facts(recording.trial(window)), find_blank_code(code, codec)
    nobody = replace(facts, age=None, sex=None, facial=None)
    asked: Sequence[tuple[Without, Code | None, PromptFacts]] = [
        ("nothing", code, facts),
        ("eeg", blank, facts),
        ("person", code, nobody),
        ("both", blank, nobody),
    ]
    return [Control(without, _score(c, f, engine, codec, style)) for without, c, f in asked]


def find_blank_code(code: Code, codec: Codec) -> Code | None:
    """Return a code of the same form that says nothing of anybody: the middle symbol, or zero, at every place.

    Returns
    -------
    Code or None
        None where the codec would not write such a code.
    """
    middle = 0 if codec.levels is None else codec.levels // 2
    blank = Code(code.codec, np.full_like(code.values, middle))
    try:
        codec.from_text(codec.to_text(blank))
    except (InputError, ValueError, IndexError):
        return None
    return blank


def _score(code: Code | None, facts: PromptFacts, engine: LabelEngine, codec: Codec, style: Style) -> dict[str, float]:
    if code is None:
        return {}
    return engine.score_labels(style.render_prompt(codec, code, facts), EMOTIONS, style.answer_prefix)
