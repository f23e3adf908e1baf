"""Any other base: a Hub id, or a folder with a model in Transformers' format."""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from dataset_builder.errors import RecipeError
from model_recipes.bases.qwen2 import load_chat_template, make_tokenizer, port_llama
from model_recipes.checkpoint import compare_logits, quiet_transformers

#: Architectures that end as Qwen2 without any change of what they compute.
ACCEPTED = ("qwen2", "llama")


def load_hub(
    name: str, revision: str | None = None, sample: str = ""
) -> tuple[Qwen2ForCausalLM, Qwen2Tokenizer, dict[str, Any]]:
    """Load a model by Hub id or from a folder.

    Parameters
    ----------
    name : str
        For example ``"Qwen/Qwen2-0.5B-Instruct"``, or a path.
    revision : str, optional
        Branch, tag or commit on the Hub.
    sample : str
        Text on which a changed tokenizer is compared with the original.

    Returns
    -------
    model : Qwen2ForCausalLM
    tokenizer : Qwen2Tokenizer
    facts : dict
        Source, commit where it is known, licence where it is told, port.

    Raises
    ------
    RecipeError
        If nothing can be loaded under that name, or it is neither Qwen2 nor a Llama without biases.
    """
    shown = Path(name).name if Path(name).is_dir() else name
    check_cached(name, revision)
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(name, revision=revision)
            if config.model_type not in ACCEPTED:
                raise RecipeError(
                    f"base {shown}: is a {config.model_type}; accepted: {', '.join(ACCEPTED)} (no biases)"
                )
            model = AutoModelForCausalLM.from_pretrained(
                name, revision=revision, dtype=torch.float32, use_safetensors=True
            ).eval()
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"base {shown}: cannot be loaded ({type(error).__name__}); accepted: tiny, smollm2, a Hub id that is "
            "reachable or cached, or a model folder"
        ) from None
    facts: dict[str, Any] = {
        "source": "model folder" if Path(name).is_dir() else "Hugging Face Hub",
        "model_id": shown,
        "commit": getattr(config, "_commit_hash", None),
    }
    if isinstance(model, Qwen2ForCausalLM):
        tokenizer.chat_template = load_chat_template()
        return model, tokenizer, facts
    changed = retokenize(tokenizer, config.max_position_embeddings)
    ported, difference = port_checked(model, changed)
    facts["port"] = {
        "from": config.model_type,
        "max_logit_difference": difference,
        "lines_tokenised_alike": compare_tokenizers(tokenizer, changed, sample),
    }
    return ported, changed, facts


def check_cached(name: str, revision: str | None = None) -> None:
    """Refuse a Hub id that cannot be had: ``HF_HUB_OFFLINE`` is set and it is not in the cache.

    Raises
    ------
    RecipeError
        With what to do.
    """
    if not constants.HF_HUB_OFFLINE or Path(name).is_dir():
        return
    try:
        kept = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return  # no Hub id at all: loading it says what is accepted
    if not isinstance(kept, str):
        raise RecipeError(
            f"base {name}: HF_HUB_OFFLINE is set and it is not in the cache; unset it, or give a model folder"
        )


def port_checked(llama: PreTrainedModel, tokenizer: Qwen2Tokenizer) -> tuple[Qwen2ForCausalLM, float]:
    """Return the Qwen2 port of a Llama model and the largest difference between their logits."""
    ported = port_llama(llama, tokenizer)
    return ported, compare_logits(llama, ported)


def retokenize(tokenizer: Any, max_positions: int) -> Qwen2Tokenizer:
    """Return a byte-level BPE tokenizer under Qwen2's rules, with the same tokens and ids.

    A Qwen2 checkpoint is always read under those rules, whatever its tokenizer file says; with a foreign tokenizer the
    ids would silently change on reading back. So they are changed here, where it can be measured and told.

    Raises
    ------
    RecipeError
        If the tokenizer is not a byte-level BPE.
    """
    serialised = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces, added = serialised["model"], serialised["added_tokens"]
    if pieces["type"] != "BPE" or pieces.get("byte_fallback"):
        raise RecipeError(
            "base: its tokenizer is not a byte-level BPE; accepted: tokenizers of the GPT-2 or Qwen2 kind"
        )
    special = [token["content"] for token in sorted(added, key=lambda item: item["id"]) if token["special"]]
    vocab = pieces["vocab"] | {token["content"]: token["id"] for token in added}
    return make_tokenizer(vocab, [tuple(pair) for pair in pieces["merges"]], special, max_positions)


def compare_tokenizers(original: Any, changed: Any, text: str) -> float:
    """Return the share of lines of `text` that both tokenizers cut alike, 1 for no text."""
    lines = [line for line in text.splitlines() if line.strip()]
    plain = {"add_special_tokens": False}
    same = sum(original.encode(line, **plain) == changed.encode(line, **plain) for line in lines)
    return round(same / len(lines), 4) if lines else 1.0
