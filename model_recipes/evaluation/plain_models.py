"""Models that nothing of ours was told of: plain Transformers folders, adapters without a manifest, foreign GGUF files.

They bring neither codec nor prompts, and nobody knows what they were trained on. Both have to be given or left open.
Of GGUF files the engine takes only what `model_recipes.runtime.check` admits: Qwen2 with a tokenizer that we know.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dataset_builder.errors import InputError
from dataset_builder.manifest import MANIFEST, Artifact, describe_file
from model_recipes.checkpoint import load_adapter, quiet_transformers
from model_recipes.device import pick_device
from model_recipes.evaluation.readers import HFReader
from model_recipes.exporting.header import read_header

#: What marks a folder as an adapter.
ADAPTER_FILE = "adapter_config.json"

_CONFIG_FILE = "config.json"


def open_plain(model_dir: str | Path, adapter_dir: str | Path | None = None, **options: Any) -> HFReader:
    """Load a causal language model of any architecture in fp32, without any manifest; see `HFReader.open`.

    Only safetensors are read, and no code that a folder brings is run.

    Raises
    ------
    InputError
        If the folder holds no such model, or its tokenizer has no chat template.
    """
    folder = Path(model_dir)
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
        except Exception as error:  # a damaged folder raises nearly anything
            raise InputError(
                f"{folder.name}: cannot be read as a causal language model ({type(error).__name__}); accepted: "
                "config.json, safetensors and tokenizer"
            ) from None
        if adapter_dir is not None:
            model = load_adapter(model, adapter_dir).merge_and_unload()
    if not tokenizer.chat_template:
        raise InputError(f"{folder.name}: its tokenizer has no chat template; accepted: one that renders chats")
    return HFReader(model.to(pick_device("auto")).eval(), tokenizer, **options)


def is_plain(path: Path) -> bool:
    """Tell whether nothing of ours is known of a model: a folder without manifest, a GGUF file without our keys.

    Raises
    ------
    InputError
        If a file is missing or is not GGUF.
    """
    if path.is_dir():
        return not (path / MANIFEST).is_file()
    return "eeg_copilot.codec" not in read_header(path, ("eeg_copilot.",))


def check_plain(path: Path) -> None:
    """Refuse what is no model at all.

    Raises
    ------
    InputError
    """
    if path.is_dir() and not any((path / name).is_file() for name in (_CONFIG_FILE, ADAPTER_FILE)):
        raise InputError(
            f"{path.name}: no {MANIFEST}, {_CONFIG_FILE} or {ADAPTER_FILE}; accepted: a finished stage, a Transformers "
            "folder, an adapter folder or a .gguf file"
        )


def describe_model_files(path: Path) -> list[Artifact]:
    """Return the files of a model that no manifest describes: a GGUF file, or those of a plain folder."""
    if path.is_file():
        return [describe_file(path, path.parent)]
    if not is_plain(path):
        return []
    files = [file for file in sorted(path.iterdir()) if file.suffix in (".json", ".safetensors")]
    return [describe_file(file, path.parent) for file in files]


def find_adapter_base(folder: Path) -> Path | None:
    """Return the base that an adapter's own config names, if it lies on this machine."""
    try:
        config = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
        named = str(config["base_model_name_or_path"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    places = [Path(named), folder / named]
    return next((place for place in places if (place / _CONFIG_FILE).is_file()), None)


def note_unknown(path: Path) -> str:
    """Return what a reader of results must know of a model that does not say where it comes from."""
    return f"{path.name}: training subjects unknown: cannot prove that these people were unseen, or any clip"
