"""Models of a given shape with random weights, as GGUF files: speed follows from shape and type alone."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from dataset_builder.codecs import Codec
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.seeds import make_rng
from model_recipes.bases.qwen2 import Shape, make_config, make_tokenizer
from model_recipes.bases.tiny import train_tokenizer
from model_recipes.exporting.gguf_file import CopilotGguf
from model_recipes.exporting.write import open_model, plan_types, write_gguf
from model_recipes.text import TextConfig, load_text

#: Shape before pruning and after; the second keeps the first's layers and head width and drops the rest.
SHAPES = {
    "qwen2-0.5b": (
        Shape(hidden=896, heads=14, kv_heads=2, head_dim=64, ffn=4864, layers=24, vocab=151936),
        Shape(hidden=768, heads=12, kv_heads=2, head_dim=64, ffn=3328, layers=24, vocab=32768),
    ),
    "tiny": (
        Shape(hidden=128, heads=4, kv_heads=2, head_dim=32, ffn=512, layers=4, vocab=12288),
        Shape(hidden=64, heads=2, kv_heads=1, head_dim=32, ffn=256, layers=4, vocab=8192),
    ),
}

#: Tokens that are really learned from text; the other rows of the embedding get tokens that no text holds.
_LEARNED = 8192

_MAX_POSITIONS, _ROPE_THETA = 4096, 1_000_000.0


@dataclass(frozen=True)
class BenchModel:
    """One file to be measured."""

    name: str
    path: Path
    parameters: int

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size


def make_models(shape: str, codec: Codec, folder: Path) -> list[BenchModel]:
    """Write the unpruned F16 and the pruned F16, Q8_0 and Q4_K_M; what is there from an earlier run is kept."""
    unpruned, pruned = SHAPES[shape]
    wanted = [("unpruned", unpruned, "F16"), *(("pruned", pruned, kind) for kind in ("F16", "Q8_0", "Q4_K_M"))]
    models = []
    for name, size, kind in wanted:
        path = folder / f"{shape}-{name}-{kind}.gguf"
        if not path.exists():
            weights = _write_weights(folder / f"{shape}-{name}", size)
            _export(weights, kind, codec, path)
        models.append(BenchModel(f"{name} {kind}", path, size.parameters))
    return models


def _write_weights(folder: Path, shape: Shape) -> Path:
    """Write a Transformers folder of a shape, its weights drawn at random."""
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    words = [load_text(TextConfig()).fit, *(DEFAULT_STYLE.library.no_suggestion.values())]
    learned = train_tokenizer(words, _LEARNED)
    tokenizer = make_tokenizer(*_pad_vocabulary(learned, shape.vocab), _MAX_POSITIONS)
    tokenizer.save_pretrained(folder)
    config = make_config(shape, _MAX_POSITIONS, _ROPE_THETA, tokenizer)
    config.architectures = ["Qwen2ForCausalLM"]
    config.save_pretrained(folder)
    save_file(_draw_weights(shape), folder / "model.safetensors")
    return folder


def _pad_vocabulary(learned, rows):  # type: ignore[no-untyped-def]
    state = json.loads(learned.backend_tokenizer.to_str())
    vocab = dict(learned.get_vocab())
    vocab |= {f"<made-up-{i}>": i for i in range(len(vocab), rows)}
    merges = [tuple(merge) for merge in state["model"]["merges"]]
    special = [item["content"] for item in sorted(state["added_tokens"], key=lambda item: item["id"])]
    return vocab, merges, special


def _draw_weights(shape: Shape) -> dict[str, np.ndarray]:
    rng, width, kv = make_rng(0, "bench", "weights"), shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab, shape.hidden)}
    for layer in range(shape.layers):
        rows = {
            "self_attn.q_proj": (width, shape.hidden), "self_attn.k_proj": (kv, shape.hidden),
            "self_attn.v_proj": (kv, shape.hidden), "self_attn.o_proj": (shape.hidden, width),
            "mlp.gate_proj": (shape.ffn, shape.hidden), "mlp.up_proj": (shape.ffn, shape.hidden),
            "mlp.down_proj": (shape.hidden, shape.ffn),
        }  # fmt: skip
        shapes |= {f"model.layers.{layer}.{name}.weight": size for name, size in rows.items()}
        shapes |= {
            f"model.layers.{layer}.self_attn.{n}_proj.bias": (w,) for n, w in zip("qkv", (width, kv, kv), strict=True)
        }
        shapes |= {f"model.layers.{layer}.{n}_layernorm.weight": (shape.hidden,) for n in ("input", "post_attention")}
    shapes["model.norm.weight"] = (shape.hidden,)
    weights = {name: rng.standard_normal(size, dtype=np.float32) * 0.02 for name, size in shapes.items()}
    return {name: (1 + value if "norm" in name else value).astype(np.float16) for name, value in weights.items()}


def _export(folder: Path, kind: str, codec: Codec, path: Path) -> None:
    model = open_model(folder)
    copilot = CopilotGguf(codec, folder.name, "0", "noise", True, kind, {"base": "noise"})
    part = path.with_suffix(".part")
    write_gguf(part, model, plan_types(model, kind), copilot, {"name": folder.name, "type": "model"})
    part.rename(path)
