"""A ``Qwen2ForCausalLM`` folder as the export sees it: looked through and checked, its tensors left on disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, get_tensor_name_map
from safetensors import SafetensorError, safe_open

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.manifest import hash_file, read_manifest
from model_recipes.exporting.vocab import Vocabulary, read_json, read_vocabulary

ARCHITECTURE = "Qwen2ForCausalLM"

_MAX_LAYERS = 1000

#: What values of another kind than a config or a tokenizer has make Python raise.
_MISFITS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError)


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
        """Return one tensor as float32.

        Raises
        ------
        InputError
            If it holds a value that is not a finite number.
        """
        path, key = self.places[name]
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key).float()
        if not torch.isfinite(tensor).all():
            raise InputError(f"{self.folder.name}/{path.name}: {key} holds values that are not finite numbers")
        return tensor.numpy()


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
    try:
        return _open(folder)
    except _MISFITS as error:  # a key is missing, or holds another kind of value
        raise InputError(
            f"{folder.name}: its config.json or tokenizer.json is damaged ({type(error).__name__})"
        ) from None


def _open(folder: Path) -> ModelFolder:
    config = read_json(folder / "config.json")
    check_config(config, folder.name)
    places, shapes = _find_tensors(folder, config)
    check_shapes(config, shapes, folder.name)
    rows = shapes["token_embd.weight"][0]
    vocabulary = read_vocabulary(folder, rows)
    check_vocabulary(config, vocabulary, folder.name)
    return ModelFolder(folder, config, places, shapes, vocabulary)


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
    if type(layers := config["num_hidden_layers"]) is not int or not 0 < layers <= _MAX_LAYERS:
        raise RecipeError(f"{where}/config.json: num_hidden_layers {layers!r} found; accepted: 1 to {_MAX_LAYERS}")
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // heads
    if heads * head_dim != hidden:
        raise RecipeError(f"{where}/config.json: {heads} heads of {head_dim} found; their product must be hidden_size")
    rope = (config.get("rope_parameters") or {}).get("rope_type", "default")
    if rope != "default" or config.get("rope_scaling") or config.get("use_sliding_window"):
        raise RecipeError(f"{where}/config.json: rope type {rope} or a sliding window found; accepted: default, none")


def check_shapes(config: dict[str, Any], shapes: dict[str, tuple[int, ...]], where: str) -> None:
    """Refuse weights that are not those of the config.

    Raises
    ------
    InputError
        Names the first tensor, what was found and what is accepted.
    """
    for name, wanted in _list_shapes(config).items():
        if (found := shapes.get(name)) != wanted:
            what = "missing" if found is None else f"of shape {list(found)}"
            raise InputError(f"{where}: tensor {name} is {what}; config.json accepts shape {list(wanted)}")


def check_vocabulary(config: dict[str, Any], vocabulary: Vocabulary, where: str) -> None:
    """Refuse a tokenizer that is not the model's own, as far as its end mark tells.

    Raises
    ------
    InputError
        Tells both numbers of the end mark.
    """
    ends = config.get("eos_token_id")
    accepted = ends if isinstance(ends, list) else [ends]
    if ends is not None and vocabulary.eos not in accepted:
        told = " or ".join(map(str, accepted))
        raise InputError(f"{where}: the tokenizer's end mark is token {vocabulary.eos}; config.json accepts {told}")


def check_intact(folder: str | Path) -> None:
    """Refuse a model folder of which a file is not as its stage wrote it.

    Raises
    ------
    InputError
        Names the file.
    """
    folder = Path(folder)
    for item in read_manifest(folder).outputs:
        path = folder / item.name
        if not path.is_file() or path.stat().st_size != item.bytes or hash_file(path) != item.sha256:
            what = "changed since its stage wrote it" if path.is_file() else "missing"
            raise InputError(f"{folder.name}/{item.name}: {what}; make the model again")


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
        try:
            with safe_open(path, framework="pt") as file:
                yield from ((path, key, tuple(file.get_slice(key).get_shape())) for key in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError):
            raise InputError(f"{folder.name}/{path.name}: damaged or cut short; make the model again") from None


def _list_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a config promises."""
    hidden, ffn, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv = hidden // heads * config["num_key_value_heads"]
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (hidden,),
        "attn_q.weight": (hidden, hidden),
        "attn_q.bias": (hidden,),
        "attn_k.weight": (kv, hidden),
        "attn_k.bias": (kv,),
        "attn_v.weight": (kv, hidden),
        "attn_v.bias": (kv,),
        "attn_output.weight": (hidden, hidden),
        "ffn_norm.weight": (hidden,),
        "ffn_gate.weight": (ffn, hidden),
        "ffn_up.weight": (ffn, hidden),
        "ffn_down.weight": (hidden, ffn),
    }
    names = {f"blk.{i}.{name}": shape for i in range(config["num_hidden_layers"]) for name, shape in layer.items()}
    rows = (config["vocab_size"], hidden)
    untied = {} if config.get("tie_word_embeddings") else {"output.weight": rows}
    return {"token_embd.weight": rows, **names, "output_norm.weight": (hidden,), **untied}


def _natural_order(name: str) -> tuple[int, int, str]:
    """Embedding, layers by number, then the rest."""
    parts = name.split(".")
    if parts[0] == "blk":
        return 1, int(parts[1]), name
    return (0 if parts[0] == "token_embd" else 2), 0, name
