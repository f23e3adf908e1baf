"""What a shape costs: parameters by part, operations and bytes per token, size as a GGUF file."""

from dataclasses import dataclass

from gguf import GGML_QUANT_SIZES

from model_recipes.bases.qwen2 import Shape
from model_recipes.exporting.types import choose_type

#: Tokens of context that operations are counted at; the length of the windows that perplexity is measured with.
CONTEXT = 512

#: Bytes of a GGUF file per token of the vocabulary besides the tensors: piece, type and merge rule.
_VOCABULARY_BYTES = 40


@dataclass(frozen=True)
class FileSize:
    """A model as a GGUF file.

    Parameters
    ----------
    tensors : int
        Bytes of all tensors.
    total : int
        Bytes of the file: tensors and, estimated, the vocabulary. The fitted codec and our other keys come on top.
    per_token : int
        Bytes of tensors that one generated token has to read.
    fallbacks : int
        Tensors whose rows do not fit the wanted type and get a larger one.
    """

    tensors: int
    total: int
    per_token: int
    fallbacks: int


def count_parts(shape: Shape) -> dict[str, int]:
    """Return the parameters by part: ``embedding`` (output layer included), ``attention``, ``ffn`` and ``norms``.

    They add up to ``shape.parameters``.
    """
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "embedding": shape.vocab * shape.hidden * (1 if shape.tied else 2),
        "attention": shape.layers * (2 * shape.hidden * (q + kv) + q + 2 * kv),
        "ffn": shape.layers * 3 * shape.hidden * shape.ffn,
        "norms": (2 * shape.layers + 1) * shape.hidden,
    }


def count_flops(shape: Shape, context: int = CONTEXT) -> int:
    """Return the floating point operations of one token's forward pass.

    Two (multiply, add) for each weight of a matrix that the token meets, the output layer included and the look-up in
    the embedding not, and ``4 * heads * head_dim * context`` in each layer for the scores and the weighted sum of the
    values (Kaplan et al. 2020, arXiv:2001.08361, table 1, with grouped keys and values). Norms and softmax are left
    out.

    Parameters
    ----------
    shape : Shape
    context : int
        Tokens that the token attends to.
    """
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2 * shape.hidden * (q + kv) + 3 * shape.hidden * shape.ffn
    return 2 * (shape.layers * layer + shape.vocab * shape.hidden) + 4 * shape.layers * q * context


def measure_file(shape: Shape, file_type: str) -> FileSize:
    """Count a shape's bytes in a GGUF file, with the type that each tensor really gets.

    Parameters
    ----------
    shape : Shape
    file_type : str
        A key of `model_recipes.exporting.types.FILE_TYPES`.

    Returns
    -------
    FileSize
    """
    sizes, fallbacks = {}, 0
    for name, size in _list_tensors(shape).items():
        kind, fell = choose_type(name, size, file_type, shape.layers, shape.tied)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        rows = size[0] if len(size) == 2 else 1
        sizes[name] = rows * (size[-1] // block) * block_bytes
        fallbacks += bool(fell)
    tensors = sum(sizes.values())
    # A token looks up one row of the embedding; only as the output layer is the matrix read as a whole.
    unread = 0 if shape.tied else sizes["token_embd.weight"] * (shape.vocab - 1) // shape.vocab
    return FileSize(tensors, tensors + _VOCABULARY_BYTES * shape.vocab, tensors - unread, fallbacks)


def describe_costs(shape: Shape) -> dict[str, object]:
    """Return a shape's parameters by part and operations per token as facts for a manifest."""
    return {"parts": count_parts(shape), "flops_per_token": count_flops(shape), "context": CONTEXT}


def _list_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return the GGUF tensors of a shape: name -> row-major shape."""
    hidden, ffn = shape.hidden, shape.ffn
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "attn_q.weight": (q, hidden),
        "attn_q.bias": (q,),
        "attn_k.weight": (kv, hidden),
        "attn_k.bias": (kv,),
        "attn_v.weight": (kv, hidden),
        "attn_v.bias": (kv,),
        "attn_output.weight": (hidden, q),
        "attn_norm.weight": (hidden,),
        "ffn_gate.weight": (ffn, hidden),
        "ffn_up.weight": (ffn, hidden),
        "ffn_down.weight": (hidden, ffn),
        "ffn_norm.weight": (hidden,),
    }
    ends = {"token_embd.weight": (shape.vocab, hidden), "output_norm.weight": (hidden,)}
    if not shape.tied:
        ends["output.weight"] = (shape.vocab, hidden)
    return ends | {f"blk.{i}.{name}": size for i in range(shape.layers) for name, size in layer.items()}
