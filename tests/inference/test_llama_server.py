"""A file of ours in llama.cpp's own server, started as docs/running.md says; runs where ``llama-server`` is on PATH."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_builder.corpus import load_split
from dataset_builder.prompts import DEFAULT_STYLE
from model_recipes.checkpoint import load_model
from model_recipes.engine import Engine
from model_recipes.gguf import SamplingConfig

pytestmark = pytest.mark.skipif(shutil.which("llama-server") is None, reason="llama-server is not on PATH")

CHATS = [
    [{"role": "user", "content": "no system turn"}],
    [{"role": "system", "content": "{{ braces }} <|im_end|>"}, {"role": "user", "content": "é 한 <b>&amp;</b>  \n"}],
    [{"role": role, "content": role * 3} for role in ("system", "user", "assistant", "user")],
]


class RunningServer:
    """A server that was started; asked as any client asks it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call by GET, or by POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait(self) -> None:
        """Wait until the model is loaded."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                self.ask("/health")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
            else:
                return
        raise TimeoutError("llama-server did not start within two minutes")


@pytest.fixture(scope="module")
def server(gguf_dir: Path) -> Iterator[RunningServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = str(gguf_dir / "tiny-F32.gguf")
    options = ["-m", model, "--host", "127.0.0.1", "--port", str(port), "--jinja", "-c", "2048"]
    process = subprocess.Popen(
        ["llama-server", *options, "-t", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        running = RunningServer(port)
        running.wait()
        yield running
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def prompts(corpus):
    return [messages[:-1] for messages in load_split(corpus, "test")["messages"][:3]]


def test_rendered_text_and_tokens_are_those_of_transformers(server, model_dir, prompts):
    tokenizer = load_model(model_dir)[1]
    for messages in [*prompts, *CHATS]:
        wanted = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        found = server.ask("/apply-template", {"messages": messages})["prompt"]
        assert found.encode() == wanted.encode()
        tokens = server.ask("/tokenize", {"content": found, "parse_special": True, "add_special": False})["tokens"]
        assert tokens == tokenizer.encode(wanted, add_special_tokens=False)


def test_answers_are_held_to_the_schema(server, prompts):
    schema = DEFAULT_STYLE.answer_schema()
    for seed, messages in enumerate(prompts):
        # Random weights write what the parser of chats refuses; what the grammar lets through is seen below it.
        request = {"prompt": server.ask("/apply-template", {"messages": messages})["prompt"], "json_schema": schema}
        answer = server.ask("/completion", request | {"temperature": 1.0, "seed": seed, "n_predict": 900})
        assert answer["stop_type"] == "eos"
        assert DEFAULT_STYLE.parse_answer(answer["content"]).assessment


def test_greedy_text_is_the_engines(server, gguf_dir, prompts):
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as engine:
        wanted = engine.generate(prompts[0], max_tokens=16)
    answer = server.ask("/v1/chat/completions", {"messages": prompts[0], "max_tokens": 16})
    assert answer["choices"][0]["message"]["content"].strip() == wanted.strip(), "temperature 0 comes from the file"


def test_the_end_of_a_turn_ends_the_answer(server):
    (token,) = server.ask("/tokenize", {"content": "<|im_end|>", "parse_special": True})["tokens"]
    request = {"prompt": "hello", "logit_bias": [[token, 200]], "n_predict": 5}
    answer = server.ask("/completion", request)
    assert (answer["content"], answer["stop_type"], answer["tokens_predicted"]) == ("", "eos", 1)


def test_sampling_comes_from_the_file(server):
    found = server.ask("/props")["default_generation_settings"]["params"]
    sampling = SamplingConfig()
    wanted = [sampling.temp, sampling.top_k, sampling.top_p, sampling.penalty_repeat]
    assert [found[key] for key in ("temperature", "top_k", "top_p", "repeat_penalty")] == pytest.approx(wanted)


@pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="needs /proc/net/tcp")
def test_only_this_machine_is_served(server):
    lines = [line.split() for name in ("tcp", "tcp6") for line in _read_sockets(name)]
    listening = [local for _, local, _, state, *_ in lines if state == "0A" and local.endswith(f":{server.port:04X}")]
    assert listening == [f"0100007F:{server.port:04X}"]


def _read_sockets(name: str) -> list[str]:
    path = Path("/proc/net", name)
    return path.read_text(encoding="ascii").splitlines()[1:] if path.is_file() else []
