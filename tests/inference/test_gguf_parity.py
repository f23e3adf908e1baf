"""The gates of an export: what is measured really comes from llama.cpp, and nothing over a gate is kept."""

import math
import re

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGUFReader
from safetensors.numpy import load_file, save_file

from dataset_builder.errors import CopilotError, InputError, RecipeError, StageError
from dataset_builder.manifest import Metric, read_manifest
from dataset_builder.recipe import validate
from model_recipes import gguf as gguf_stage
from model_recipes.checkpoint import load_model
from model_recipes.exporting import parity_gates
from model_recipes.exporting.logits import GgufRuntime
from model_recipes.exporting.model import open_model
from model_recipes.exporting.parity_gates import ParityGates, check_gates
from model_recipes.exporting.parity_reference import Answer
from model_recipes.exporting.report import REPORT_FILE, group_fallbacks
from model_recipes.exporting.weight_error import compare_weights
from model_recipes.exporting.write import write_gguf
from model_recipes.gguf import GgufRecipe, export_gguf
from tests.inference.test_gguf_export import copy_model

RECIPE = GgufRecipe(name="tiny", types=["F16"], perplexity_windows=2, parity_prompts=2)


def make_metric(name, value, n=4):
    return Metric(name=name, value=value, n=n, unit="prompts", split="validation")


def test_logits_of_llama_cpp_are_those_of_transformers(gguf_dir, model_dir):
    model, tokenizer = load_model(model_dir)
    ids = tokenizer.encode("delta 012345678 theta 999\n<|im_start|>user\nhi<|im_end|>")
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    with GgufRuntime(gguf_dir / "tiny-F32.gguf") as runtime:
        everywhere = runtime.read(ids).double().log_softmax(dim=-1)
        at_the_end = runtime.ask_last([ids[:5], ids])
    assert float((everywhere - expected).abs().max()) < 1e-4
    assert float((at_the_end - expected[[4, -1]]).abs().max()) < 1e-4
    with GgufRuntime(gguf_dir / "tiny-Q4_0.gguf") as runtime:
        assert float((runtime.read(ids).double().log_softmax(dim=-1) - expected).abs().max()) > 0.01


def test_manifest_tells_every_measure_of_every_file(gguf_dir):
    manifest = read_manifest(gguf_dir)
    for file in manifest.facts["files"]:
        found = {m.name: m for m in manifest.metrics if m.reader == f"GGUF {file['type']}"}
        against_f16 = {"label_agreement_f16"} if file["type"] == "F16" else set()  # not with itself
        assert set(ParityGates.model_fields) - against_f16 | {"perplexity", "top1_agreement"} <= set(found)
        assert sum(file["tensors"].values()) == 26
    exact = {m.name: m.value for m in manifest.metrics if m.reader == "GGUF F32"}
    assert exact["logit_difference"] < 1e-3
    assert exact["kl_divergence"] < 1e-6
    assert manifest.metric("label_agreement_f16", reader="GGUF Q8_0") is not None
    assert any("a gate only from 100 on" in note for note in manifest.notes)


def test_report_tells_each_tensor_that_did_not_fit(gguf_dir):
    page = (gguf_dir / REPORT_FILE).read_text()
    assert "Synthetic data." in page
    assert "Tensors that did not fit Q4_K_M" in page
    assert "Tensors that did not fit Q8_0" not in page
    assert "largest error of a tensor" in page
    file = next(f for f in read_manifest(gguf_dir).facts["files"] if f["type"] == "Q4_K_M")
    assert f'<span class="small">{file["worst_tensor"]}</span>' in page
    assert ("attn_q.weight", 64, "Q4_K", "Q5_0", 256, 2) in group_fallbacks(file)


@pytest.mark.parametrize(
    ("name", "file_type", "value", "message"),
    [
        ("logit_difference", "F32", 0.002, "logit difference is 0.002; accepted: at most 0.001"),
        ("perplexity_change", "F16", -0.01, "perplexity change is -0.01; accepted: at most 0.001"),
        ("kl_divergence", "Q8_0", float("nan"), "kl divergence is nan; accepted: at most 0.02"),
        ("greedy_agreement", "F16", 0.5, "greedy agreement is 0.5; accepted: at least 1"),
    ],
)
def test_gates_stop(name, file_type, value, message):
    with pytest.raises(StageError, match=f"^x.gguf: {message}$"):
        check_gates("x.gguf", file_type, [make_metric(name, value)], ParityGates())


