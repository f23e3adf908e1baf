"""What would stop a pruning half-way, found before any of it begins."""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dataset_builder.errors import InputError, ResourceError
from dataset_builder.manifest import read_manifest
from model_recipes.bases.qwen2 import END_OF_TEXT, TURN_END, TURN_START, Shape, read_config_shape
from model_recipes.checkpoint import quiet_transformers

#: Embeddings are often padded with rows that no token uses (Qwen2: 290); more than this is another tokenizer.
_MAX_PADDING = 1024

_FP32_BYTES = 4

_WEIGHTS = {".safetensors", ".bin", ".gguf"}


def read_checked_shape(folder: str | Path) -> Shape:
    """Read the shape of a finished model folder without loading it, and refuse what cannot be pruned.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Shape

    Raises
    ------
    InputError
        If the folder is no finished stage, or its config is not that of a tied Qwen2 with full attention in every
        layer and a shape that plain Transformers and llama.cpp can load.
    """
    folder = Path(folder)
    read_manifest(folder)
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged config raises nearly anything
        raise InputError(f"{folder.name}/config.json: cannot be read ({type(error).__name__})") from None
    check_config(config, f"{folder.name}/config.json")
    return read_config_shape(config)


def check_config(config: PretrainedConfig, where: str) -> None:
    """Refuse a config that is not that of a tied Qwen2 with full attention.

    Raises
    ------
    InputError
        Names the key, what was found and what is accepted.
    """
    if config.model_type != "qwen2":
        raise InputError(
            f"{where}: model_type {config.model_type} found; accepted: qwen2 (eeg-copilot base turns a Llama into one)"
        )
    if not config.tie_word_embeddings:
        raise InputError(f"{where}: tie_word_embeddings false found; accepted: true (one matrix for input and output)")
    if config.use_sliding_window or set(config.layer_types or []) - {"full_attention"}:
        raise InputError(f"{where}: a sliding window found; accepted: full attention in every layer")
    if faults := read_config_shape(config).find_faults():
        raise InputError(f"{where}: {'; '.join(faults)}")


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, shape: Shape, where: str) -> None:
    """Refuse a tokenizer that does not belong to a model.

    Raises
    ------
    InputError
        If its number of tokens does not fit the embedding, or it lacks the tokens of ChatML.
    """
    if not shape.vocab - _MAX_PADDING < len(tokenizer) <= shape.vocab:
        raise InputError(
            f"{where}: the tokenizer has {len(tokenizer):,} tokens, the embedding {shape.vocab:,} rows; accepted: "
            f"as many tokens as rows or up to {_MAX_PADDING - 1} fewer"
        )
    known = tokenizer.get_vocab()
    if missing := [token for token in (END_OF_TEXT, TURN_START, TURN_END) if token not in known]:
        raise InputError(f"{where}: the tokenizer lacks {', '.join(missing)}; accepted: tokenizers with ChatML tokens")


def check_weights(model: PreTrainedModel, where: str) -> None:
    """Refuse a model with weights that are not finite.

    Raises
    ------
    InputError
        Names the first tensor that holds NaN or an infinity, and how many there are.
    """
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight.detach()).all()]
    if broken:
        more = f" and {len(broken) - 1} more tensors hold" if len(broken) > 1 else " holds"
        raise InputError(f"{where}: {broken[0]}{more} NaN or infinite numbers; accepted: finite weights")


def check_space(out: str | Path, shape: Shape, base_dir: str | Path) -> None:
    """Refuse to begin what the disk cannot hold: fp32 weights of a shape and the other files of the base.

    Raises
    ------
    ResourceError
        Tells how much is needed and how much is free.
    """
    others = [path for path in Path(base_dir).iterdir() if path.is_file() and path.suffix not in _WEIGHTS]
    needed = _FP32_BYTES * shape.parameters + sum(path.stat().st_size for path in others)
    place = Path(out).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ResourceError(
            f"{Path(out).name}: needs {needed / 1e6:,.0f} MB on disk, {free / 1e6:,.0f} MB are free; make room or "
            "choose another --out"
        )
