"""One schema, three backends: what Transformers, llama.cpp and ollama write can be read by the same parser."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from dataset_builder.errors import DependencyError, InputError
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.types import EMOTIONS
from model_recipes.engine import Engine
from model_recipes.runtime import generator_ollama
from model_recipes.runtime.errors import EngineError, UnfinishedError
from model_recipes.runtime.generator import Generator
from model_recipes.runtime.generator_hf import HFGenerator
from model_recipes.runtime.generator_ollama import OllamaGenerator

CHAT = [{"role": "system", "content": "Read."}, {"role": "user", "content": "EEG é 0123456789"}]
SCHEMA = DEFAULT_STYLE.answer_schema()
CHOICE = {
    "type": "object",
    "properties": {"a": {"enum": ["yes", "no"]}, "b": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
ANSWER = json.dumps({"emotion": "joy", "assessment": "Fine.", "suggestions": []})


@pytest.fixture(scope="module")
def hf(model_dir) -> HFGenerator:
    return HFGenerator(model_dir, device="cpu")


@pytest.fixture(scope="module")
def engine(gguf_dir) -> Iterator[Engine]:
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as opened:
        yield opened


class FakeOllama(HTTPServer):
    """Answers on the loopback interface as ollama does; what it was asked is kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        #: Status and body of the next answers; the last one stays.
        self.answers: list[tuple[int, bytes]] = [(200, say(ANSWER))]


class _Handler(BaseHTTPRequestHandler):
    server: FakeOllama

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append({"path": self.path, **json.loads(body)})
        answers = self.server.answers
        status, data = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://192.0.2.1/elsewhere")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def say(text: str, reason: str = "stop") -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": True, "done_reason": reason}).encode()


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    with FakeOllama() as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.mark.parametrize("backend", ["engine", "hf", "ollama"])
def test_every_backend_answers_in_the_form_of_the_schema(backend, engine, hf, server):
    ollama = OllamaGenerator("copilot", server.server_port)
    writer: Generator = {"engine": engine, "hf": hf, "ollama": ollama}[backend]
    for seed in range(5):
        text = writer.generate(CHAT, SCHEMA, max_tokens=900, seed=seed, temperature=1.0)
        assert DEFAULT_STYLE.parse_answer(text).emotion in EMOTIONS
        assert text.startswith('{"emotion": "'), "spaces as json.dumps writes them"


def test_transformers_and_llama_cpp_write_the_same_greedy_answer(engine, hf):
    for schema in (CHOICE, DEFAULT_STYLE.answer_schema("joy")):
        texts = []
        for writer in (engine, hf):
            try:
                texts.append(writer.generate(CHAT, schema, max_tokens=40))
            except UnfinishedError as error:
                texts.append(error.text)
        assert texts[0] == texts[1]
    assert engine.generate(CHAT, max_tokens=12) == hf.generate(CHAT, max_tokens=12)
    assert engine.generate(CHAT, prefix="Emotion", max_tokens=12) == hf.generate(CHAT, prefix="Emotion", max_tokens=12)


def test_transformers_draws_by_seed_and_leaves_other_draws_alone(hf):
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same, other = (hf.generate(CHAT, max_tokens=20, seed=s, temperature=1.0) for s in (5, 5, 6))
    assert one == same != other
    assert torch.equal(before, torch.get_rng_state())


def test_what_transformers_refuses(hf, monkeypatch):
    with pytest.raises(UnfinishedError, match="before the end of the answer") as caught:
        hf.generate(CHAT, SCHEMA, max_tokens=6)
    assert caught.value.text.startswith("{")
    with pytest.raises(EngineError, match=r"^schema: "):
        hf.generate(CHAT, {"type": "nonsense"}, max_tokens=6)
    with pytest.raises(EngineError, match="at most 1024 fit"):
        hf.generate(CHAT, max_tokens=1024)
    with pytest.raises(InputError, match="one of them"):
        hf.generate(CHAT, SCHEMA, prefix="{")
    monkeypatch.setitem(__import__("sys").modules, "llguidance.hf", None)
    with pytest.raises(DependencyError, match="llguidance is missing"):
        hf.generate(CHAT, SCHEMA)


def test_ollama_is_asked_with_the_schema_and_plain_options(server):
    text = OllamaGenerator("copilot", server.server_port).generate(
        [CHAT[0], {"role": "user", "content": "e\u0301"}], SCHEMA, max_tokens=99, seed=3, temperature=0.5
    )
    assert text == ANSWER
    (asked,) = server.asked
    assert (asked["path"], asked["model"], asked["stream"]) == ("/api/chat", "copilot", False)
    assert asked["format"] == SCHEMA
    assert asked["messages"] == [CHAT[0], {"role": "user", "content": "é"}]
    assert asked["options"] == {"temperature": 0.5, "seed": 3, "num_predict": 99}


def test_ollama_is_asked_again_until_an_answer_can_be_read(server):
    server.answers = [(200, say("no JSON")), (200, say('{"emotion": "joy"}')), (200, say(ANSWER))]
    assert OllamaGenerator("copilot", server.server_port).generate(CHAT, SCHEMA, seed=5) == ANSWER
    assert [asked["options"]["seed"] for asked in server.asked] == [5, 6, 7]
    server.answers = [(200, say("no JSON"))]
    with pytest.raises(EngineError, match=r"^ollama copilot: 3 answers were not held to the schema"):
        OllamaGenerator("copilot", server.server_port).generate(CHAT, SCHEMA)
    server.answers = [(200, say(ANSWER[:20], "length"))]
    with pytest.raises(UnfinishedError, match="largest number of tokens") as caught:
        OllamaGenerator("copilot", server.server_port).generate(CHAT, SCHEMA)
    assert caught.value.text == ANSWER[:20]
    assert OllamaGenerator("copilot", server.server_port).generate(CHAT) == ANSWER[:20], "free text may be cut"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, b'{"error": "model \\"copilot\\" not found"}'), 'ollama copilot: model "copilot" not found'),
        ((500, b"{}"), "ollama copilot: status 500"),
        ((200, b"not JSON"), r"ollama: /api/chat failed \(JSONDecodeError\)"),
        ((200, b"{}"), "ollama copilot: the server's answer holds no message"),
        ((302, b"{}"), "ollama copilot: status 302"),
    ],
)
def test_what_ollama_cannot_do_is_told_in_one_line(server, answer, message):
    server.answers = [answer]
    with pytest.raises(EngineError, match=f"^{message}$"):
        OllamaGenerator("copilot", server.server_port).generate(CHAT)
    assert len(server.asked) == 1, "no redirection is followed"


def test_without_ollama_it_is_told_how_to_start_it(server):
    port = server.server_port + 1 if server.server_port < 65535 else 1
    with pytest.raises(EngineError, match=r"^ollama: no server at 127\.0\.0\.1:\d+; start it with: ollama serve$"):
        OllamaGenerator("copilot", port).generate(CHAT)
    with pytest.raises(InputError, match="prefix was given"):
        OllamaGenerator("copilot").generate(CHAT, prefix="{")


def test_only_this_machine_is_ever_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.1:9")
    assert generator_ollama._HOST == "127.0.0.1"
    assert OllamaGenerator("copilot", server.server_port).generate(CHAT) == ANSWER
    assert not {"host", "address", "url"} & set(OllamaGenerator.__init__.__code__.co_varnames)
