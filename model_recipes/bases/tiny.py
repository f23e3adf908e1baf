"""The tiny base: a Qwen2 of about two million parameters, made in the run from text at hand.

It is honest machinery, not a good language model: tokenizer, architecture and file formats are those of Qwen2, so that
every later stage meets what it would meet with a large model. It reads general text and training rows without their
emotions (see `model_recipes.rows.render_unlabelled`), so the adapter is where emotions are learned.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from dataset_builder.alphabets import QWEN2_RULE
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import derive_seed
from model_recipes.bases.qwen2 import END_OF_TEXT, TURN_END, TURN_START, Shape, make_config, make_tokenizer
from model_recipes.perplexity import cut_windows
from model_recipes.training.loop import LoopConfig, draw_windows, thin_curve, train_steps

_MAX_POSITIONS = 2048
_ROPE_THETA = 10_000.0


class TinyConfig(StrictModel):
    """Size and training of the tiny base.

    Parameters
    ----------
    vocab : int
        Tokens, three special ones included.
    hidden, heads, kv_heads, ffn, layers : int
        See `model_recipes.bases.qwen2.Shape`.
    rows_share : float
        Share of each batch that shows training rows without their emotions; the rest is general text.
    train : LoopConfig
    """

    vocab: int = Field(default=2048, ge=512, multiple_of=256)
    hidden: int = Field(default=128, ge=32, multiple_of=32)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    ffn: int = Field(default=512, ge=32, multiple_of=32)
    layers: int = Field(default=6, ge=1)
    rows_share: float = Field(default=0.5, ge=0, lt=1)
    train: LoopConfig = LoopConfig(steps=420, batch_size=4, window=288, learning_rate=4e-3, warmup_steps=30)

    @property
    def shape(self) -> Shape:
        """The shape of the model."""
        head_dim = self.hidden // self.heads
        return Shape(self.hidden, self.heads, self.kv_heads, head_dim, self.ffn, self.layers, self.vocab)


def train_tokenizer(texts: list[str], vocab: int) -> Qwen2Tokenizer:
    """Train a byte-level BPE tokenizer under Qwen2's rules.

    Parameters
    ----------
    texts : list of str
    vocab : int
        Wanted number of tokens, special ones included.

    Raises
    ------
    RecipeError
        If the texts hold too little for so many tokens.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_RULE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 3,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    pieces = bpe.get_vocab()
    if len(pieces) != vocab - 3:
        raise RecipeError(
            f"tiny.vocab: {vocab} tokens wanted, the text yields {len(pieces) + 3}; give more text or fewer"
        )
    special = [END_OF_TEXT, TURN_START, TURN_END]
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return make_tokenizer(bpe.get_vocab(), _read_merges(bpe), special, _MAX_POSITIONS)


def make_tiny(
    config: TinyConfig, seed: int, tokenizer: Qwen2Tokenizer, fit: str, rows: list[str], checkpoints: Path
) -> tuple[Qwen2ForCausalLM, dict[str, Any]]:
    """Initialise and pretrain the tiny model.

    Parameters
    ----------
    config : TinyConfig
    seed : int
    tokenizer : Qwen2Tokenizer
    fit : str
        General text.
    rows : list of str
        Training rows as conversations without their emotions.
    checkpoints : Path
        Where an interrupted training goes on.

    Returns
    -------
    model : Qwen2ForCausalLM
    facts : dict
        Tokens seen and the loss curve.
    """
    if faults := config.shape.find_faults():
        raise RecipeError(f"tiny: {'; '.join(faults)}")
    torch.manual_seed(derive_seed(seed, "tiny", "weights"))
    model = Qwen2ForCausalLM(make_config(config.shape, _MAX_POSITIONS, _ROPE_THETA, tokenizer))
    loop = config.train
    general = cut_windows(tokenizer, fit, loop.window, name="fit")
    chats = cut_windows(tokenizer, "".join(rows), loop.window, name="rows")
    n_rows = round(config.rows_share * loop.batch_size)

    def make_batch(step: int) -> Tensor:
        parts = [
            draw_windows(general, loop.batch_size - n_rows, step, seed, "tiny general"),
            draw_windows(chats, n_rows, step, seed, "tiny rows"),
        ]
        return torch.cat(parts)

    def make_loss(batch: Tensor) -> Tensor:
        return model(batch, labels=batch, use_cache=False).loss

    losses = train_steps(model, make_batch, make_loss, loop, checkpoints=checkpoints, title="pretrain tiny base")
    tokens = loop.steps * loop.batch_size * loop.window
    return model, {"pretraining": {"tokens": tokens, "rows_share": config.rows_share, "loss": thin_curve(losses)}}


def _read_merges(bpe: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
