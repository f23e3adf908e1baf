"""Answers of a Transformers model, held to a JSON schema by llguidance, the grammar engine that llama.cpp uses.

Chosen over outlines, xgrammar and lm-format-enforcer because llama.cpp compiles the same schema with it, down to the
white space; it needs no other package, and its authors keep it.
"""

import unicodedata
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from dataset_builder.errors import DependencyError, InputError
from model_recipes.checkpoint import load_model
from model_recipes.device import pick_device
from model_recipes.runtime.errors import EngineError, UnfinishedError
from model_recipes.runtime.generator import SPACING, Messages


class HFGenerator:
    """A Transformers folder that answers like `model_recipes.engine.Engine`; see `runtime.generator.Generator`.

    Parameters
    ----------
    model_dir : str or Path
        Finished model folder.
    device : str
        As for `model_recipes.device.pick_device`.
    """

    def __init__(self, model_dir: str | Path, device: str = "auto") -> None:
        self.model, self.tokenizer = load_model(model_dir, pick_device(device))
        self.name = Path(model_dir).name

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
            If both `schema` and `prefix` are given.
        EngineError
            If prompt and answer do not fit, or llguidance cannot compile the schema.
        UnfinishedError
            If an answer held to a schema did not end within `max_tokens`.
        DependencyError
            If a schema is given and llguidance is not installed.
        """
        if schema is not None and prefix:
            raise InputError("generate: schema and prefix were both given; accepted: one of them")
        tokens = self._read(messages, prefix, max_tokens)
        grammar = None if schema is None else SchemaProcessor(self.tokenizer, self.model.config.vocab_size, schema)
        answer = self._sample(tokens, grammar, max_tokens, seed, temperature)
        text = str(self.tokenizer.decode(answer, skip_special_tokens=True))
        if grammar is not None and not grammar.is_whole(answer):
            limit = "the largest number of tokens came before the end of the answer"
            raise UnfinishedError(f"{self.name}: {limit}", text)
        return prefix + text

    def _read(self, messages: Messages, prefix: str, max_tokens: int) -> torch.Tensor:
        """Return the tokens of a prompt, shape (1, n_tokens)."""
        clean = [turn | {"content": unicodedata.normalize("NFC", turn["content"])} for turn in messages]
        text = self.tokenizer.apply_chat_template(clean, tokenize=False, add_generation_prompt=True) + prefix
        tokens = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        needed, limit = tokens.shape[1] + max_tokens, self.model.config.max_position_embeddings
        if needed > limit:
            raise EngineError(f"{self.name}: prompt and answer take {needed} tokens; at most {limit} fit")
        return tokens.to(self.model.device)

    @torch.inference_mode()
    def _sample(
        self, tokens: torch.Tensor, grammar: LogitsProcessor | None, max_tokens: int, seed: int, temperature: float
    ) -> list[int]:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            out = self.model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=max_tokens,
                logits_processor=LogitsProcessorList([grammar] if grammar is not None else []),
                **(sampling or {"do_sample": False}),
            )
        return [int(token) for token in out[0, tokens.shape[1] :]]


class SchemaProcessor(LogitsProcessor):
    """Forbids every token that no answer of the schema could go on with; for one sequence.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    n_vocab : int
        Rows of the model's output.
    schema : dict
        JSON schema.

    Raises
    ------
    EngineError
        If the schema cannot be compiled.
    DependencyError
        If llguidance is not installed.
    """

    def __init__(self, tokenizer: Any, n_vocab: int, schema: dict[str, Any]) -> None:
        try:
            import llguidance.hf
            import llguidance.torch
        except ModuleNotFoundError:
            raise DependencyError("llguidance is missing; pip install 'eeg-emotion-copilot[train]'") from None
        self._library, self._grammar = llguidance, llguidance.LLMatcher.grammar_from_json_schema(schema | SPACING)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=n_vocab)
        self._matcher = self._start()
        self._mask = llguidance.torch.allocate_token_bitmask(1, n_vocab)
        self._n_seen: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores with those of forbidden tokens at minus infinity, shape (1, n_vocab)."""
        if self._n_seen is not None:
            self._matcher.consume_tokens(input_ids[0, self._n_seen :].tolist())
        self._n_seen = input_ids.shape[1]
        self._library.torch.fill_next_token_bitmask(self._matcher, self._mask, 0)
        masked = scores.clone()
        self._library.torch.apply_token_bitmask_inplace(masked, self._mask.to(masked.device))
        return masked

    def is_whole(self, answer: list[int]) -> bool:
        """Tell whether an answer came to its end."""
        matcher = self._start()
        return bool(matcher.consume_tokens(answer) and matcher.is_stopped())

    def _start(self) -> Any:
        matcher = self._library.LLMatcher(self._tokenizer, self._grammar)
        if matcher.is_error():
            raise EngineError(f"schema: {matcher.get_error().splitlines()[0]}")
        return matcher
