"""GGUF files: what is in them, what is refused, and that a wrong file is never kept."""

import json
import re
import shutil

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from dataset_builder.codecs import dump_codec
from dataset_builder.corpus import load_codec
from dataset_builder.errors import CopilotError, InputError, RecipeError, StageError
from dataset_builder.manifest import hash_file, read_manifest
from dataset_builder.prompts import PromptConfig
from model_recipes import gguf as gguf_stage
from model_recipes.checkpoint import load_model
from model_recipes.exporting import parity, parity_reference
from model_recipes.exporting import types as gguf_types
from model_recipes.exporting.header import read_header
from model_recipes.exporting.types import Fallback, choose_type, pack_tensor
from model_recipes.exporting.vocab import QWEN2_SPLIT, name_pre_tokenizer, read_chat_template, read_vocabulary
from model_recipes.exporting.write import open_model, plan_types
from model_recipes.gguf import GgufRecipe, export_gguf, read_copilot_gguf
from model_recipes.perplexity import measure_perplexity
from model_recipes.text import TextConfig, load_text

PARTS = {"self_attn.q_proj": "attn_q", "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm"}
RECIPE = GgufRecipe(name="tiny", types=["F16"], perplexity_windows=2, parity_prompts=2)


@pytest.fixture(scope="module")
def weights(model_dir):
    return load_file(model_dir / "model.safetensors")


def read_tensors(path):
    return {t.name: dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in GGUFReader(path).tensors}


@pytest.mark.parametrize(("file_type", "dtype"), [("F32", np.float32), ("F16", np.float16)])
def test_tensors_equal_the_state_dict(gguf_dir, weights, file_type, dtype):
    tensors = read_tensors(gguf_dir / f"tiny-{file_type}.gguf")
    assert len(tensors) == len(weights)
    np.testing.assert_array_equal(tensors["token_embd.weight"], weights["model.embed_tokens.weight"].astype(dtype))
    np.testing.assert_array_equal(tensors["blk.1.attn_k.bias"], weights["model.layers.1.self_attn.k_proj.bias"])
    for theirs, ours in PARTS.items():
        wanted = weights[f"model.layers.0.{theirs}.weight"]
        wanted = wanted.astype(dtype) if wanted.ndim == 2 else wanted
        np.testing.assert_array_equal(tensors[f"blk.0.{ours}.weight"], wanted)


def test_a_tied_model_has_no_output_matrix_and_another_has(gguf_dir, model_dir, weights, tmp_path):
    assert "output.weight" not in read_tensors(gguf_dir / "tiny-F32.gguf")
    untied = copy_model(model_dir, tmp_path, tie_word_embeddings=False)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"] * 2}, untied / "model.safetensors")
    model = open_model(untied)
    assert not model.tied
    assert model.shapes["output.weight"] == (768, 64)
    assert plan_types(model, "Q4_K_M").types["token_embd.weight"] is not GGMLQuantizationType.Q6_K


def test_q8_0_stays_within_half_a_step(gguf_dir, weights):
    found = read_tensors(gguf_dir / "tiny-Q8_0.gguf")["blk.0.ffn_down.weight"]
    wanted = weights["model.layers.0.mlp.down_proj.weight"]
    blocks = np.abs(wanted.reshape(-1, 32))
    step = blocks.max(axis=1, keepdims=True) / 127
    # Half a step of rounding; the step itself is stored as float16 (relative error 2**-11), times up to 127 steps.
    assert (np.abs(found - wanted).reshape(-1, 32) <= step * (0.5 + 127 * 2**-11)).all()


@pytest.mark.parametrize("qtype", [GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q5_K, GGMLQuantizationType.Q6_K])
def test_k_quants_come_back_close(qtype):
    values = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    back = dequantize(pack_tensor(values, qtype), qtype)
    assert back.shape == values.shape
    assert np.sqrt(np.mean((back - values) ** 2)) < {"Q4_K": 0.1, "Q5_K": 0.05, "Q6_K": 0.03}[qtype.name]


