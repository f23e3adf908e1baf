"""What goes wrong is told in one line, nothing dies of it, and the next request is served."""

import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from factories import TINY_SHAPE

from dataset_builder.errors import CopilotError, InputError
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS
from model_recipes.engine import CancelledError, Engine, EngineError

PREFIX = DEFAULT_STYLE.answer_prefix
CHAT = [{"role": "system", "content": "Read."}, {"role": "user", "content": "EEG 0123456789"}]
#: Opens each file given and says what came of it; run apart, because a fault in native code would end the tests too.
OPEN_EACH = """
import sys
from dataset_builder.errors import CopilotError
from model_recipes.engine import Engine
for path in sys.argv[1:]:
    try:
        with Engine(path, n_threads=1) as engine:
            engine.generate([{"role": "user", "content": "hello"}], max_tokens=2)
        print("answered")
    except CopilotError as error:
        assert len(str(error).splitlines()) == 1 and str(error).startswith(path.rsplit("/", 1)[-1]), error
        print("refused", flush=True)
"""


@pytest.fixture(scope="module")
def whole(gguf_dir) -> bytes:
    return (gguf_dir / "tiny-Q8_0.gguf").read_bytes()


@pytest.fixture(scope="module")
def engine(gguf_dir):
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as opened:
        yield opened


def replace_text(data: bytes, old: str, new: str) -> bytes:
    """Replace a text of the header by one of another length."""
    found = struct.pack("<Q", len(old)) + old.encode()
    assert data.count(found) >= 1
    return data.replace(found, struct.pack("<Q", len(new)) + new.encode(), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "damaged GGUF file; download or export it again"),
        (lambda data: data[:-1], "damaged GGUF file; download or export it again"),
        (lambda data: data[:40], "damaged GGUF file; download or export it again"),
        (lambda data: data[:4] + bytes([9]) + data[5:], "damaged GGUF file; download or export it again"),
        (lambda data: b"hello", "not a GGUF file"),
        (lambda data: b"", "not a GGUF file"),
        (lambda data: replace_text(data, "qwen2", "mamba"), "architecture mamba found; accepted: qwen2"),
        (lambda data: replace_text(data, "gpt2", "bert"), "tokenizer bert with qwen2 found; accepted: gpt2 with qwen2"),
        (lambda data: replace_text(data, "model", "adapter"), "general.type adapter found; accepted: model"),
        (
            lambda data: replace_text(data, "<|im_start|>", "<|im_begin|>"),
            "turn marks are cut or digits are not; accepted: a Qwen2 tokenizer with ChatML's tokens",
        ),
    ],
    ids=[
        "half",
        "one byte less",
        "header cut",
        "version",
        "text",
        "empty",
        "architecture",
        "tokenizer",
        "adapter",
        "turns",
    ],
)
def test_a_wrong_file_is_told_in_one_line(whole, tmp_path, gguf_dir, change, message):
    path = tmp_path / "Wrong.gguf"
    path.write_bytes(change(whole))
    with pytest.raises(InputError) as caught:
        Engine(path, n_threads=1)
    assert str(caught.value).startswith(f"Wrong.gguf: {message}")
    assert "\n" not in str(caught.value)
    with Engine(gguf_dir / "tiny-Q8_0.gguf", n_threads=1) as engine:
        assert engine.generate(CHAT, max_tokens=2)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"^absent\.gguf: cannot be read"):
        Engine(tmp_path / "absent.gguf")


def test_a_vocabulary_of_another_size_is_told(gguf_dir, tmp_path, whole):
    """The tokenizer of another model in the file: its tokens do not fit the rows of the embedding."""
    key = b"tokenizer.ggml.tokens"
    place = whole.index(key) + len(key) + 8
    assert struct.unpack_from("<Q", whole, place)[0] == TINY_SHAPE.vocab
    size = struct.unpack_from("<Q", whole, place + 8)[0]
    fewer = whole[:place] + struct.pack("<Q", TINY_SHAPE.vocab - 1) + whole[place + 8 + 8 + size :]
    path = tmp_path / "x.gguf"
    path.write_bytes(pad_like(whole, fewer))
    with pytest.raises(CopilotError, match=r"^x\.gguf: (llama\.cpp cannot load it|damaged|turn marks)"):
        Engine(path, n_threads=1)


