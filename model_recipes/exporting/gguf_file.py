"""One GGUF file as model and codec together: our own keys beside llama.cpp's, and how to read them back.

Needs neither torch nor Transformers, so a laptop that only answers can read it.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

from dataset_builder.codecs import Codec, dump_codec, load_codec_bytes
from dataset_builder.errors import InputError
from dataset_builder.prompts import PromptConfig
from dataset_builder.recipe import validate
from model_recipes.exporting.header import read_header

#: Raised when the meaning of an ``eeg_copilot.*`` key changes.
FORMAT = 2

#: Formats that are read.
_READABLE = (1, 2)

#: Keys that must be there besides format and codec.
_REQUIRED = {"general.name", *(f"eeg_copilot.{key}" for key in "version corpus synthetic file_type facts".split())}

NOTICE = "Research use only. Not a medical device."


@dataclass(frozen=True)
class CopilotGguf:
    """What a GGUF file of ours says of itself.

    Parameters
    ----------
    codec : Codec
        The fitted codec that belongs to the model.
    name : str
        Model name.
    version : str
        Version of the package that wrote the file.
    corpus : str
        Name of the corpus that the model was trained on.
    synthetic : bool
        True when that corpus was made up.
    file_type : str
        For example ``"Q8_0"``.
    facts : dict
        Counts and digests of the training, as written at export: ``trained_subjects``, ``held_out_fold`` ...
    prompt : PromptConfig
        The prompts that the model was trained with; files of older versions do not say and have the default.
    """

    codec: Codec
    name: str
    version: str
    corpus: str
    synthetic: bool
    file_type: str
    facts: dict[str, Any]
    prompt: PromptConfig = PromptConfig()


def add_copilot_keys(writer: GGUFWriter, copilot: CopilotGguf) -> None:
    """Write our keys into an open GGUF writer."""
    writer.add_uint32("eeg_copilot.format", FORMAT)
    writer.add_string("eeg_copilot.notice", NOTICE)
    writer.add_string("eeg_copilot.version", copilot.version)
    writer.add_string("eeg_copilot.corpus", copilot.corpus)
    writer.add_bool("eeg_copilot.synthetic", copilot.synthetic)
    writer.add_string("eeg_copilot.file_type", copilot.file_type)
    writer.add_string("eeg_copilot.facts", json.dumps(copilot.facts, sort_keys=True))
    writer.add_string("eeg_copilot.prompt", json.dumps(copilot.prompt.model_dump(mode="json"), sort_keys=True))
    # As text: `gguf.GGUFReader`, which Transformers reads with, takes 17 s for an array of a million bytes.
    writer.add_string("eeg_copilot.codec", base64.b64encode(dump_codec(copilot.codec)).decode("ascii"))


def read_copilot_gguf(path: str | Path) -> CopilotGguf:
    """Read our keys from a GGUF file.

    Raises
    ------
    InputError
        If the file is missing, is not GGUF, is damaged, is not one that we exported, or is of a newer format.
    """
    path = Path(path)
    keys = read_header(path, ("general.name", "eeg_copilot."))
    if "eeg_copilot.codec" not in keys:
        raise InputError(f"{path.name}: has no eeg_copilot keys; export it with: eeg-copilot gguf")
    if (found := keys.get("eeg_copilot.format")) not in _READABLE:
        raise InputError(f"{path.name}: eeg_copilot.format is {found}; this version reads {FORMAT}")
    if missing := sorted(_REQUIRED - keys.keys()):
        raise InputError(f"{path.name}: lacks {', '.join(missing)}; export it again with: eeg-copilot gguf")
    return CopilotGguf(
        codec=load_codec_bytes(_read_codec(keys["eeg_copilot.codec"], path.name)),
        name=keys["general.name"],
        version=keys["eeg_copilot.version"],
        corpus=keys["eeg_copilot.corpus"],
        synthetic=keys["eeg_copilot.synthetic"],
        file_type=keys["eeg_copilot.file_type"],
        facts=_read_json(keys, "eeg_copilot.facts", path.name),
        prompt=validate(PromptConfig, _read_json(keys, "eeg_copilot.prompt", path.name), f"{path.name}: prompt"),
    )


def _read_codec(value: Any, name: str) -> bytes:
    """Return the codec's bytes from text, or from an array of bytes as format 1 has it."""
    try:
        return bytes(value.tobytes()) if isinstance(value, np.ndarray) else base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise InputError(f"{name}: eeg_copilot.codec is not a codec; export it again with: eeg-copilot gguf") from None


def _read_json(keys: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    """Return the object that a key holds as JSON; an empty one if the key is not there."""
    try:
        value = json.loads(keys.get(key, "{}"))
    except (TypeError, ValueError, RecursionError):  # TypeError: a damaged file may hold a number here
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{name}: {key} is not JSON; export it again with: eeg-copilot gguf")
    return value