def test_m_mixture_keeps_more_bits_in_the_layers_that_llama_cpp_names():
    names = [f"blk.{i}.ffn_down.weight" for i in range(24)]
    kinds = [choose_type(name, (256, 1024), "Q4_K_M", 24, True)[0].name for name in names]
    assert [i for i, kind in enumerate(kinds) if kind == "Q6_K"] == [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]
    assert choose_type("token_embd.weight", (1000, 768), "Q4_K_M", 24, True) == (GGMLQuantizationType.Q6_K, None)
    assert choose_type("token_embd.weight", (1000, 768), "Q4_K_M", 24, False) == (GGMLQuantizationType.Q4_K, None)
    assert choose_type("blk.3.attn_q.bias", (768,), "Q4_K_M", 24, True) == (GGMLQuantizationType.F32, None)


@pytest.mark.parametrize(
    ("file_type", "columns", "wanted"),
    [
        ("Q4_K_M", 640, "Q5_0"),
        ("Q5_K_M", 640, "Q5_1"),
        ("Q8_0", 640, "Q8_0"),
        ("Q8_0", 600, "F16"),
        ("Q4_K_M", 600, "F16"),
        ("Q4_0", 640, "Q4_0"),
        ("Q4_0", 600, "F16"),
    ],
)
def test_rows_that_do_not_fit_fall_back(file_type, columns, wanted):
    kind, fallback = choose_type("blk.3.attn_q.weight", (64, columns), file_type, 24, True)
    assert kind.name == wanted
    if wanted == file_type:
        assert fallback is None
    else:
        bulk, block = {"Q4_K_M": ("Q4_K", 256), "Q5_K_M": ("Q5_K", 256)}.get(file_type, (file_type, 32))
        assert fallback == Fallback("blk.3.attn_q.weight", columns, bulk, wanted, block)


def test_keys_of_llama_cpp(gguf_dir, model_dir):
    keys = read_header(gguf_dir / "tiny-Q8_0.gguf", ("",))
    config = json.loads((model_dir / "config.json").read_text())
    wanted = {
        "general.architecture": "qwen2",
        "general.name": "tiny",
        "general.file_type": 7,
        "general.license": "apache-2.0",
        "general.base_model.0.name": "factory",
        "general.sampling.temp": 0.0,
        "qwen2.block_count": 2,
        "qwen2.attention.head_count": 4,
        "qwen2.attention.head_count_kv": 2,
        "qwen2.rope.freq_base": config["rope_parameters"]["rope_theta"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": (model_dir / "chat_template.jinja").read_text(),
    }
    assert {key: keys[key] for key in wanted} == wanted
    assert "not a medical device" in keys["general.description"].lower()
    assert "not a medical device" in keys["eeg_copilot.notice"].lower()


def test_header_reads_what_the_gguf_package_reads(gguf_dir):
    path = gguf_dir / "tiny-Q4_K_M.gguf"
    reader = {key: field.contents() for key, field in GGUFReader(path).fields.items() if not key.startswith("GGUF.")}
    keys = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in read_header(path, ("",)).items()}
    assert keys == reader
    assert set(read_header(path, ("qwen2.",))) == {key for key in reader if key.startswith("qwen2.")}


def test_one_file_is_model_and_codec(gguf_dir, corpus):
    copilot = read_copilot_gguf(gguf_dir / "tiny-Q8_0.gguf")
    assert dump_codec(copilot.codec) == dump_codec(load_codec(corpus))
    assert (copilot.name, copilot.file_type, copilot.synthetic) == ("tiny", "Q8_0", True)
    assert copilot.facts["base"] == "factory"
    assert len(copilot.facts["corpus_manifest_sha256"]) == 64


def test_manifest_tells_sizes_and_agreement(gguf_dir):
    manifest = read_manifest(gguf_dir)
    assert manifest.synthetic
    assert [parent.stage for parent in manifest.parents] == ["base", "corpus"]
    bits = {file["type"]: file["bits_per_weight"] for file in manifest.facts["files"]}
    assert bits["F32"] > bits["F16"] > bits["Q8_0"] > bits["Q4_K_M"]
    for file_type, tolerance in (("F32", 1e-4), ("F16", 5e-3), ("Q8_0", 0.05)):
        metric = manifest.metric("label_score_difference", reader=f"GGUF {file_type}")
        assert metric.value < tolerance
        assert metric.n == 4
    assert manifest.metric("greedy_agreement", reader="GGUF F32").value == 1


