"""Which number format each tensor of a GGUF file gets, and how it is packed, without any compiled llama.cpp tool."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from gguf.quants import quantize

from dataset_builder.errors import DependencyError

FileType = Literal["F32", "F16", "BF16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0"]

#: File type -> llama.cpp's number for it.
FILE_TYPES: dict[str, LlamaFileType] = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q5_K_M": LlamaFileType.MOSTLY_Q5_K_M,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
}

#: File types whose rounding an importance matrix steers; llama.cpp ignores one for the others.
WEIGHED = frozenset({"Q5_K_M", "Q4_K_M", "Q4_0"})

#: What most matrices of a file get.
_BULK: dict[str, GGMLQuantizationType] = {
    "F32": GGMLQuantizationType.F32,
    "F16": GGMLQuantizationType.F16,
    "BF16": GGMLQuantizationType.BF16,
    "Q8_0": GGMLQuantizationType.Q8_0,
    "Q5_K_M": GGMLQuantizationType.Q5_K,
    "Q4_K_M": GGMLQuantizationType.Q4_K,
    "Q4_0": GGMLQuantizationType.Q4_0,
}

#: What llama.cpp takes instead when a row is no multiple of a type's block.
_FALLBACK: dict[GGMLQuantizationType, GGMLQuantizationType] = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q5_K: GGMLQuantizationType.Q5_1,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q4_1: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q5_0: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q5_1: GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0: GGMLQuantizationType.F16,
}

_K_QUANTS = (GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q5_K, GGMLQuantizationType.Q6_K)

#: Types of which an importance matrix changes the blocks.
_STEERED = (
    *_K_QUANTS,
    GGMLQuantizationType.Q4_0,
    GGMLQuantizationType.Q4_1,
    GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q5_1,
)


@dataclass(frozen=True)
class Fallback:
    """A tensor that could not have the type which its file type wants.

    Parameters
    ----------
    tensor : str
        GGUF name.
    columns : int
        Length of its rows.
    wanted, chosen : str
        Names of GGML types.
    block : int
        Values per block of the wanted type; `columns` is no multiple of it.
    """

    tensor: str
    columns: int
    wanted: str
    chosen: str
    block: int


def choose_type(
    name: str, shape: tuple[int, ...], file_type: str, n_layers: int, tied: bool, weighed: bool = False
) -> tuple[GGMLQuantizationType, Fallback | None]:
    """Choose a tensor's type as ``llama-quantize`` does.

    Grouped-query attention changes nothing for these file types: llama.cpp's rules for many queries per key concern
    Q2_K, IQ types and models of 80 layers.

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
    weighed : bool
        Whether there is an importance matrix.

    Returns
    -------
    type : GGMLQuantizationType
    fallback : Fallback or None
        What the row length did not allow.
    """
    if len(shape) == 1:
        return GGMLQuantizationType.F32, None
    wanted = _want_type(name, file_type, n_layers, tied, weighed)
    chosen = wanted
    while shape[-1] % GGML_QUANT_SIZES[chosen][0]:
        chosen = _FALLBACK[chosen]
    if chosen is wanted:
        return chosen, None
    return chosen, Fallback(name, shape[-1], wanted.name, chosen.name, GGML_QUANT_SIZES[wanted][0])


def pack_tensor(values: np.ndarray, qtype: GGMLQuantizationType, importance: np.ndarray | None = None) -> np.ndarray:
    """Pack values into a GGML type, byte for byte as ``llama-quantize`` does.

    Parameters
    ----------
    values : ndarray of shape (..., n_columns), float32
    qtype : GGMLQuantizationType
    importance : ndarray of shape (n_columns,), float32, optional
        Mean square of what each column is multiplied with; see `model_recipes.exporting.imatrix`.

    Returns
    -------
    ndarray
        Raw blocks (uint8), or float16 / float32.

    Raises
    ------
    DependencyError
        If a K-quant or an importance matrix is asked for and libgguf is not installed.
    """
    if qtype not in _K_QUANTS and (importance is None or qtype not in _STEERED):
        return quantize(values, qtype)
    try:
        import libgguf  # optional: no wheel for every platform
    except ModuleNotFoundError:
        raise DependencyError(f"{qtype.name} needs the package libgguf here: pip install libgguf") from None
    rows = np.ascontiguousarray(values, dtype=np.float32)
    return np.asarray(libgguf.quantize_rows(rows, int(qtype), imatrix=importance)).view(np.uint8)


def _want_type(name: str, file_type: str, n_layers: int, tied: bool, weighed: bool) -> GGMLQuantizationType:
    """Return the type before any fallback; files below eight bits keep more where it pays (llama-quant.cpp)."""
    bulk = _BULK[file_type]
    if file_type not in WEIGHED:
        return bulk
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return GGMLQuantizationType.Q6_K
    down = name.endswith("ffn_down.weight")
    layer = int(name.split(".")[1]) if name.startswith("blk.") else -1
    if file_type == "Q4_0":
        # Only with an importance matrix: without one, files stay as they were before there were any.
        return GGMLQuantizationType.Q4_1 if down and weighed and layer < n_layers // 8 else bulk
    if (down or name.endswith("attn_v.weight")) and _keeps_more_bits(layer, n_layers):
        return GGMLQuantizationType.Q6_K
    return bulk


def _keeps_more_bits(layer: int, n_layers: int) -> bool:
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2
