"""A LoRA adapter as a GGUF file: llama.cpp puts it on the GGUF file of the model that it was trained on.

One base and several adapters of a few megabytes each then serve where several merged models would.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, Keys, get_tensor_name_map
from safetensors import SafetensorError, safe_open

from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from model_recipes.exporting.gguf_file import CopilotGguf
from model_recipes.exporting.model import ModelFolder
from model_recipes.exporting.parity import measure_runtime
from model_recipes.exporting.parity_reference import Reference
from model_recipes.exporting.types import pack_tensor
from model_recipes.exporting.write import add_general, plan_types, write_gguf

#: Folder beside the model files: what lies in it is no model by itself.
ADAPTER_FOLDER = "adapter"

#: Beginning and ends of PEFT's names of a pair of matrices.
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def write_adapter(path: Path, adapter_dir: str | Path, n_layers: int, general: dict[str, Any]) -> int:
    """Write a PEFT adapter as a GGUF adapter, its matrices in F16.

    Parameters
    ----------
    path : Path
        File to write.
    adapter_dir : str or Path
        Folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
    n_layers : int
        Of the model.
    general : dict
        ``general.*`` keys without their prefix.

    Returns
    -------
    int
        How many weight matrices it changes.

    Raises
    ------
    InputError
        If the adapter is no plain LoRA, or cannot be read.
    """
    folder = Path(adapter_dir)
    alpha = _read_alpha(folder)
    pairs = dict(_read_pairs(folder, n_layers))
    writer = GGUFWriter(path, "qwen2")
    for key, value in (general | {"type": "adapter"}).items():
        add_general(writer, f"general.{key}", value)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
    for name in sorted(pairs):
        writer.add_tensor(name, pack_tensor(pairs[name], GGMLQuantizationType.F16))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return len(pairs) // 2


def measure_adapter(path: Path, base: ModelFolder, copilot: CopilotGguf, reference: Reference) -> list[Metric]:
    """Put the adapter on its model in llama.cpp and compare with the merged model in Transformers.

    Parameters
    ----------
    path : Path
        GGUF adapter.
    base : ModelFolder
        The model that it was trained on; written as an F32 file for the comparison and removed again.
    copilot : CopilotGguf
    reference : Reference
        Of the merged model.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / "base-F32.gguf"
        write_gguf(whole, base, plan_types(base, "F32"), copilot, {"type": "model", "name": copilot.name})
        return measure_runtime(whole, "LoRA", reference, adapter=path)


def _read_alpha(folder: Path) -> float:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{folder.name}/adapter_config.json: cannot be read; accepted: a PEFT adapter") from None
    unusual = [key for key in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern") if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unusual:
        found = ", ".join(unusual) or f"{config.get('peft_type')} with bias {config.get('bias')}"
        raise InputError(f"{folder.name}/adapter_config.json: {found} found; accepted: plain LoRA without bias")
    return float(config["lora_alpha"])


def _read_pairs(folder: Path, n_layers: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (GGUF name, matrix as float32) of both halves of every changed weight."""
    names = get_tensor_name_map(MODEL_ARCH.QWEN2, n_layers)
    path = folder / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                end = next((end for end in (_A, _B) if key.endswith(end)), None)
                name = names.get_name(key.removeprefix(_PREFIX).removesuffix(end)) if end else None
                if name is None:
                    raise InputError(f"{folder.name}/{path.name}: {key} has no place in a GGUF adapter")
                values: torch.Tensor = file.get_tensor(key).float()
                yield f"{name}.weight.lora_{'a' if end == _A else 'b'}", values.numpy()
    except (OSError, SafetensorError):
        raise InputError(f"{folder.name}/{path.name}: missing, damaged or cut short; train the adapter again") from None
