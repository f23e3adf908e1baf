"""The importance matrix: what it sums, how it is stored, and what it changes in a file."""

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from dataset_builder.errors import StageError
from model_recipes.checkpoint import load_model
from model_recipes.exporting.header import read_header
from model_recipes.exporting.imatrix import Imatrix, ImatrixConfig, make_imatrix, measure_imatrix, write_imatrix
from model_recipes.exporting.types import choose_type, pack_tensor


@pytest.fixture(scope="module")
def loaded(model_dir):
    return load_model(model_dir)


def test_sums_are_those_of_the_squared_inputs(loaded):
    model, _ = loaded
    pieces = [torch.arange(5), torch.arange(7, 10)]
    imatrix = measure_imatrix(model, pieces, ["numbers"])
    expected = torch.zeros(64, dtype=torch.float64)
    layer = model.model.layers[0]
    with torch.no_grad():
        for piece in pieces:
            hidden = layer.input_layernorm(model.get_input_embeddings()(piece))
            expected += hidden.double().square().sum(dim=0)
    np.testing.assert_allclose(imatrix.sums["blk.0.attn_q.weight"], expected.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(imatrix.sums["blk.0.attn_v.weight"], imatrix.sums["blk.0.attn_q.weight"])
    assert imatrix.n_tokens == 8
    np.testing.assert_allclose(imatrix.weights("blk.0.attn_k.weight"), expected.numpy() / 8, rtol=1e-6)
    assert len(imatrix.sums) == 7 * 2
    assert imatrix.weights("token_embd.weight") is None


def test_llama_cpp_form_reads_back(loaded, corpus, tmp_path):
    imatrix = make_imatrix(ImatrixConfig(conversations=3), *loaded, corpus, held_out_fold=0)
    write_imatrix(tmp_path / "x.imatrix", imatrix)
    keys = read_header(tmp_path / "x.imatrix", ("",))
    assert keys == {
        "general.type": "imatrix",
        "imatrix.datasets": ["3 training conversations"],
        "imatrix.chunk_count": imatrix.n_chunks,
        "imatrix.chunk_size": 512,
    }
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "x.imatrix").tensors}
    assert len(tensors) == 2 * len(imatrix.sums)
    for name, sums in imatrix.sums.items():
        np.testing.assert_array_equal(tensors[f"{name}.in_sum2"].ravel(), sums)
        assert tensors[f"{name}.counts"].item() == imatrix.n_tokens


def test_damaged_weights_are_told(loaded):
    model, _ = loaded
    weight = model.model.layers[0].mlp.gate_proj.weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[0] = torch.nan
        with pytest.raises(StageError, match="an activation is not a finite number"):
            measure_imatrix(model, [torch.arange(4)], ["numbers"])
    finally:
        weight.data.copy_(before)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
def test_columns_that_matter_are_rounded_less(name):
    qtype, rng = GGMLQuantizationType[name], np.random.default_rng(0)
    values = rng.normal(size=(64, 512)).astype(np.float32)
    importance = np.where(rng.random(512) < 0.1, 100.0, 0.01).astype(np.float32)

    def lose(packed):
        return float(((dequantize(packed, qtype) - values) ** 2 * importance).sum())

    assert lose(pack_tensor(values, qtype, importance)) < 0.95 * lose(pack_tensor(values, qtype))


def test_types_that_no_importance_steers_stay_as_they_are():
    values = np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)
    importance = np.linspace(0.1, 9, 256, dtype=np.float32)
    for qtype in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.F16, GGMLQuantizationType.F32):
        np.testing.assert_array_equal(pack_tensor(values, qtype, importance), pack_tensor(values, qtype))


def test_q4_0_keeps_more_of_the_first_layers_only_with_an_importance_matrix():
    def name_types(weighed):
        names = [f"blk.{i}.ffn_down.weight" for i in range(16)]
        return [choose_type(name, (256, 1024), "Q4_0", 16, True, weighed)[0].name for name in names]

    assert name_types(False) == ["Q4_0"] * 16
    assert name_types(True) == ["Q4_1"] * 2 + ["Q4_0"] * 14
    assert choose_type("token_embd.weight", (768, 512), "Q4_0", 16, True)[0].name == "Q6_K"


def test_a_file_tells_its_importance_matrix(gguf_dir):
    keys = read_header(gguf_dir / "tiny-Q4_K_M.gguf", ("quantize.",))
    assert keys["quantize.imatrix.file"] == "tiny.imatrix"
    assert keys["quantize.imatrix.entries_count"] == 14
    assert keys["quantize.imatrix.chunks_count"] == read_header(gguf_dir / "tiny.imatrix", ("",))["imatrix.chunk_count"]
    assert not read_header(gguf_dir / "tiny-Q8_0.gguf", ("quantize.",))


def test_tokens_are_counted_in_chunks():
    assert Imatrix({}, n_tokens=513, datasets=[]).n_chunks == 2
    assert Imatrix({}, n_tokens=512, datasets=[]).n_chunks == 1
