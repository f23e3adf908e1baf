"""What ollama needs beside a GGUF file: a Modelfile for one's own machine, and three files for a repository of the Hub.

::

    Modelfile     FROM, TEMPLATE, SYSTEM, PARAMETER, LICENSE: ``ollama create NAME -f Modelfile``
    template      the chat template in Go's text/template, which ollama reads instead of Jinja
    system        the system turn, plain text
    params        sampling and stop tokens, JSON

The last three are what ``ollama run hf.co/USER/REPO`` looks for (https://huggingface.co/docs/hub/ollama); without them
the template is guessed from a list. The syntax of a Modelfile is that of https://docs.ollama.com/modelfile.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dataset_builder.errors import InputError
from dataset_builder.manifest import write_bytes
from dataset_builder.prompts import get_style
from model_recipes.exporting.gguf_file import NOTICE, read_copilot_gguf
from model_recipes.exporting.header import read_header
from model_recipes.runtime.check import check_file

#: ChatML as Go's text/template: the system turn first, whatever else in its order, then the answer's beginning.
GO_TEMPLATE = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ range .Messages }}{{ if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
"""

#: Either ends an answer.
STOPS = ["<|im_end|>", "<|im_start|>"]

#: Tokens of context that are asked for; what the model was made for if that is less.
_CONTEXT = 4096

#: Key of the GGUF file -> ollama's name.
_SAMPLING = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.penalty_repeat": "repeat_penalty",
}

#: Chats that a template must render as `GO_TEMPLATE` does.
_PROBES = [
    [("system", "S s"), ("user", " U\nu ")],
    [("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V")],
    [("user", "{{ U }}")],
]


def write_ollama_files(gguf_path: str | Path, out_dir: str | Path) -> list[Path]:
    """Write what ollama needs to ask a model as it was trained.

    Parameters
    ----------
    gguf_path : str or Path
        GGUF file of this project.
    out_dir : str or Path
        Folder to write into; files of the same names are replaced. The Modelfile names the GGUF file by its relative
        path if it lies in or below the folder, else by its name alone.

    Returns
    -------
    list of Path
        ``Modelfile``, ``template``, ``system``, ``params``.

    Raises
    ------
    InputError
        If the file is not one of ours, or its chat template is not ChatML.
    """
    path, out = Path(gguf_path), Path(out_dir)
    files = make_ollama_files(path)
    place = path.resolve()
    inside = place.is_relative_to(out.resolve())
    source = place.relative_to(out.resolve()).as_posix() if inside else path.name
    files = {"Modelfile": make_modelfile(path, source, files), **files}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_bytes(out / name, text.encode("utf-8"))
    return [out / name for name in files]


def make_ollama_files(gguf_path: str | Path) -> dict[str, str]:
    """Return the Hub's three files, ``template``, ``system`` and ``params``, as text by name.

    Raises
    ------
    InputError
        If the file is not one of ours, or its chat template is not ChatML.
    """
    path = Path(gguf_path)
    check_file(path)
    model = read_copilot_gguf(path)
    keys = read_header(path, ("tokenizer.chat_template", "general.sampling.", "qwen2.context_length"))
    _check_template(str(keys["tokenizer.chat_template"]), path.name)
    return {
        "template": GO_TEMPLATE,
        "system": get_style(model.prompt).render_system(model.codec),
        "params": json.dumps(_list_parameters(keys), indent=2) + "\n",
    }


def make_modelfile(gguf_path: str | Path, source: str, files: dict[str, str]) -> str:
    """Return a Modelfile.

    Parameters
    ----------
    gguf_path : str or Path
        Gives licence and notice.
    source : str
        How the Modelfile names the file.
    files : dict of str to str
        From `make_ollama_files`.
    """
    keys = read_header(Path(gguf_path), ("general.license", "general.name"))
    licence = f"{keys.get('general.name', 'model')}: {keys.get('general.license', 'licence not stated')}\n{NOTICE}"
    lines = [f"FROM ./{source}"]
    lines += [f"TEMPLATE {_quote(files['template'])}", f"SYSTEM {_quote(files['system'])}"]
    for name, value in json.loads(files["params"]).items():
        values = value if isinstance(value, list) else [value]
        lines += [f"PARAMETER {name} {json.dumps(item, ensure_ascii=False)}" for item in values]
    return "\n".join([*lines, f"LICENSE {_quote(licence)}"]) + "\n"


def _list_parameters(keys: dict[str, Any]) -> dict[str, Any]:
    """Return ollama's options: both stop tokens, the context, and sampling as the file has it."""
    context = min(_CONTEXT, int(keys.get("qwen2.context_length", _CONTEXT)))
    sampling = {name: keys[key] for key, name in _SAMPLING.items() if key in keys}
    # GGUF holds single precision: 0.8 comes back as 0.800000011920929.
    rounded = {name: round(value, 6) if isinstance(value, float) else int(value) for name, value in sampling.items()}
    return {"stop": STOPS, "num_ctx": context, **rounded}


def _check_template(template: str, name: str) -> None:
    """Refuse a chat template that renders anything else than `GO_TEMPLATE`."""
    # The environment of Transformers: what a file of unknown origin holds must not reach Python.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    for probe in _PROBES:
        messages = [{"role": role, "content": content} for role, content in probe]
        try:
            text = environment.from_string(template).render(messages=messages, add_generation_prompt=True)
        except TemplateError:
            text = ""
        if text != _render_chatml(probe):
            raise InputError(f"{name}: its chat template cannot be written for ollama; accepted: plain ChatML")


def _render_chatml(turns: list[tuple[str, str]]) -> str:
    """Return what `GO_TEMPLATE` renders."""
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant\n"


def _quote(text: str) -> str:
    """Return a text as a Modelfile's string over several lines, which has no way to write three quotes."""
    if '"""' in text:
        raise InputError("Modelfile: three double quotes in a row found in a text; accepted: text without them")
    return f'"""{text}"""'