def test_a_token_that_is_twice_in_the_vocabulary_is_told(whole, tmp_path):
    """llama.cpp stops the process at an assertion when it meets one."""
    digits = [struct.pack("<Q", 1) + digit for digit in (b"3", b"4")]
    assert whole.count(digits[0]) == 1
    (tmp_path / "x.gguf").write_bytes(whole.replace(*digits))
    with pytest.raises(InputError, match=r"^x\.gguf: a token is twice"):
        Engine(tmp_path / "x.gguf", n_threads=1)


def pad_like(whole: bytes, changed: bytes) -> bytes:
    """Make up for bytes that were taken out, so that the weights stay where they were modulo their alignment."""
    key = b"general.description"
    place = changed.index(key) + len(key) + 4
    length = struct.unpack_from("<Q", changed, place)[0]
    text = changed[place + 8 : place + 8 + length] + b" " * (len(whole) - len(changed))
    return changed[:place] + struct.pack("<Q", len(text)) + text + changed[place + 8 + length :]


def test_no_damage_ends_the_process(whole, tmp_path):
    paths = []
    for i in range(80):
        data, rng = bytearray(whole), make_rng(3, "damage", i)
        place, kind = int(rng.integers(4, 3000 if i % 4 else len(data) - 9)), i % 4
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            data[place : place + 8] = struct.pack("<Q", int(rng.choice([0, 2**31, 2**40, 2**63])))
        else:
            del data[place : place + int(rng.integers(1, 40))]
        paths.append(tmp_path / f"{i}.gguf")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_EACH, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    outcomes = done.stdout.split()
    assert len(outcomes) == len(paths)
    assert outcomes.count("refused") > len(paths) // 2


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"type": "object", "properties": 3}, {"$ref": "#/absent"}])
def test_a_bad_schema_is_told_and_the_next_request_served(engine, schema):
    wanted = engine.generate(CHAT, max_tokens=4)
    with pytest.raises(EngineError) as caught:
        engine.generate(CHAT, schema, max_tokens=20)
    assert "\n" not in str(caught.value)
    assert engine.generate(CHAT, max_tokens=4) == wanted


def test_a_prompt_over_the_context_is_told_and_the_next_request_served(engine):
    wanted = engine.score_labels(CHAT, EMOTIONS, PREFIX)
    for call in (lambda chat: engine.generate(chat), lambda chat: engine.score_labels(chat, EMOTIONS, PREFIX)):
        with pytest.raises(EngineError, match=r"tokens; at most 1024 fit$"):
            call([{"role": "user", "content": "0123456789" * 200}])
    assert engine.score_labels(CHAT, EMOTIONS, PREFIX) == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(EngineError, match="at most 1024 fit"):
        engine.read_prefix("0123456789" * 200)


@pytest.mark.parametrize("fault", [ValueError("x"), KeyboardInterrupt()])
def test_what_a_callback_raises_comes_out_and_the_next_request_is_served(engine, fault):
    wanted = engine.generate(CHAT, max_tokens=4)

    def fail(piece: str) -> None:
        raise fault

    with pytest.raises(type(fault)):
        engine.generate(CHAT, max_tokens=300, on_token=fail)
    assert engine.generate(CHAT, max_tokens=4) == wanted


def test_a_connection_that_the_server_closed_is_opened_again(engine):
    wanted = engine.tokenize("0123")
    connection = engine._open._connection
    connection.sock.shutdown(2)  # as after some idle seconds
    assert engine.tokenize("0123") == wanted
    assert engine._open._connection is not connection


