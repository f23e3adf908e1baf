"""Readers: anything that gives a row of the corpus nine probabilities."""

import copy
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from dataset_builder.prompts import DEFAULT_STYLE, Style
from dataset_builder.types import EMOTIONS
from model_recipes.checkpoint import load_adapter, load_model
from model_recipes.device import pick_device
from model_recipes.engine import Engine
from model_recipes.runtime.labels import LabelTrie, build_trie

#: One row of the corpus: a mapping with the columns of `dataset_builder.corpus.SCHEMA`.
Row = Mapping[str, Any]

_NAME = "language model"


class Reader(Protocol):
    """Who is evaluated."""

    @property
    def name(self) -> str:
        """How the reader is called in metrics."""

    def score(self, rows: Sequence[Row]) -> np.ndarray:
        """Return probabilities, shape (n_rows, 9), float64, in the order of `EMOTIONS`; rows sum to 1."""


class HFReader:
    """A Transformers model.

    The system turn, which all prompts share, goes through the model once; then each batch of prompts of equal length,
    once; then only the tokens at which labels part.

    Parameters
    ----------
    model : PreTrainedModel
        In the mode of inference.
    tokenizer : PreTrainedTokenizerBase
    style : Style
        How its answers begin.
    name : str
    batch_size : int
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: Style = DEFAULT_STYLE,
        name: str = _NAME,
        batch_size: int = 8,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.style = style
        self.name = name
        self.batch_size = batch_size

    @classmethod
    def open(
        cls, model_dir: str | Path, adapter_dir: str | Path | None = None, *, device: str = "auto", **options: Any
    ) -> Self:
        """Load a finished model folder in fp32, with a LoRA adapter if one is given.

        Parameters
        ----------
        model_dir : str or Path
        adapter_dir : str or Path, optional
        device : str
            As for `model_recipes.device.pick_device`.
        **options
            ``style``, ``name`` and ``batch_size``.
        """
        model, tokenizer = load_model(model_dir, pick_device(device))
        if adapter_dir is not None:
            model = load_adapter(model, adapter_dir).merge_and_unload().eval()
        return cls(model, tokenizer, **options)

    def score(self, rows: Sequence[Row]) -> np.ndarray:
        """Return nine probabilities per row; see `Reader.score`."""
        return self.score_prompts([row["messages"][:-1] for row in rows])

    def score_prompts(self, prompts: Sequence[list[dict[str, str]]]) -> np.ndarray:
        """Return nine probabilities per prompt (system and user turn), shape (n_prompts, 9)."""
        tries = [make_label_trie(self.tokenizer, prompt, self.style) for prompt in prompts]
        shared = _count_shared([trie.root for trie in tries])
        scores = np.empty((len(tries), len(EMOTIONS)))
        alike = sorted(range(len(tries)), key=lambda i: _likeness(tries[i]))
        with torch.inference_mode(), tqdm(total=len(tries), desc=self.name, unit="row", disable=None) as bar:
            prefix = self._read_prefix(tries[0].root[:shared]) if shared else None
            for _, group in groupby(alike, key=lambda i: _likeness(tries[i])):
                members = list(group)
                for start in range(0, len(members), self.batch_size):
                    batch = members[start : start + self.batch_size]
                    scores[batch] = self._score_batch([tries[i] for i in batch], shared, prefix)
                    bar.update(len(batch))
        return scores

    def _read_prefix(self, tokens: tuple[int, ...]) -> DynamicCache:
        return self.model(self._tensor([tokens]), use_cache=True, logits_to_keep=1).past_key_values

    def _score_batch(self, tries: list[LabelTrie], shared: int, prefix: DynamicCache | None) -> np.ndarray:
        """Score prompts of equal length and equal branches together, shape (n_prompts, 9)."""
        cache = copy.deepcopy(prefix) if prefix is not None else DynamicCache(config=self.model.config)
        if prefix is not None:
            cache.batch_repeat_interleave(len(tries))
        ends: dict[tuple[int, ...], torch.Tensor] = {(): self._advance([trie.root[shared:] for trie in tries], cache)}
        length = cache.get_seq_length()
        for node in tries[0].branches:
            if node:
                ends[node] = self._advance([node] * len(tries), cache)
                cache.crop(length)
        rows = []
        for i, trie in enumerate(tries):
            found = {node: _softmax_among(ends[node][i], tokens) for node, tokens in trie.branches.items()}
            scores = trie.combine(found)
            rows.append([scores[emotion] for emotion in EMOTIONS])
        return np.array(rows)

    def _advance(self, tokens: Sequence[tuple[int, ...]], cache: DynamicCache) -> torch.Tensor:
        """Read tokens on top of a cache, which grows, and return the logits after them, shape (n_prompts, n_vocab)."""
        ids = self._tensor(tokens)
        return self.model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].double().cpu()

    def _tensor(self, tokens: Sequence[tuple[int, ...]]) -> torch.Tensor:
        return torch.tensor(tokens, dtype=torch.long, device=self.model.device)


class GgufReader:
    """A GGUF file through llama.cpp.

    Parameters
    ----------
    engine : Engine
    style : Style
        How its answers begin.
    name : str
    """

    def __init__(self, engine: Engine, style: Style = DEFAULT_STYLE, name: str = _NAME) -> None:
        self.engine = engine
        self.style = style
        self.name = name

    def score(self, rows: Sequence[Row]) -> np.ndarray:
        """Return nine probabilities per row; see `Reader.score`."""
        return self.score_prompts([row["messages"][:-1] for row in rows])

    def score_prompts(self, prompts: Sequence[list[dict[str, str]]]) -> np.ndarray:
        """Return nine probabilities per prompt (system and user turn), shape (n_prompts, 9)."""
        scores = []
        for prompt in tqdm(prompts, desc=self.name, unit="row", disable=None):
            found = self.engine.score_labels(prompt, EMOTIONS, self.style.answer_prefix)
            scores.append([found[emotion] for emotion in EMOTIONS])
        return np.array(scores)


def make_label_trie(
    tokenizer: PreTrainedTokenizerBase, prompt: list[dict[str, str]], style: Style = DEFAULT_STYLE
) -> LabelTrie:
    """Return the trie of the nine emotions after a prompt, tokenised by Transformers."""
    text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    answers = [text + style.start_answer(emotion) for emotion in EMOTIONS]
    return build_trie(EMOTIONS, tokenizer(answers, add_special_tokens=False)["input_ids"])


def _count_shared(roots: Sequence[tuple[int, ...]]) -> int:
    """Return how many first tokens all roots share, at least one token of each being left."""
    shortest = min(map(len, roots)) - 1
    return next((i for i in range(shortest) if len({root[i] for root in roots}) > 1), shortest)


def _likeness(trie: LabelTrie) -> tuple[Any, ...]:
    """Prompts that are equal in this can be read as one batch without padding."""
    return len(trie.root), trie.paths


def _softmax_among(logits: torch.Tensor, tokens: tuple[int, ...]) -> dict[int, float]:
    return dict(zip(tokens, logits[list(tokens)].softmax(dim=-1).tolist(), strict=True))
