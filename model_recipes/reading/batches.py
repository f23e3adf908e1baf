"""Items as tensors: where each label, letter and word of the answer stands, and what is shared by all rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dataset_builder.codecs import Codec
from dataset_builder.errors import StageError
from dataset_builder.prompts import PromptFacts, Style
from dataset_builder.types import EMOTIONS
from model_recipes.bases.qwen2 import TURN_END
from model_recipes.reading.draws import Item

#: A symbol of an evidence code: a letter that stands alone, or any digit.
_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])|[0-9]")


@dataclass(frozen=True)
class Batch:
    """Rows ready for the model. Positions count from the end of `shared`.

    Parameters
    ----------
    shared : Tensor of shape (1, n_shared), int64
        Tokens with which all rows begin.
    ids : Tensor of shape (n, length), int64
        The rest of each row, filled up on the right.
    label_at : Tensor of shape (n, depth), int64
        Positions whose next token belongs to the label.
    label_tokens : Tensor of shape (n, depth, 9), int64
        The token that each emotion would take there.
    label_weights : Tensor of shape (n, depth, 9), float32
        Its target probability; all zero beyond the end of a label.
    text : Tensor of shape (n, length), int64
        The answer's other tokens at their own positions, -100 elsewhere.
    letters_at : Tensor of shape (n, 9), int64, or (n, 0)
        Positions of the code's letters.
    running : Tensor of shape (n, 9, 9), float32
        The label's probabilities as far as the letters up to each tell.
    n_tokens : int
        Tokens of all rows, what they share counted in each.
    """

    shared: Tensor
    ids: Tensor
    label_at: Tensor
    label_tokens: Tensor
    label_weights: Tensor
    text: Tensor
    letters_at: Tensor
    running: Tensor
    n_tokens: int

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Batch(**moved, n_tokens=self.n_tokens)


class BatchMaker:
    """Render items in the corpus's style and the model's tokens.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    style : Style
    codec : Codec
    max_length : int
        Longest conversation in tokens.
    running : bool
        Whether `Batch.running` is filled, for codes of nine letters that state probabilities.

    Raises
    ------
    StageError
        If one emotion's tokens begin another's.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, style: Style, codec: Codec, max_length: int, running: bool = False
    ) -> None:
        self.tokenizer, self.style, self.codec = tokenizer, style, codec
        self.max_length, self.running = max_length, running
        self.prefix = self._encode([style.answer_prefix])[0]
        self.paths = self._find_paths()

    def make(self, items: Sequence[Item], with_text: bool) -> Batch:
        """Return the batch of some items; without the text, rows end before their label.

        Raises
        ------
        StageError
            If a conversation is longer than `max_length`.
        """
        prompts, letters = self._encode_prompts(items)
        answers = self._encode([self._render_answer(item) + TURN_END for item in items]) if with_text else []
        if not with_text:  # all of the label but its last token, which needs not be read to be foretold
            answers = [self.prefix + self._path(item)[:-1] for item in items]
        rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        self._check_length(items, rows)
        starts = [len(prompt) for prompt in prompts]
        first_read = [min([start - 1, *found[:1]]) for start, found in zip(starts, letters, strict=True)]
        n_shared = min(_count_common(rows), *first_read)
        label_at, tokens, weights = self._place_labels(items, starts)
        return Batch(
            shared=torch.tensor([rows[0][:n_shared]], dtype=torch.long),
            ids=_fill_up([row[n_shared:] for row in rows], 0),
            label_at=label_at - n_shared,
            label_tokens=tokens,
            label_weights=weights,
            text=_fill_up(
                [
                    self._mark_text(row, start, item, with_text)[n_shared:]
                    for row, start, item in zip(rows, starts, items, strict=True)
                ]
            ),
            letters_at=torch.tensor(letters, dtype=torch.long).reshape(len(rows), -1) - n_shared,
            running=self._run_targets(items),
            n_tokens=sum(map(len, rows)),
        )

    @property
    def parts_at_once(self) -> bool:
        """Whether the first token tells which emotion is meant."""
        return len({path[0] for path in self.paths}) == len(EMOTIONS)

    def _find_paths(self) -> list[list[int]]:
        """Return the tokens of each emotion's name after the answer's prefix."""
        whole = self._encode([self.style.answer_prefix + emotion for emotion in EMOTIONS])
        paths = [ids[len(self.prefix) :] for ids in whole]
        begins = any(a == b[: len(a)] for i, a in enumerate(paths) for j, b in enumerate(paths) if i != j)
        if begins or any(ids[: len(self.prefix)] != self.prefix for ids in whole):
            raise StageError("tokenizer: the tokens of one emotion begin another's, or merge with what stands before")
        return paths

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"])

    def _encode_prompts(self, items: Sequence[Item]) -> tuple[list[list[int]], list[list[int]]]:
        """Return the tokens of the prompts, and in each the positions of the code's letters."""
        turns = [self._render_prompt(item) for item in items]
        texts = [self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
        if not self.running:
            return self._encode(texts), [[] for _ in texts]
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        codes = [self.codec.to_text(item.code) for item in items]
        places = [
            _find_letters(text, code, spans)
            for text, code, spans in zip(texts, codes, found["offset_mapping"], strict=True)
        ]
        return list(found["input_ids"]), places

    def _render_prompt(self, item: Item) -> list[dict[str, str]]:
        return self.style.render_prompt(self.codec, item.code, _tell(item), item.row.get("phrasing") or 0)

    def _render_answer(self, item: Item) -> str:
        return self.style.render_answer(item.emotion, _tell(item), self.codec, item.code)

    def _check_length(self, items: Sequence[Item], rows: list[list[int]]) -> None:
        for item, row in zip(items, rows, strict=True):
            if len(row) > self.max_length:
                raise StageError(
                    f"row {item.row['row_id']}: {len(row)} tokens with its answer; train.window is {self.max_length}"
                )

    def _place_labels(self, items: Sequence[Item], starts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return where label tokens are foretold, the tokens to choose from, and the target of each.

        A name of several tokens gets a target at each: among the names that begin alike so far.
        """
        depth = max(map(len, self.paths))
        places = np.repeat(np.array(starts)[:, None] + len(self.prefix) - 1, depth, axis=1)
        tokens = np.zeros((len(items), depth, len(EMOTIONS)), dtype=np.int64)
        weights = np.zeros((len(items), depth, len(EMOTIONS)), dtype=np.float32)
        for row, item in enumerate(items):
            path = self._path(item)
            for i in range(len(path)):
                alike = [k for k, other in enumerate(self.paths) if other[:i] == path[:i]]
                total = item.target[alike].sum()
                places[row, i] += i
                tokens[row, i, alike] = [self.paths[k][i] for k in alike]
                weights[row, i, alike] = item.target[alike] / total  # above 0: the answer's emotion is among them
        return torch.from_numpy(places), torch.from_numpy(tokens), torch.from_numpy(weights)

    def _mark_text(self, row: list[int], start: int, item: Item, with_text: bool) -> list[int]:
        """Return the answer's tokens besides the label, -100 elsewhere; nothing for a row without its answer."""
        first = start + len(self.prefix) if with_text else len(row)
        after = first + len(self._path(item))
        inside = start if with_text else len(row)
        return [token if inside <= i < first or i >= after else -100 for i, token in enumerate(row)]

    def _path(self, item: Item) -> list[int]:
        return self.paths[EMOTIONS.index(item.emotion)]

    def _run_targets(self, items: Sequence[Item]) -> Tensor:
        """Return for each letter the target among the emotions read so far."""
        size = len(EMOTIONS) if self.running else 0
        among = np.tril(np.ones((size, len(EMOTIONS))))
        parts = np.stack([item.target for item in items])[:, None] * among
        return torch.from_numpy(parts / np.maximum(parts.sum(axis=-1, keepdims=True), 1e-12)).float()


def _tell(item: Item) -> PromptFacts:
    row = item.row
    channels = tuple((row.get("channels") or "").split())
    return PromptFacts(row["age"], row["sex"], None, row["device_sfreq_hz"], channels)


def _find_letters(text: str, code: str, spans: Sequence[Sequence[int]]) -> list[int]:
    """Return the token of each letter of a code within a prompt."""
    start = text.rindex(code)
    ends = {end: position for position, (_, end) in enumerate(spans)}
    places = [start + found.end() for found in _LETTER.finditer(code)]
    if len(places) != len(EMOTIONS) or any(place not in ends for place in places):
        raise StageError("running_weight: the code is not nine letters of one token each; accepted for it: 0")
    return [ends[place] for place in places]


def _count_common(rows: list[list[int]]) -> int:
    """Return how many first tokens all rows share."""
    first, shortest = rows[0], min(map(len, rows))
    return next((i for i in range(shortest) if any(row[i] != first[i] for row in rows)), shortest)


def _fill_up(rows: list[list[int]], value: int = -100) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows], dtype=torch.long)
