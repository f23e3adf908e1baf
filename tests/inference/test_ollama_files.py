"""Files for ollama: what they render is what the model was trained on."""

import hashlib
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from gguf import GGUFWriter
from go_template import render_go

from copilot.cli import main as run_cli
from dataset_builder.errors import InputError
from dataset_builder.prompts import DEFAULT_STYLE, STYLES, PromptConfig, get_style
from model_recipes.bases.qwen2 import load_chat_template
from model_recipes.checkpoint import load_model
from model_recipes.engine import Engine
from model_recipes.exporting.gguf_file import CopilotGguf, add_copilot_keys, read_copilot_gguf
from model_recipes.exporting.ollama_files import GO_TEMPLATE, STOPS, make_ollama_files, write_ollama_files
from tests.copilot.copilot_fakes import fitted_codec

CHATS = [
    [("system", "Read the code."), ("user", "EEG:\ndelta 0123\n\n\nalpha 99")],
    [("system", "S"), ("user", "one"), ("assistant", "two"), ("user", "three")],
    [("user", "no system turn")],
    [("system", '{{ .Braces }} <b>&amp;</b> \\ "q"'), ("user", "  é 한 🙂 <|im_end|>\t\n")],
]
CHATML = load_chat_template()
#: Reads template and data from standard input, both as JSON, and prints what Go makes of them.
GO_PROGRAM = """package main
import ("encoding/json"; "os"; "text/template")
type Message struct { Role, Content string }
type Input struct { Template string; Data struct { System string; Messages []Message } }
func main() {
	var in Input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil { panic(err) }
	if err := template.Must(template.New("t").Parse(in.Template)).Execute(os.Stdout, in.Data); err != nil { panic(err) }
}
"""


def go_data(chat):
    """Return a chat as ollama hands it to a template: the system turn also apart."""
    system = "\n\n".join(content for role, content in chat if role == "system")
    return {"System": system, "Messages": [{"Role": role, "Content": content} for role, content in chat]}


def write_gguf(path, template=CHATML, prompt=DEFAULT_STYLE.config, **keys):
    writer = GGUFWriter(path, "qwen2")
    writer.add_name("made-up")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(["a", "b"])
    writer.add_chat_template(template)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)
    add_copilot_keys(writer, CopilotGguf(fitted_codec(), "made-up", "0", "noise", True, "F32", {}, prompt))
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read_modelfile(text):
    """Return a Modelfile's instructions as (name, value), its strings of several lines unquoted."""
    found = re.findall(r'^([A-Z]+) (?:"""(.*?)"""|([^\n]*))$', text, flags=re.MULTILINE | re.DOTALL)
    assert "".join(re.sub(r'^([A-Z]+) (?:"""(.*?)"""|([^\n]*))\n', "", text, flags=re.M | re.S)) == ""
    return [(name, quoted or plain) for name, quoted, plain in found]


@pytest.mark.parametrize("chat", CHATS)
def test_go_renders_what_transformers_and_llama_cpp_do(chat, model_dir, gguf_dir):
    messages = [{"role": role, "content": content} for role, content in chat]
    wanted = load_model(model_dir)[1].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert render_go(GO_TEMPLATE, go_data(chat)).encode() == wanted.encode()
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as engine:
        assert engine.render(messages) == wanted


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_real_go_renders_the_same(tmp_path):
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    subprocess.run(["go", "build", "-o", "render", "main.go"], cwd=tmp_path, check=True, timeout=120)
    for chat in CHATS:
        given = json.dumps({"Template": GO_TEMPLATE, "Data": go_data(chat)})
        done = subprocess.run([tmp_path / "render"], input=given, capture_output=True, text=True, check=True)
        assert done.stdout == render_go(GO_TEMPLATE, go_data(chat))


def test_rendered_text_is_what_go_1_19_printed():
    texts = "\0".join(render_go(GO_TEMPLATE, go_data(chat)) for chat in CHATS)
    assert (
        hashlib.sha256(texts.encode()).hexdigest() == "d9da722049c689ab1e24fab5dc2b4e32a6c564ddff6ebc47401bf4c061c5ba0e"
    )


@pytest.mark.parametrize(
    "template",
    ["{{ if .A }}x", "{{ .A | upper }}", "{{ range .A }}x", "x {{ .A", "{{ if .A }}{{ else with .B }}{{ end }}"],
)
def test_renderer_refuses_what_it_does_not_know(template):
    with pytest.raises(ValueError, match=r"without end|unknown|not closed"):
        render_go(template, {"A": [{}]})


def test_renderer_trims_as_go_does():
    assert render_go("a \n{{- .A -}} \n b {{ .A }} c", {"A": "x"}) == "axb x c"


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_system_is_the_one_of_training(name, language, tmp_path):
    config = PromptConfig(style=name, language=language)
    files = make_ollama_files(write_gguf(tmp_path / "x.gguf", prompt=config))
    assert files["system"] == get_style(config).render_system(fitted_codec())


def test_files_of_an_exported_model(gguf_dir, tmp_path, capsys):
    model = tmp_path / "tiny-Q8_0.gguf"
    shutil.copy(gguf_dir / model.name, model)
    assert run_cli(["ollama", "--gguf", str(model), "--out", str(tmp_path)]) == 0
    assert "ollama create" in capsys.readouterr().out
    read = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("template", "system", "params")}
    assert read["template"] == GO_TEMPLATE
    assert read["system"] == DEFAULT_STYLE.render_system(read_copilot_gguf(model).codec)
    params = json.loads(read["params"])
    assert params["stop"] == STOPS == ["<|im_end|>", "<|im_start|>"]
    assert (params["num_ctx"], params["temperature"], params["top_p"], params["top_k"]) == (1024, 0.0, 0.8, 20)
    lines = read_modelfile((tmp_path / "Modelfile").read_text(encoding="utf-8"))
    assert lines[:3] == [("FROM", "./tiny-Q8_0.gguf"), ("TEMPLATE", GO_TEMPLATE), ("SYSTEM", read["system"])]
    assert ("PARAMETER", 'stop "<|im_end|>"') in lines
    assert ("PARAMETER", 'stop "<|im_start|>"') in lines
    assert ("PARAMETER", "num_ctx 1024") in lines
    assert lines[-1][0] == "LICENSE"
    assert "Not a medical device" in lines[-1][1]


def test_files_are_the_same_each_time_and_name_no_folder(tmp_path):
    model = write_gguf(tmp_path / "x.gguf", license="apache-2.0")
    for name in ("a", "b"):
        write_ollama_files(model, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert str(tmp_path) not in path.read_text(encoding="utf-8")
    text = (tmp_path / "a" / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./x.gguf\n")
    assert "made-up: apache-2.0" in text


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content }}", "You are Qwen. " + CHATML, "{% broken", "{{ ''.__class__.mro() }}"]
)
def test_other_chat_templates_are_refused(tmp_path, template):
    with pytest.raises(InputError, match=r"^x\.gguf: its chat template cannot be written.*plain ChatML$"):
        make_ollama_files(write_gguf(tmp_path / "x.gguf", template))


def test_three_quotes_cannot_leave_a_modelfile_s_string(tmp_path):
    model = write_gguf(tmp_path / "x.gguf", license='a"""\nFROM ./other')
    with pytest.raises(InputError, match="three double quotes"):
        write_ollama_files(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_without_codec_is_refused(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="damaged GGUF file"):
        write_ollama_files(tmp_path / "x.gguf", tmp_path)