@pytest.mark.parametrize(
    ("file_type", "kl", "change"),  # the worst of sound exports, and what breaks one
    [
        ("F32", (3e-9, 1e-4), (2e-7, 0.01)),
        ("F16", (6e-6, 0.02), (6.5e-4, 0.05)),
        ("BF16", (1.1e-5, 0.1), (1.1e-4, 0.5)),
        ("Q8_0", (0.004, 0.44), (-0.009, 0.9)),
        ("Q5_K_M", (0.116, 0.44), (-0.129, 0.9)),
        ("Q4_K_M", (0.074, 0.44), (0.122, 0.9)),
        ("Q4_0", (0.394, 9.0), (0.26, 0.9)),
    ],
)
def test_every_type_has_limits_between_sound_and_broken(file_type, kl, change):
    for name, (sound, broken) in {"kl_divergence": kl, "perplexity_change": change}.items():
        check_gates("x.gguf", file_type, [make_metric(name, sound)], ParityGates())
        for value in (broken, float("nan")):
            with pytest.raises(StageError, match=f"^x.gguf: {name.replace('_', ' ')} is "):
                check_gates("x.gguf", file_type, [make_metric(name, value)], ParityGates())


def scale(path, name, factor):
    tensor = next(tensor for tensor in GGUFReader(path, "r+").tensors if tensor.name == name)
    if tensor.data.dtype == np.uint8:
        scales = tensor.data.reshape(-1, GGML_QUANT_SIZES[tensor.tensor_type][1])[
            :, :2
        ]  # a block begins with its scale
        scales[:] = (scales.copy().view(np.float16) * np.float16(factor)).view(np.uint8)
    else:
        tensor.data[:] *= factor
    tensor.data.flush()


def export_scaled(monkeypatch, recipe, name, factor, model_dir, corpus, out):
    """Export a file of which one tensor is so many times too large."""

    def write_damaged(path, *rest):
        write_gguf(path, *rest)
        scale(path, name, factor)

    monkeypatch.setattr(gguf_stage, "write_gguf", write_damaged)
    export_gguf(recipe.model_copy(update={"imatrix": None}), model_dir, corpus, out)


