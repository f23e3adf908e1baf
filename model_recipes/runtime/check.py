"""Look at a GGUF file before llama.cpp does, which tells of anything wrong only that it cannot load it."""

from pathlib import Path

from dataset_builder.errors import InputError
from model_recipes.exporting.header import read_header

#: Architectures that the export writes, and so the only ones whose prompts and scores mean anything here.
ARCHITECTURES = ("qwen2",)

#: Byte-level BPE, and the rules before it that the export knows.
_TOKENIZER, _RULES = "gpt2", ("qwen2", "smollm")

_KEYS = (
    "general.architecture",
    "general.type",
    "general.file_type",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.chat_template",
)


def check_file(path: Path) -> int | None:
    """Refuse what is no language model of ours.

    Parameters
    ----------
    path : Path
        GGUF file.

    Returns
    -------
    int or None
        Number of its file type, None if it states none.

    Raises
    ------
    InputError
        One line: what was found in the file, what is accepted.
    """
    keys = read_header(path, _KEYS)
    name, architecture = path.name, keys.get("general.architecture", "none")
    if keys.get("general.type", "model") != "model":
        raise InputError(f"{name}: general.type {keys['general.type']} found; accepted: model")
    if architecture not in ARCHITECTURES:
        raise InputError(f"{name}: architecture {architecture} found; accepted: {', '.join(ARCHITECTURES)}")
    kind, rule = (keys.get(f"tokenizer.ggml.{key}", "none") for key in ("model", "pre"))
    if kind != _TOKENIZER or rule not in _RULES:
        accepted = " or ".join(f"{_TOKENIZER} with {rule}" for rule in _RULES)
        raise InputError(f"{name}: tokenizer {kind} with {rule} found; accepted: {accepted}")
    tokens = keys.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or len(set(tokens)) != len(tokens):  # llama.cpp ends the whole process over this
        raise InputError(f"{name}: a token is twice in its vocabulary, or there is none; download or export it again")
    if not keys.get("tokenizer.chat_template"):
        raise InputError(f"{name}: holds no chat template; export it again with: eeg-copilot gguf")
    kind = keys.get("general.file_type")
    return kind if isinstance(kind, int) else None