def run_in_thread(work) -> tuple[threading.Thread, list]:
    """Start `work` and collect what it returns or raises."""
    results: list = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_another_thread_can_cancel_an_answer(engine):
    wanted, begun = engine.generate(CHAT, max_tokens=4), threading.Event()

    def notice(piece: str) -> None:
        begun.set()
        time.sleep(0.01)

    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    thread, results = run_in_thread(lambda: engine.generate(CHAT, schema, max_tokens=900, on_token=notice))
    assert begun.wait(20)
    engine.cancel()
    thread.join(20)
    assert isinstance(results[0], CancelledError)
    assert str(results[0]) == "tiny-F32.gguf: the answer was cancelled"
    assert results[0].text.startswith("{")
    assert engine.generate(CHAT, max_tokens=4) == wanted


def test_reading_a_prompt_and_scoring_can_be_cancelled(engine, monkeypatch):
    complete = engine._open.complete
    monkeypatch.setattr(engine._open, "complete", lambda *request: (engine.cancel(), complete(*request)))
    for call in (lambda: engine.score_labels(CHAT, EMOTIONS, PREFIX), lambda: engine.generate(CHAT, max_tokens=5)):
        with pytest.raises(CancelledError):
            call()
    monkeypatch.undo()
    engine.cancel()  # nothing is in progress: the next call is not concerned
    assert engine.generate(CHAT, max_tokens=2)


def test_closing_ends_an_answer_in_progress(gguf_dir):
    engine, begun = Engine(gguf_dir / "tiny-F32.gguf", n_threads=1), threading.Event()

    def notice(piece: str) -> None:
        begun.set()
        time.sleep(0.01)

    thread, results = run_in_thread(lambda: engine.generate(CHAT, max_tokens=900, on_token=notice))
    assert begun.wait(20)
    engine.close()
    thread.join(20)
    assert isinstance(results[0], CancelledError)
    with pytest.raises(EngineError, match="was closed"):
        engine.generate(CHAT, max_tokens=2)


def test_threads_are_served_one_after_another(engine):
    chats = [[{"role": "user", "content": f"EEG {i}{i}{i}"}] for i in range(6)]
    wanted = [(engine.generate(chat, max_tokens=12), engine.score_labels(chat, EMOTIONS, PREFIX)) for chat in chats]
    running, most = [], []

    def notice(piece: str) -> None:
        most.append(len(running))

    def ask(chat):
        def count(piece: str) -> None:
            notice(piece)

        running.append(chat)
        text = engine.generate(chat, max_tokens=12, on_token=count)
        running.remove(chat)
        return text, engine.score_labels(chat, EMOTIONS, PREFIX)

    threads = [run_in_thread(lambda chat=chat: ask(chat)) for chat in chats]
    for thread, _ in threads:
        thread.join(60)
    for (_, results), (text, scores) in zip(threads, wanted, strict=True):
        assert results[0][0] == text
        assert results[0][1] == pytest.approx(scores, abs=1e-5)
    assert max(most) > 1, "several did wait at the same time"


def test_nothing_of_a_failed_start_is_left(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "x.gguf"
    path.write_bytes(replace_text(whole, "<|im_start|>", "<|im_begin|>"))
    with pytest.raises(InputError):
        Engine(path, n_threads=1)
    assert [entry for entry in Path(tmp_path).iterdir() if entry != path] == []


def test_a_server_that_is_closed_at_once_does_not_hang(gguf_dir):
    """On one core its main loop begins after the constructor returned; llama.cpp would then miss being told to end."""
    program = (
        "import os, sys; from pathlib import Path; from model_recipes.runtime.server import LocalServer\n"
        "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "for _ in range(40): LocalServer(Path(sys.argv[1]), 1, 64).close()"
    )
    command = [sys.executable, "-c", program, str(gguf_dir / "tiny-F32.gguf")]
    assert subprocess.run(command, capture_output=True, timeout=100, check=False).returncode == 0
