"""Whoever writes answers: what the copilot and the evaluation need of a model, and one JSON schema for all of them.

============  ==========================================  =================================================
backend       class                                       how an answer is held to the schema
============  ==========================================  =================================================
llama.cpp     `model_recipes.engine.Engine`               grammar (llguidance inside llama.cpp)
Transformers  `runtime.generator_hf.HFGenerator`          grammar (llguidance, the same library)
ollama        `runtime.generator_ollama.OllamaGenerator`  ``format`` of its interface, checked, asked again
============  ==========================================  =================================================
"""

from typing import Any, Protocol

Messages = list[dict[str, str]]

#: Makes llguidance write JSON as `json.dumps` does, which is how models are trained, instead of with any white space.
SPACING = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}


class Generator(Protocol):
    """A model that writes answers."""

    def generate(
        self,
        messages: Messages,
        schema: dict[str, Any] | None = None,
        *,
        prefix: str = "",
        max_tokens: int = 512,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> str:
        """Write an answer.

        Parameters
        ----------
        messages : list of dict
            System and user turn.
        schema : dict, optional
            JSON schema of an object that the answer is held to; not together with `prefix`.
        prefix : str
            How the answer starts; part of the returned text.
        max_tokens : int
            With a schema, an answer that is longer raises `model_recipes.runtime.errors.UnfinishedError`.
        seed : int
            Matters above temperature 0 only.
        temperature : float
            0 takes the most probable token each time.

        Raises
        ------
        model_recipes.runtime.errors.EngineError
            If there is no answer, or none that the schema admits.
        """
