"""Write a ``Qwen2ForCausalLM`` folder as one GGUF file, tensor by tensor, so that memory holds one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_VERSION, MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.quants import quant_shape_to_byte_shape
from safetensors import safe_open

from dataset_builder.errors import InputError, RecipeError
from model_recipes.gguf_file import CopilotGguf, add_copilot_keys
from model_recipes.gguf_types import FILE_TYPES, choose_type, pack_tensor
from model_recipes.gguf_vocab import Vocabulary, read_json, read_vocabulary

ARCHITECTURE = "Qwen2ForCausalLM"


@dataclass(frozen=True)
class ModelFolder:
    """A Transformers folder, its tensors left on disk.

    Parameters
    ----------
    folder : Path
    config : dict
        ``config.json``.
    places : dict of str to (Path, str)
        GGUF tensor name -> file and name in that file, embedding first, then layer by layer.
    shapes : dict of str to tuple of int
        GGUF tensor name -> shape.
    vocabulary : Vocabulary
    """

    folder: Path
    config: dict[str, Any]
    places: dict[str, tuple[Path, str]]
    shapes: dict[str, tuple[int, ...]]
    vocabulary: Vocabulary

    @property
    def n_parameters(self) -> int:
        """Number of stored parameters; a tied output matrix counts once."""
        return int(sum(np.prod(shape) for shape in self.shapes.values()))

    @property
    def tied(self) -> bool:
        """Whether the embedding is the output matrix as well."""
        return "output.weight" not in self.places

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as float32."""
        path, key = self.places[name]
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
        return tensor.float().numpy()


@dataclass(frozen=True)
class Plan:
    """Which type each tensor gets.

    Parameters
    ----------
    types : dict of str to GGMLQuantizationType
    fallbacks : list of str
        Tensors whose rows did not fit the wanted type.
    """

    types: dict[str, GGMLQuantizationType]
    fallbacks: list[str]


def open_model(model_dir: str | Path) -> ModelFolder:
    """Look into a model folder without loading it.

    Raises
    ------
    InputError
        If a file is missing or a tensor has no place in GGUF.
    RecipeError
        If it is no standard Qwen2 that llama.cpp can load.
    """
    folder = Path(model_dir)
    config = read_json(folder / "config.json")
    check_config(config, folder.name)
    places, shapes = _find_tensors(folder, config)
    rows = shapes["token_embd.weight"][0]
    return ModelFolder(folder, config, places, shapes, read_vocabulary(folder, rows))


def check_config(config: dict[str, Any], where: str) -> None:
    """Refuse what llama.cpp's qwen2 cannot run.

    Raises
    ------
    RecipeError
        Names the key, what was found and what is accepted.
    """
    found = ", ".join(config.get("architectures") or ["none"])
    if found != ARCHITECTURE:
        raise RecipeError(f"{where}/config.json: architecture {found} found; accepted: {ARCHITECTURE}")
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // heads
    if heads * head_dim != hidden:
        raise RecipeError(f"{where}/config.json: {heads} heads of {head_dim} found; their product must be hidden_size")
    rope = (config.get("rope_parameters") or {}).get("rope_type", "default")
    if rope != "default" or config.get("rope_scaling") or config.get("use_sliding_window"):
        raise RecipeError(f"{where}/config.json: rope type {rope} or a sliding window found; accepted: default, none")


def plan_types(model: ModelFolder, file_type: str) -> Plan:
    """Choose the type of every tensor of a model."""
    n_layers = model.config["num_hidden_layers"]
    chosen = {name: choose_type(name, shape, file_type, n_layers, model.tied) for name, shape in model.shapes.items()}
    types = {name: kind for name, (kind, _) in chosen.items()}
    return Plan(types, fallbacks=[name for name, (_, fell) in chosen.items() if fell])


def write_gguf(path: Path, model: ModelFolder, plan: Plan, copilot: CopilotGguf, general: dict[str, Any]) -> None:
    """Write one GGUF file.

    Parameters
    ----------
    path : Path
        File to write.
    model : ModelFolder
    plan : Plan
    copilot : CopilotGguf
        Codec and origin; become ``eeg_copilot.*``.
    general : dict
        ``general.*`` keys without their prefix: text, lists of text or numbers.
    """
    writer = GGUFWriter(path, "qwen2")
    writer.add_file_type(int(FILE_TYPES[copilot.file_type]))
    writer.add_quantization_version(GGML_QUANT_VERSION)
    for key, value in general.items():
        _add_general(writer, f"general.{key}", value)
    _add_architecture(writer, model.config)
    _add_vocabulary(writer, model.vocabulary)
    add_copilot_keys(writer, copilot)
    for name, kind in plan.types.items():
        shape = quant_shape_to_byte_shape(model.shapes[name], kind)
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), int(np.prod(shape)), raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, kind in plan.types.items():
            writer.write_tensor_data(pack_tensor(model.read(name), kind))
    finally:
        writer.close()


def _find_tensors(
    folder: Path, config: dict[str, Any]
) -> tuple[dict[str, tuple[Path, str]], dict[str, tuple[int, ...]]]:
    names = get_tensor_name_map(MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    places, shapes = {}, {}
    for path, key, shape in _list_stored(folder):
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise InputError(f"{folder.name}/{path.name}: tensor {key} has no place in a qwen2 GGUF file")
        if name == "output.weight" and config.get("tie_word_embeddings"):
            continue
        places[name], shapes[name] = (path, key), shape
    if "token_embd.weight" not in places:
        raise InputError(f"{folder.name}: holds no *.safetensors with an embedding")
    order = sorted(places, key=_natural_order)
    return {name: places[name] for name in order}, {name: shapes[name] for name in order}


def _list_stored(folder: Path) -> Iterator[tuple[Path, str, tuple[int, ...]]]:
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            yield from ((path, key, tuple(file.get_slice(key).get_shape())) for key in file.keys())  # noqa: SIM118


def _natural_order(name: str) -> tuple[int, int, str]:
    """Embedding, layers by number, then the rest."""
    parts = name.split(".")
    if parts[0] == "blk":
        return 1, int(parts[1]), name
    return (0 if parts[0] == "token_embd" else 2), 0, name


def _add_general(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value) if key.endswith("count") else writer.add_int32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)


def _add_architecture(writer: GGUFWriter, config: dict[str, Any]) -> None:
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(theta))


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    if vocabulary.eos is not None:
        writer.add_eos_token_id(vocabulary.eos)
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    writer.add_add_bos_token(False)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)
