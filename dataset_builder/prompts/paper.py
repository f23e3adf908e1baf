"""Style ``paper``: the analyser's instruction of EEG Emotion Copilot (arXiv:2410.00166) and an answer in plain text.

Prompt: the instruction, the person, the electrodes with their sampling rate, the code. Answer: emotion label,
assessment and the options written out. The paper lets its model write treatments; here they are entries of the library,
word for word, and a text that holds any other line is no answer.
"""

import re
from typing import ClassVar

from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts.base import Answer, PromptFacts, Style
from dataset_builder.types import EMOTIONS, Code

#: Headings are English in every language, so that one program reads all answers.
_FORM = 'Emotion label: "{emotion}"\nAssessment: {assessment}\nTreatment options to discuss:{options}'
_ANSWER = re.compile(
    r'Emotion label: "(?P<emotion>[a-z]+)"\nAssessment: (?P<assessment>[^\n]+)\n'
    r"Treatment options to discuss:(?: none|(?P<options>(?:\n\d\. [^\n]+)+))"
)


class PaperStyle(Style):
    """The paper's form, with the label in a fixed first line."""

    name: ClassVar[str] = "paper"
    answer_prefix: ClassVar[str] = 'Emotion label: "'

    def render_answer(self, emotion: str, facts: PromptFacts, codec: Codec, code: Code) -> str:
        """Render the answer that the model is trained to give; see `Style.render_answer`."""
        chosen = self.choose_suggestions(emotion, facts)
        lines = [f"\n{number}. {item.text[self.config.language]}" for number, item in enumerate(chosen, 1)]
        assessment = self.assess(emotion, codec, code)
        return _FORM.format(emotion=emotion, assessment=assessment, options="".join(lines) or " none")

    def parse_answer(self, text: str) -> Answer:
        """Read an answer back; see `Style.parse_answer`."""
        found = _ANSWER.fullmatch(text.rstrip("\n"))
        if found is None:
            raise InputError("answer: expected the lines Emotion label, Assessment and Treatment options to discuss")
        if found["emotion"] not in EMOTIONS:
            raise InputError(f"answer: unknown emotion; accepted: {', '.join(EMOTIONS)}")
        known = {item.text[self.config.language]: item.id for item in self.library.suggestions}
        options = [line.split(". ", 1)[1] for line in (found["options"] or "").split("\n") if line]
        if unknown := [option for option in options if option not in known]:
            raise InputError(f"answer: {len(unknown)} suggestions are not in the library")
        return Answer(
            emotion=found["emotion"],
            assessment=found["assessment"],
            suggestions=[known[option] for option in options],
        )
