"""Write a ``Qwen2ForCausalLM`` folder as one GGUF file, tensor by tensor, so that memory holds one at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter
from gguf.quants import quant_shape_to_byte_shape

from model_recipes.exporting.gguf_file import CopilotGguf, add_copilot_keys
from model_recipes.exporting.imatrix import Imatrix
from model_recipes.exporting.model import ModelFolder, open_model
from model_recipes.exporting.types import FILE_TYPES, WEIGHED, Fallback, choose_type, pack_tensor
from model_recipes.exporting.vocab import Vocabulary

__all__ = ["ModelFolder", "Plan", "add_general", "open_model", "plan_types", "write_gguf"]


@dataclass(frozen=True)
class Plan:
    """Which type each tensor gets.

    Parameters
    ----------
    types : dict of str to GGMLQuantizationType
    fallbacks : list of Fallback
        Tensors whose rows did not fit the wanted type.
    imatrix : Imatrix or None
        Steers the rounding.
    """

    types: dict[str, GGMLQuantizationType]
    fallbacks: list[Fallback]
    imatrix: Imatrix | None = None


def plan_types(model: ModelFolder, file_type: str, imatrix: Imatrix | None = None) -> Plan:
    """Choose the type of every tensor of a model; an importance matrix counts only where llama.cpp uses one."""
    n_layers, used = model.config["num_hidden_layers"], imatrix if file_type in WEIGHED else None
    chosen = {
        name: choose_type(name, shape, file_type, n_layers, model.tied, used is not None)
        for name, shape in model.shapes.items()
    }
    types = {name: kind for name, (kind, _) in chosen.items()}
    return Plan(types, fallbacks=[fell for _, fell in chosen.values() if fell], imatrix=used)


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
        add_general(writer, f"general.{key}", value)
    _add_architecture(writer, model.config)
    _add_vocabulary(writer, model.vocabulary)
    add_copilot_keys(writer, copilot)
    if plan.imatrix is not None:
        _add_imatrix(writer, plan.imatrix)
    for name, kind in plan.types.items():
        shape = quant_shape_to_byte_shape(model.shapes[name], kind)
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), int(np.prod(shape)), raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, kind in plan.types.items():
            importance = None if plan.imatrix is None else plan.imatrix.weights(name)
            writer.write_tensor_data(pack_tensor(model.read(name), kind, importance))
    finally:
        writer.close()


def add_general(writer: GGUFWriter, key: str, value: Any) -> None:
    """Write one key by the type of its value: text, list of text, or number."""
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value) if key.endswith("count") else writer.add_int32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)


def _add_imatrix(writer: GGUFWriter, imatrix: Imatrix) -> None:
    """Write where the rounding came from, by the keys of ``llama-quantize``."""
    writer.add_string("quantize.imatrix.file", imatrix.file)
    writer.add_string("quantize.imatrix.dataset", ", ".join(imatrix.datasets))
    writer.add_int32("quantize.imatrix.entries_count", len(imatrix.sums))
    writer.add_int32("quantize.imatrix.chunks_count", imatrix.n_chunks)


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
