"""A ``tokenizer.json`` as llama.cpp wants it: tokens, types, merges and the name of the pre-tokenizer."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from dataset_builder.errors import InputError, RecipeError

#: The split that Qwen2's tokenizer makes before merging.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file tells about its tokenizer.

    Parameters
    ----------
    tokens : list of str
        One per row of the embedding, in byte-level letters.
    types : list of int
        `gguf.TokenType` of each token.
    merges : list of str
        ``"left right"``, in order of rank.
    pre : str
        llama.cpp's name of the pre-tokenizer: ``"qwen2"`` or ``"smollm"``.
    eos, pad, bos : int or None
    chat_template : str
        Jinja; empty if there is none.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str
    eos: int | None
    pad: int | None
    bos: int | None
    chat_template: str


def read_vocabulary(model_dir: str | Path, n_rows: int) -> Vocabulary:
    """Read the tokenizer of a Transformers folder.

    Parameters
    ----------
    model_dir : str or Path
    n_rows : int
        Rows of the embedding; rows without a token become ``[PAD{i}]``, unused.

    Raises
    ------
    InputError
        If a file is missing or is not JSON, or there are more tokens than rows.
    RecipeError
        If it is no byte-level BPE with a pre-tokenizer that llama.cpp has.
    """
    folder = Path(model_dir)
    tokenizer, config = read_json(folder / "tokenizer.json"), read_json(folder / "tokenizer_config.json")
    model = tokenizer["model"]
    if model["type"] != "BPE":
        raise RecipeError(f"{folder.name}/tokenizer.json: found a {model['type']} model; accepted: byte-level BPE")
    tokens, types = _list_tokens(model["vocab"], tokenizer.get("added_tokens", []), n_rows, folder.name)
    ids = {token: i for i, token in enumerate(tokens)}
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=[merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
        pre=name_pre_tokenizer(tokenizer, folder.name),
        eos=_find_special(config, "eos_token", ids),
        pad=_find_special(config, "pad_token", ids),
        bos=_find_special(config, "bos_token", ids),
        chat_template=read_chat_template(folder),
    )


def name_pre_tokenizer(tokenizer: dict[str, Any], where: str) -> str:
    """Return llama.cpp's name for what a ``tokenizer.json`` does before merging.

    Raises
    ------
    RecipeError
        If it is neither Qwen2's nor SmolLM2's.
    """
    outer = tokenizer.get("pre_tokenizer") or {}
    steps = {step["type"]: step for step in outer.get("pretokenizers", [outer]) if step}
    regex = steps.get("Split", {}).get("pattern", {}).get("Regex")
    if set(steps) == {"Split", "ByteLevel"} and regex == QWEN2_SPLIT:
        return "qwen2"
    if set(steps) == {"Digits", "ByteLevel"} and steps["Digits"]["individual_digits"]:
        return "smollm"
    found = ", ".join(steps) or "none"
    raise RecipeError(f"{where}/tokenizer.json: pre-tokenizer {found} found; accepted: that of Qwen2 or of SmolLM2")


def read_chat_template(model_dir: str | Path) -> str:
    """Return a folder's chat template, its marks of trained text (unknown outside Transformers) made neutral."""
    path = Path(model_dir) / "chat_template.jinja"
    if path.exists():
        template = path.read_text(encoding="utf-8")
    else:
        template = read_json(Path(model_dir) / "tokenizer_config.json").get("chat_template") or ""
    template = re.sub(r"(\{%-?\s*)generation(\s*-?%\})", r"\1if true\2", template)
    return re.sub(r"(\{%-?\s*)endgeneration(\s*-?%\})", r"\1endif\2", template)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON file of a model folder.

    Raises
    ------
    InputError
        If it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path.parent.name}/{path.name}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path.parent.name}/{path.name}: is not JSON") from None


def _list_tokens(
    vocab: dict[str, int], added: list[dict[str, Any]], n_rows: int, where: str
) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{i}]" for i in range(n_rows)]
    types = [int(TokenType.UNUSED)] * n_rows
    extra = {item["content"]: item["id"] for item in added}
    if (largest := max([*vocab.values(), *extra.values()])) >= n_rows:
        raise InputError(f"{where}: token number {largest} has no row; the embedding has {n_rows}")
    for token, i in vocab.items():
        tokens[i], types[i] = token, int(TokenType.NORMAL)
    for item in added:
        kind = TokenType.CONTROL if item["special"] else TokenType.USER_DEFINED
        tokens[item["id"]], types[item["id"]] = item["content"], int(kind)
    return tokens, types


def _find_special(config: dict[str, Any], key: str, ids: dict[str, int]) -> int | None:
    value = config.get(key)
    token = value["content"] if isinstance(value, dict) else value
    return ids.get(token) if token else None
