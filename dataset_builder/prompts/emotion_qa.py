"""Style ``emotion_qa``: the answer is JSON that a schema checks, its suggestions are identifiers of the library."""

import json
from typing import Any, ClassVar

from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts.base import Answer, PromptFacts, Style
from dataset_builder.prompts.library import MAX_SUGGESTIONS
from dataset_builder.types import EMOTIONS, Code

#: Longest assessment that the schema admits, in characters.
MAX_ASSESSMENT = 300


class EmotionQAStyle(Style):
    """Our own form: ``{"emotion": "fear", "assessment": "...", "suggestions": ["grounding", ...]}``."""

    name: ClassVar[str] = "emotion_qa"
    answer_prefix: ClassVar[str] = '{"emotion": "'

    def render_answer(self, emotion: str, facts: PromptFacts, codec: Codec, code: Code) -> str:
        """Render the answer that the model is trained to give; see `Style.render_answer`."""
        chosen = [item.id for item in self.choose_suggestions(emotion, facts)]
        values = {"emotion": emotion, "assessment": self.assess(emotion, codec, code), "suggestions": chosen}
        return json.dumps(values, ensure_ascii=False)

    def answer_schema(
        self, emotion: str | None = None, age: int | None = None, sex: str | None = None
    ) -> dict[str, Any]:
        """Return the JSON schema of an answer; see `Style.answer_schema`."""
        return {
            "type": "object",
            "properties": {
                "emotion": {"type": "string", "enum": list(EMOTIONS) if emotion is None else [emotion]},
                "assessment": {"type": "string", "minLength": 1, "maxLength": MAX_ASSESSMENT},
                "suggestions": self._suggestions_schema(emotion, age, sex),
            },
            "required": ["emotion", "assessment", "suggestions"],
            "additionalProperties": False,
        }

    def parse_answer(self, text: str) -> Answer:
        """Read an answer back; see `Style.parse_answer`."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError("answer: not valid JSON") from None
        try:
            answer = Answer.model_validate(values)
        except ValueError:
            raise InputError("answer: expected the keys emotion, assessment and suggestions") from None
        if answer.emotion not in EMOTIONS:
            raise InputError(f"answer: unknown emotion; accepted: {', '.join(EMOTIONS)}")
        known = {item.id for item in self.library.suggestions}
        if unknown := [item for item in answer.suggestions if item not in known]:
            raise InputError(f"answer: {len(unknown)} suggestions are not in the library")
        return answer

    def _suggestions_schema(self, emotion: str | None, age: int | None, sex: str | None) -> dict[str, Any]:
        """Return the schema of the list: for a known emotion at least one option where the library has any."""
        every = self.library.suggestions if emotion is None else self.library.select_suggestions(emotion, age, sex)
        return {
            "type": "array",
            "items": {"type": "string", **({"enum": [item.id for item in every]} if every else {})},
            "minItems": 0 if emotion is None else min(1, len(every)),
            "maxItems": min(MAX_SUGGESTIONS, len(every)),
        }
