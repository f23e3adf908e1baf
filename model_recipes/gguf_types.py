"""Which number format each tensor of a GGUF file gets, and how it is packed, without any compiled llama.cpp tool."""

from typing import Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from gguf.quants import quantize

from dataset_builder.errors import DependencyError

FileType = Literal["F32", "F16", "BF16", "Q8_0", "Q5_K_M", "Q4_K_M"]

#: File type -> llama.cpp's number for it.
FILE_TYPES: dict[str, LlamaFileType] = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q5_K_M": LlamaFileType.MOSTLY_Q5_K_M,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
}

#: What most matrices of a file get.
_BULK: dict[str, GGMLQuantizationType] = {
    "F32": GGMLQuantizationType.F32,
    "F16": GGMLQuantizationType.F16,
    "BF16": GGMLQuantizationType.BF16,
    "Q8_0": GGMLQuantizationType.Q8_0,
    "Q5_K_M": GGMLQuantizationType.Q5_K,
    "Q4_K_M": GGMLQuantizationType.Q4_K,
}

#: What llama.cpp takes instead when a row is no multiple of a type's block.
_FALLBACK: dict[GGMLQuantizationType, GGMLQuantizationType] = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q5_K: GGMLQuantizationType.Q5_1,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q5_0: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q5_1: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0: GGMLQuantizationType.F16,
}

_K_QUANTS = (GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q5_K, GGMLQuantizationType.Q6_K)


def choose_type(
    name: str, shape: tuple[int, ...], file_type: str, n_layers: int, tied: bool
) -> tuple[GGMLQuantizationType, bool]:
    """Choose a tensor's type as ``llama-quantize`` does.

    Parameters
    ----------
    name : str
        GGUF name, for example ``"blk.0.attn_v.weight"``.
    shape : tuple of int
        Row-major shape; the last axis is the row that is cut into blocks.
    file_type : str
        A key of `FILE_TYPES`.
    n_layers : int
    tied : bool
        Whether ``token_embd`` is the output matrix as well.

    Returns
    -------
    type : GGMLQuantizationType
    fallback : bool
        True where the row length did not allow the wanted type.
    """
    if len(shape) == 1:
        return GGMLQuantizationType.F32, False
    wanted = _want_type(name, file_type, n_layers, tied)
    chosen = wanted
    while shape[-1] % GGML_QUANT_SIZES[chosen][0]:
        chosen = _FALLBACK[chosen]
    return chosen, chosen is not wanted


def pack_tensor(values: np.ndarray, qtype: GGMLQuantizationType) -> np.ndarray:
    """Pack values into a GGML type.

    Parameters
    ----------
    values : ndarray of shape (..., n_columns), float32
    qtype : GGMLQuantizationType

    Returns
    -------
    ndarray
        Raw blocks (uint8), or float16 / float32.

    Raises
    ------
    DependencyError
        If a K-quant is asked for and libgguf is not installed.
    """
    if qtype not in _K_QUANTS:
        return quantize(values, qtype)
    try:
        import libgguf  # optional: no wheel for every platform
    except ModuleNotFoundError:
        raise DependencyError("Q4_K_M and Q5_K_M need the package libgguf: pip install libgguf") from None
    packed = libgguf.quantize_rows(np.ascontiguousarray(values, dtype=np.float32), int(qtype))
    return np.asarray(packed).view(np.uint8)


def _want_type(name: str, file_type: str, n_layers: int, tied: bool) -> GGMLQuantizationType:
    """Return the type before any fallback; the "_M" files keep more bits where it pays (llama.cpp, llama-quant.cpp)."""
    bulk = _BULK[file_type]
    if not file_type.endswith("_M"):
        return bulk
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return GGMLQuantizationType.Q6_K
    sensitive = name.endswith(("attn_v.weight", "ffn_down.weight"))
    if sensitive and _keeps_more_bits(int(name.split(".")[1]), n_layers):
        return GGMLQuantizationType.Q6_K
    return bulk


def _keeps_more_bits(layer: int, n_layers: int) -> bool:
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2