@pytest.mark.parametrize("file_type", ["Q8_0", "Q5_K_M", "Q4_K_M", "Q4_0"])
def test_answers_tell_of_wrong_scales(file_type, model_dir, corpus, tmp_path, monkeypatch):
    gates = ParityGates(weight_error={file_type: None})
    recipe = RECIPE.model_copy(update={"types": [file_type], "gates": gates})
    with pytest.raises(StageError, match=rf"^tiny-{file_type}\.gguf: (kl div|perplexity ch)\w+ is .*; accepted: "):
        export_scaled(monkeypatch, recipe, "token_embd.weight", 2, model_dir, corpus, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


@pytest.mark.parametrize(
    ("file_type", "name", "factor"),
    [
        ("F32", "blk.1.attn_v.bias", 1.001),
        ("F16", "blk.1.ffn_up.weight", 1.01),
        ("Q8_0", "blk.1.attn_output.weight", 1.1),
        ("Q5_K_M", "blk.1.attn_k.weight", 1.25),
        ("Q4_K_M", "blk.1.attn_q.weight", 1.25),
        ("Q4_0", "blk.1.ffn_up.weight", 1.5),
    ],
)
def test_one_wrong_tensor_is_not_published(file_type, name, factor, model_dir, corpus, tmp_path, monkeypatch):
    """Of the last layer, whose answers to a few prompts would hardly tell."""
    recipe = RECIPE.model_copy(update={"types": [file_type]})
    message = rf"^tiny-{file_type}\.gguf: {re.escape(name)}: weight error is 0\.\d+; accepted: at most [\d.e-]+$"
    with pytest.raises(StageError, match=message):
        export_scaled(monkeypatch, recipe, name, factor, model_dir, corpus, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


@pytest.mark.parametrize(
    ("weights", "found", "error"),
    [([3.0, 4.0], [3.0, 4.5], 0.1), ([0.0], [0.0], 0.0), ([0.0], [0.1], math.inf), ([1.0], [math.nan], math.nan)],
)
def test_weight_error_is_relative(weights, found, error):
    assert compare_weights(np.array(weights), np.array(found)) == pytest.approx(error, nan_ok=True)


@pytest.mark.parametrize("name", ["label_agreement", "label_agreement_f16"])
def test_a_share_is_a_gate_only_on_enough_prompts(name):
    check_gates("x.gguf", "Q4_K_M", [make_metric(name, 0.5, n=99)], ParityGates())
    check_gates("x.gguf", "Q4_K_M", [make_metric(name, 0.97, n=100)], ParityGates())
    with pytest.raises(StageError, match=rf"{name.replace('_', ' ')} is 0\.96; accepted: at least 0\.97"):
        check_gates("x.gguf", "Q4_K_M", [make_metric(name, 0.96, n=100)], ParityGates())


def test_labels_are_held_to_those_of_the_f16_file(model_dir, corpus, tmp_path, monkeypatch):
    """The random model's label turns with any rounding; here even few prompts are a gate, and fp32 is none."""
    monkeypatch.setattr(parity_gates, "MIN_PROMPTS", 1)
    gates = ParityGates(label_agreement={"Q4_K_M": None})
    recipe = RECIPE.model_copy(update={"types": ["Q4_K_M", "F16"], "gates": gates})
    with pytest.raises(StageError, match=r"^tiny-Q4_K_M\.gguf: label agreement f16 is 0; accepted: at least 0\.97$"):
        export_gguf(recipe, model_dir, corpus, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


def test_a_recipe_changes_one_gate_and_keeps_the_others():
    gates = validate(ParityGates, {"kl_divergence": {"Q4_K_M": 0.1, "F16": None}}, "x")
    assert gates.kl_divergence == ParityGates().kl_divergence | {"F16": None, "Q4_K_M": 0.1}
    check_gates("x.gguf", "F16", [make_metric("kl_divergence", 9.0)], gates)
    assert gates.greedy_agreement == ParityGates().greedy_agreement
    with pytest.raises(RecipeError, match=r"kl_divergence\.Q3"):
        validate(ParityGates, {"kl_divergence": {"Q3": 0.1}}, "x")


def test_greedy_text_may_part_only_where_the_model_is_undecided():
    answer = Answer("a b c", ["", "a", "a b", "a b c"], [5.0, 0.01, 3.0])
    assert answer.permits("a b c")
    assert answer.permits("a x y")
    assert not answer.permits("a b x")
    assert not answer.permits("z")


def test_greedy_text_that_breaks_off_within_a_character_is_the_same_in_both():
    answer = Answer("a\ufffd\ufffd", ["", "a", "a\ufffd", "a\ufffd\ufffd"], [1.0, 1.0, 1.0])
    assert answer.permits("a")
    assert not answer.permits("b")


def test_strict_refuses_before_anything_is_written(model_dir, corpus, tmp_path):
    recipe = RECIPE.model_copy(update={"strict": True, "types": ["Q4_K_M"]})
    message = r"^strict: \d+ tensors do not fit Q4_K_M; .* has rows of 64, Q\d_K accepts multiples of 256$"
    with pytest.raises(RecipeError, match=message):
        export_gguf(recipe, model_dir, corpus, tmp_path / "gguf")
    assert not list(tmp_path.iterdir())


def damage(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def test_damaged_models_are_refused_with_one_line(model_dir, corpus, tmp_path):
    folder = copy_model(model_dir, tmp_path)
    with pytest.raises(
        InputError, match=r"^copy/config\.json: changed since its stage wrote it; make the model again$"
    ):
        export_gguf(RECIPE, folder, corpus, tmp_path / "gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"^copy/model\.safetensors: damaged or cut short; make the model again$"):
        open_model(folder)
    (folder / "model.safetensors").write_bytes(whole)
    damage(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(
        InputError, match=r"^copy: tensor blk\.1\.ffn_up\.weight is missing; config\.json accepts shape"
    ):
        open_model(folder)


def test_weights_that_are_no_numbers_are_refused(model_dir, tmp_path):
    folder = copy_model(model_dir, tmp_path)
    damage(folder, lambda weights: weights["model.norm.weight"].__setitem__(0, np.nan))
    with pytest.raises(InputError, match=r"model\.norm\.weight holds values that are not finite numbers$"):
        open_model(folder).read("output_norm.weight")


def test_a_tokenizer_of_another_model_is_refused(model_dir, tmp_path):
    folder = copy_model(model_dir, tmp_path, eos_token_id=5)
    with pytest.raises(InputError, match=r"^copy: the tokenizer's end mark is token \d+; config\.json accepts 5$"):
        open_model(folder)


def test_the_adapter_key_and_its_folder_belong_together(model_dir, corpus, tmp_path):
    with pytest.raises(CopilotError, match="give both the recipe's key and the folder"):
        export_gguf(RECIPE.model_copy(update={"adapter": True}), model_dir, corpus, tmp_path / "gguf")