def test_same_input_same_bytes_and_no_second_run(gguf_dir, model_dir, corpus, tmp_path, monkeypatch):
    first = export_gguf(RECIPE, model_dir, corpus, tmp_path / "gguf")
    assert hash_file(tmp_path / "gguf/tiny-F16.gguf") == hash_file(gguf_dir / "tiny-F16.gguf")
    monkeypatch.setattr(gguf_stage, "write_gguf", None)
    assert export_gguf(RECIPE, model_dir, corpus, tmp_path / "gguf") == first


def test_a_file_that_answers_differently_is_not_kept(model_dir, corpus, tmp_path, monkeypatch):
    broken = gguf_types.quantize
    monkeypatch.setattr(gguf_types, "quantize", lambda values, qtype: broken(values * np.float32(1.3), qtype))
    with pytest.raises(
        StageError, match=r"^tiny-F16\.gguf: \S+\.weight: weight error is 0\.3; accepted: at most 0\.001$"
    ):
        export_gguf(RECIPE, model_dir, corpus, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


def test_a_file_that_tokenises_differently_is_not_kept(model_dir, corpus, tmp_path, monkeypatch):
    for module in (parity, parity_reference):
        monkeypatch.setattr(module, "HARD_STRINGS", ("12 345",))
    monkeypatch.setattr("model_recipes.exporting.vocab.name_pre_tokenizer", lambda tokenizer, where: "gpt-2")
    with pytest.raises(CopilotError, match="texts become other tokens than in Transformers|digits are not|tokenizer"):
        export_gguf(RECIPE, model_dir, corpus, tmp_path / "gguf")
    assert not (tmp_path / "gguf").exists()


def copy_model(model_dir, tmp_path, **config):
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    values = json.loads((copy / "config.json").read_text()) | config
    (copy / "config.json").write_text(json.dumps(values))
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "architecture LlamaForCausalLM found; accepted: Qwen2ForCausalLM"),
        ({"head_dim": 32}, "4 heads of 32 found"),
        ({"use_sliding_window": True}, "sliding window"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope type yarn"),
    ],
)
def test_models_that_llama_cpp_cannot_run_are_refused(model_dir, tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        open_model(copy_model(model_dir, tmp_path, **change))


def test_types_given_twice_are_refused(model_dir, corpus, tmp_path):
    with pytest.raises(RecipeError, match="each type once"):
        export_gguf(GgufRecipe(name="x", types=["F16", "F16"]), model_dir, corpus, tmp_path / "gguf")


def test_files_that_are_not_ours_are_refused(gguf_dir, tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(InputError, match=r"^text\.gguf: not a GGUF file$"):
        read_copilot_gguf(tmp_path / "text.gguf")
    whole = (gguf_dir / "tiny-F16.gguf").read_bytes()
    for size in (30, 5000, len(whole) // 2):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"^cut\.gguf: damaged GGUF file"):
            read_copilot_gguf(tmp_path / "cut.gguf")
    writer = GGUFWriter(tmp_path / "foreign.gguf", "qwen2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match="has no eeg_copilot keys; export it with: eeg-copilot gguf"):
        read_copilot_gguf(tmp_path / "foreign.gguf")
    with pytest.raises(InputError, match=r"^absent\.gguf: cannot be read"):
        read_copilot_gguf(tmp_path / "absent.gguf")


def test_rows_without_a_token_are_marked_unused(model_dir):
    vocabulary = read_vocabulary(model_dir, 800)
    assert vocabulary.tokens[768:770] == ["[PAD768]", "[PAD769]"]
    assert set(vocabulary.types[768:]) == {5}
    specials = {token for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True) if kind == 3}
    assert specials >= {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    with pytest.raises(InputError, match="token number 767 has no row; the embedding has 100"):
        read_vocabulary(model_dir, 100)


def test_pre_tokenizers_are_told_apart():
    qwen2 = [{"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}}, {"type": "ByteLevel"}]
    smollm = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}]
    assert name_pre_tokenizer({"pre_tokenizer": {"type": "Sequence", "pretokenizers": qwen2}}, "x") == "qwen2"
    assert name_pre_tokenizer({"pre_tokenizer": {"type": "Sequence", "pretokenizers": smollm}}, "x") == "smollm"
    for unknown in ({"type": "ByteLevel"}, None, {"type": "Metaspace"}):
        with pytest.raises(RecipeError, match="accepted: that of Qwen2 or of SmolLM2"):
            name_pre_tokenizer({"pre_tokenizer": unknown}, "x")


def test_marks_of_trained_text_are_neutral_in_the_file(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("a{%- generation %}b{% endgeneration -%} c")
    assert read_chat_template(tmp_path) == "a{%- if true %}b{% endif -%} c"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_input_error_and_never_a_crash(gguf_dir, tmp_path, data):
    damaged = bytearray((gguf_dir / "tiny-Q8_0.gguf").read_bytes())
    for place in data.draw(st.lists(st.integers(4, len(damaged) // 3), min_size=1, max_size=20)):
        damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged[: data.draw(st.integers(4, len(damaged)))])
    message = "damaged.gguf: (nothing that is read was hit)"
    try:
        read_copilot_gguf(path)
    except CopilotError as error:
        message = str(error)
    assert re.fullmatch(r"[^\n]*(damaged\.gguf|codec file)[^\n]*", message)


@pytest.mark.parametrize("value", [0, -32, 48, 2**62, 32.0, float("nan"), True, "32", [32]])
def test_an_absurd_alignment_is_damage(value, tmp_path):
    writer = GGUFWriter(tmp_path / "odd.gguf", "qwen2")
    types = {int: GGUFValueType.INT64, float: GGUFValueType.FLOAT32}
    writer.add_key_value("general.alignment", value, types.get(type(value), GGUFValueType.get_type(value)))
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match=r"^odd\.gguf: damaged GGUF file; download or export it again$"):
        read_header(tmp_path / "odd.gguf", ("general.",))


def test_damage_in_our_own_keys_is_told(gguf_dir, tmp_path):
    whole = (gguf_dir / "tiny-Q8_0.gguf").read_bytes()
    (tmp_path / "damaged.gguf").write_bytes(whole.replace(b'{"base": "factory"', b'["base": "factory"'))
    with pytest.raises(InputError, match=r"^damaged\.gguf: eeg_copilot\.facts is not JSON"):
        read_copilot_gguf(tmp_path / "damaged.gguf")


def test_a_file_tells_its_prompts(gguf_dir, tmp_path):
    path = gguf_dir / "tiny-Q8_0.gguf"
    assert read_copilot_gguf(path).prompt == PromptConfig()
    whole = path.read_bytes()
    (tmp_path / "zh.gguf").write_bytes(whole.replace(b'"language": "en"', b'"language": "zh"'))
    assert read_copilot_gguf(tmp_path / "zh.gguf").prompt == PromptConfig(language="zh")
    (tmp_path / "older.gguf").write_bytes(whole.replace(b"eeg_copilot.prompt", b"eeg_elsewhere.hint"))
    assert read_copilot_gguf(tmp_path / "older.gguf").prompt == PromptConfig()
    (tmp_path / "newer.gguf").write_bytes(whole.replace(b'"style": "emotion_qa"', b'"style": "emotion_xy"'))
    with pytest.raises(RecipeError, match=r"^newer\.gguf: prompt: style: .*emotion_xy"):
        read_copilot_gguf(tmp_path / "newer.gguf")


def test_perplexity_is_measured_on_the_file_and_survives_f16(gguf_dir, model_dir):
    found = {m.reader: m.value for m in read_manifest(gguf_dir).metrics if m.name == "perplexity"}
    expected = measure_perplexity(*load_model(model_dir), load_text(TextConfig()), 2).value
    assert found["GGUF F32"] == pytest.approx(expected, rel=1e-5)
    assert found["GGUF F16"] == pytest.approx(expected, rel=1e-3)
    assert found["GGUF Q8_0"] != expected
