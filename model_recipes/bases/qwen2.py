"""What this project needs to know of the Qwen2 architecture: shapes, tokenizer, chat template, and the port from Llama.

Every base ends as a tied ``Qwen2ForCausalLM`` whose tokenizer follows Qwen2's rules (NFC, every digit a token of its
own), because ``AutoTokenizer`` and llama.cpp apply those rules to any Qwen2 checkpoint, whatever its own tokenizer
file says.
"""

from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from dataset_builder.errors import RecipeError

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class Shape:
    """The numbers that decide a Qwen2 model's size.

    Parameters
    ----------
    hidden, heads, kv_heads, head_dim, ffn, layers, vocab : int
        Width of the residual stream, query heads, key-value heads, width of a head, width of the feed-forward block,
        layers, rows of the embedding.
    tied : bool
        Whether the embedding is also the output layer.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    layers: int
    vocab: int
    tied: bool = True

    @property
    def parameters(self) -> int:
        """Number of parameters, biases and norms included."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * q * 2 + self.hidden * kv * 2 + q + 2 * kv
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * layer + self.hidden

    def find_faults(self) -> list[str]:
        """Return what keeps the shape out of plain Transformers and llama.cpp; empty if nothing does.

        llama.cpp's Qwen2 loader wants ``heads * head_dim == hidden`` and the same widths in every layer; its block
        formats want rows that are multiples of 32.
        """
        rules = {
            "hidden must be a multiple of 32": self.hidden % 32 == 0,
            "ffn must be a multiple of 32": self.ffn % 32 == 0 and self.ffn > 0,
            "heads x head_dim must be hidden": self.heads * self.head_dim == self.hidden,
            "heads must be a multiple of kv_heads": self.kv_heads > 0 and self.heads % self.kv_heads == 0,
            "at least one layer must stay": self.layers > 0,
        }
        return [rule for rule, holds in rules.items() if not holds]

    def with_(self, **changes: int) -> "Shape":
        """Return a copy with some numbers changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


def read_shape(model: PreTrainedModel) -> Shape:
    """Return the shape of a Qwen2 or Llama model from its config."""
    return read_config_shape(model.config)


def read_config_shape(config: PretrainedConfig) -> Shape:
    """Return the shape that the config of a Qwen2 or Llama model tells."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        ffn=config.intermediate_size,
        layers=config.num_hidden_layers,
        vocab=config.vocab_size,
        tied=bool(config.tie_word_embeddings),
    )


def make_config(
    shape: Shape, max_positions: int, rope_theta: float, tokenizer: Qwen2Tokenizer, **extra: Any
) -> Qwen2Config:
    """Return the Qwen2 config of a shape; the end of a turn is the end of a generation."""
    return Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=max_positions,
        max_window_layers=shape.layers,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        **extra,
    )


def make_tokenizer(
    vocab: dict[str, int], merges: list[tuple[str, str]], special_tokens: list[str], max_positions: int
) -> Qwen2Tokenizer:
    """Return a Qwen2 tokenizer with our chat template.

    Parameters
    ----------
    vocab : dict of str to int
        Byte-level pieces and special tokens.
    merges : list of pairs
    special_tokens : list of str
        Tokens that are never split, in the order of their ids; must hold the three of ChatML.
    max_positions : int
        Longest input, tokens.
    """
    missing = [token for token in (END_OF_TEXT, TURN_START, TURN_END) if token not in vocab]
    if missing:
        raise RecipeError(f"tokenizer: lacks {', '.join(missing)}; a base with ChatML tokens is needed")
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        model_max_length=max_positions,
        additional_special_tokens=[t for t in special_tokens if t not in (TURN_END, END_OF_TEXT)],
    )
    tokenizer.chat_template = load_chat_template()
    return tokenizer


def load_chat_template() -> str:
    """Return the ChatML template; it adds no system text of its own."""
    return resources.files(__package__).joinpath("templates/chatml.jinja").read_text(encoding="utf-8").rstrip("\n")


def set_generation(model: PreTrainedModel, tokenizer: Any) -> None:
    """Make generation greedy and let it end at the end of a turn or of the text."""
    ends = [tokenizer.convert_tokens_to_ids(token) for token in (TURN_END, END_OF_TEXT)]
    model.config.eos_token_id, model.config.pad_token_id = ends[0], ends[1]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[1], do_sample=False)


def port_llama(model: PreTrainedModel, tokenizer: Any) -> Qwen2ForCausalLM:
    """Return a Llama model without attention biases as the Qwen2 model that computes the same numbers.

    Qwen2 differs from Llama only by biases on query, key and value; zero biases make them the same function.

    Raises
    ------
    RecipeError
        If the Llama model has biases, scaled positions or a head width that Qwen2 does not know.
    """
    config, shape = model.config, read_shape(model)
    rope = config.rope_parameters
    if config.attention_bias or config.mlp_bias or rope.get("rope_type") != "default":
        raise RecipeError("base: a Llama model with biases or scaled positions; accepted: qwen2, or llama without them")
    if faults := shape.find_faults():
        raise RecipeError(f"base: {'; '.join(faults)}")
    positions = config.max_position_embeddings
    extra = {"rms_norm_eps": config.rms_norm_eps}
    ported = Qwen2ForCausalLM(make_config(shape, positions, rope["rope_theta"], tokenizer, **extra)).eval()
    state = model.state_dict()
    for layer in range(shape.layers):
        for name, width in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            state[f"model.layers.{layer}.self_attn.{name}_proj.bias"] = torch.zeros(width * shape.head_dim)
    ported.load_state_dict(state)
    ported.tie_weights()
    return ported
