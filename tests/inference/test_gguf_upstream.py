"""Packed blocks are those of llama.cpp.

The digests are of what ``ggml_quantize_chunk`` of llama.cpp (the tree in llama-cpp-python 0.3.36, October 2026) makes
of the same array, with and without an importance matrix. Whole files of 8, 9 and 16 layers (576, 896 and 768 wide,
three to seven queries per key) were compared with ``llama-quantize`` in the same way: every tensor had the same type
and bytes.
"""

import hashlib

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from model_recipes.exporting.types import choose_type, pack_tensor

#: Type -> first 16 digits of the sha256 without, and with, an importance matrix.
DIGESTS = {
    "Q8_0": ("aa934e2dacfc4834", "aa934e2dacfc4834"),
    "Q4_0": ("275bdf9b0dbf513d", "ebb0d49d52bcd22d"),
    "Q4_1": ("2573ae6b072d5c18", "08d3ccc577f5ac00"),
    "Q5_0": ("559e5b5572671164", "b44d553d7d3e8e74"),
    "Q5_1": ("d61793084e378e63", "15ddf52dd7f01681"),
    "Q4_K": ("23381a2320fb6da8", "0db43c9c55f189b0"),
    "Q5_K": ("1e418eb6cde3f497", "1d1cd4490ff933cf"),
    "Q6_K": ("a4326dc862631c10", "e7721e8497e1b2c0"),
}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(17)
    values = rng.normal(size=(8, 512)).astype(np.float32)
    return values, (rng.random(512) ** 4 * 3).astype(np.float32)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("name", DIGESTS)
def test_blocks_are_those_of_llama_cpp(arrays, name, weighed):
    values, importance = arrays
    packed = pack_tensor(values, GGMLQuantizationType[name], importance if weighed else None)
    assert hashlib.sha256(packed.tobytes()).hexdigest()[:16] == DIGESTS[name][weighed]


@pytest.mark.parametrize(("file_type", "wanted"), [("Q4_K_M", "Q4_K"), ("Q5_K_M", "Q5_K"), ("Q4_0", "Q4_0")])
def test_many_queries_per_key_change_no_type(file_type, wanted):
    """A value matrix of two heads beside fourteen queries (7 to 1) has the type of one with as many heads."""
    few = choose_type("blk.3.attn_v.weight", (128, 1792), file_type, 24, True)
    many = choose_type("blk.3.attn_v.weight", (1792, 1792), file_type, 24, True)
    assert few == many
    assert few[0].name == wanted
