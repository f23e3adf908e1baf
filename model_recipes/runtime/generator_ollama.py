"""Answers of a model in ollama on this machine: the same prompts and schema, over its HTTP interface.

Only the loopback address is ever spoken to: no name is looked up, no proxy asked, no redirection followed.
"""

import http.client
import json
import unicodedata
from typing import Any

from dataset_builder.errors import InputError
from model_recipes.runtime.errors import EngineError, UnfinishedError
from model_recipes.runtime.generator import Messages

#: Where ollama listens. The address is no option: what is asked of a model is about a person.
_HOST, _PORT = "127.0.0.1", 11434

#: Nothing promises that ollama holds the form; so often is an answer asked for until one can be read.
_ATTEMPTS = 3


class OllamaGenerator:
    """A model that ollama runs; see `model_recipes.runtime.generator.Generator`.

    Parameters
    ----------
    model : str
        Name in ollama, for example ``"eeg-emotion-copilot"``.
    port : int
        Of the server on this machine.
    timeout_s : float
        How long one answer may take, seconds.
    """

    def __init__(self, model: str, port: int = _PORT, timeout_s: float = 300.0) -> None:
        self.model, self.port, self.timeout_s = model, port, timeout_s

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

        Raises
        ------
        InputError
            If `prefix` is given: ollama's chat template ends where the answer begins.
        EngineError
            If no server answers, it lacks the model, or it does not hold the answer to the schema.
        UnfinishedError
            If an answer held to a schema did not end within `max_tokens`.
        """
        if prefix:
            raise InputError("generate: prefix was given; accepted with ollama: a schema or nothing")
        clean = [turn | {"content": unicodedata.normalize("NFC", turn["content"])} for turn in messages]
        for attempt in range(_ATTEMPTS if schema is not None else 1):
            options = {"temperature": temperature, "seed": seed + attempt, "num_predict": max_tokens}
            body = {"model": self.model, "messages": clean, "stream": False, "options": options}
            answer = self._post("/api/chat", body if schema is None else body | {"format": schema})
            text, cut = _read_answer(answer, self.model)
            if schema is None or (not cut and _holds_keys(text, schema)):
                return text
        if cut:
            limit = "the largest number of tokens came before the end of the answer"
            raise UnfinishedError(f"ollama {self.model}: {limit}", text)
        raise EngineError(
            f"ollama {self.model}: {_ATTEMPTS} answers were not held to the schema; is ollama up to date?"
        )

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=self.timeout_s)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except ConnectionRefusedError:
            raise EngineError(f"ollama: no server at {_HOST}:{self.port}; start it with: ollama serve") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"ollama: {path} failed ({type(error).__name__})") from None
        finally:
            connection.close()
        if response.status != http.client.OK or not isinstance(answer, dict):
            reason = str(answer.get("error", "") if isinstance(answer, dict) else "").split("\n")[0]
            raise EngineError(f"ollama {self.model}: {reason or f'status {response.status}'}")
        return answer


def _read_answer(answer: dict[str, Any], model: str) -> tuple[str, bool]:
    """Return the text and whether it was cut."""
    try:
        return str(answer["message"]["content"]), answer.get("done_reason") == "length"
    except (KeyError, TypeError):
        raise EngineError(f"ollama {model}: the server's answer holds no message") from None


def _holds_keys(text: str, schema: dict[str, Any]) -> bool:
    """Tell whether a text is a JSON object with the keys of the schema; the style's own parser checks the rest."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and set(schema.get("required", ())) <= set(value)
