"""What the model that a GGUF file is made from says, in Transformers and fp32: the measure of every file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.prompts import Style, load_style
from model_recipes.checkpoint import HARD_STRINGS
from model_recipes.engine import Messages
from model_recipes.evaluation.readers import HFReader
from model_recipes.perplexity import measure_perplexity
from model_recipes.text import Text

#: At most so many conversations are compared logit by logit, at so many positions each.
_CONVERSATIONS, _POSITIONS = 8, 48

#: At most so many prompts are answered, with so many tokens.
_ANSWERS, NEW_TOKENS = 8, 24

#: Nats. Where the two best tokens of the reference are closer, a file may take the other and still say the same.
UNDECIDED = 0.1


@dataclass(frozen=True)
class Conversation:
    """One corpus row as tokens, with what the reference says at some of them.

    Parameters
    ----------
    ids : list of int
    positions : ndarray of shape (n_positions,)
        The token after each is predicted.
    log_probabilities : Tensor of shape (n_positions, n_vocab), float32
    """

    ids: list[int]
    positions: np.ndarray
    log_probabilities: torch.Tensor


@dataclass(frozen=True)
class Answer:
    """A greedy text of the reference.

    Parameters
    ----------
    text : str
    starts : list of str
        The text after 0, 1, 2 ... tokens.
    margins : list of float
        Nats between the best and the next token at each step.
    """

    text: str
    starts: list[str]
    margins: list[float]

    def permits(self, other: str) -> bool:
        """Tell whether `other` is the same text, or departs where the reference was undecided.

        Bytes that form no character do not count: Transformers shows a mark for each, llama.cpp leaves them out.
        """
        other = _drop_marks(other)
        if other == _drop_marks(self.text):
            return True
        step = max(i for i, start in enumerate(self.starts) if other.startswith(_drop_marks(start)))
        return step < len(self.margins) and self.margins[step] <= UNDECIDED


def _drop_marks(text: str) -> str:
    return text.replace("\N{REPLACEMENT CHARACTER}", "")


@dataclass(frozen=True)
class Reference:
    """What the Transformers model says in fp32.

    Parameters
    ----------
    prompts : list of messages
        System and user turn each.
    split : str
        Where they come from.
    token_ids : list of list of int
        Of the rendered prompts, then of `HARD_STRINGS`.
    scores : ndarray of shape (n_prompts, 9)
    answers : list of Answer
        To the first prompts.
    conversations : list of Conversation
    perplexity : Metric
    text : Text
    windows : int
        Of `text` for the perplexity.
    reader : HFReader
    """

    prompts: list[Messages]
    split: str
    token_ids: list[list[int]]
    scores: np.ndarray
    answers: list[Answer]
    conversations: list[Conversation]
    perplexity: Metric
    text: Text
    windows: int
    reader: HFReader

    @property
    def style(self) -> Style:
        """How answers begin."""
        return self.reader.style


def make_reference(
    model_dir: str | Path,
    corpus_dir: str | Path,
    n_prompts: int,
    text: Text,
    windows: int,
    adapter_dir: str | Path | None = None,
) -> Reference:
    """Let the Transformers model read rows spread over the validation split (training split if that is empty).

    Parameters
    ----------
    model_dir, corpus_dir : str or Path
    n_prompts : int
    text : Text
        For the perplexity.
    windows : int
        At most so many windows of it.
    adapter_dir : str or Path, optional
        LoRA adapter to put on the model.

    Raises
    ------
    InputError
        If the corpus has no rows.
    """
    reader = HFReader.open(model_dir, adapter_dir, style=load_style(corpus_dir), device="cpu")
    chats, split = _pick_rows(corpus_dir, n_prompts)
    prompts = [chat[:-1] for chat in chats]
    tokenizer = reader.tokenizer
    texts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    return Reference(
        prompts=prompts,
        split=split,
        token_ids=[tokenizer.encode(text, add_special_tokens=False) for text in (*texts, *HARD_STRINGS)],
        scores=reader.score_prompts(prompts),
        answers=[_write_greedy(reader, text) for text in texts[:_ANSWERS]],
        conversations=[_read_conversation(reader, chat) for chat in chats[:_CONVERSATIONS]],
        perplexity=measure_perplexity(reader.model, tokenizer, text, windows),
        text=text,
        windows=windows,
        reader=reader,
    )


def _pick_rows(corpus_dir: str | Path, n_rows: int) -> tuple[list[Messages], str]:
    for split in ("validation", "train"):
        rows = load_split(corpus_dir, split)
        if len(rows):
            spread = np.unique(np.linspace(0, len(rows) - 1, n_rows).round().astype(int))
            # The first few stand for all where not every prompt is used.
            order = sorted(range(len(spread)), key=lambda i: (i % max(1, len(spread) // _CONVERSATIONS) != 0, i))
            return list(rows.select(spread[order])["messages"]), split
    raise InputError(f"{Path(corpus_dir).name}: holds no rows to check a model with")


@torch.inference_mode()
def _read_conversation(reader: HFReader, chat: Messages) -> Conversation:
    text = reader.tokenizer.apply_chat_template(chat, tokenize=False)
    ids = reader.tokenizer.encode(text, add_special_tokens=False)
    positions = np.unique(np.linspace(1, len(ids) - 2, _POSITIONS).round().astype(int))
    logits = reader.model(torch.tensor([ids]), use_cache=False).logits[0, positions]
    return Conversation(ids, positions, logits.double().log_softmax(dim=-1).float())


@torch.inference_mode()
def _write_greedy(reader: HFReader, text: str) -> Answer:
    prefix = reader.style.answer_prefix
    ids = reader.tokenizer(text + prefix, add_special_tokens=False, return_tensors="pt")
    out = reader.model.generate(
        **ids, max_new_tokens=NEW_TOKENS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    new = out.sequences[0, ids["input_ids"].shape[1] :]
    best = torch.cat(out.logits).float().topk(2, dim=-1).values
    starts = [prefix + str(reader.tokenizer.decode(new[:i], skip_special_tokens=True)) for i in range(len(new) + 1)]
    return Answer(starts[-1], starts, (best[:, 0] - best[:, 1]).tolist())
