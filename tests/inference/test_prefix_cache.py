"""The prefix on disk: same answers, no words of a person, nothing trusted that could be wrong."""

import os
import stat
import struct
from pathlib import Path

import pytest

from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.types import EMOTIONS
from model_recipes.engine import Engine
from model_recipes.runtime.prefix_cache import CACHE_VARIABLE, PrefixCache, find_cache_folder, make_key

PREFIX = DEFAULT_STYLE.answer_prefix
SYSTEM = "You read codes of nine digits and name one emotion. " * 6
#: Digits are tokens of their own, so the row of their numbers cannot be there by chance.
SECRET = "delta 918273645 Yersinia 5550123"
CHAT = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": SECRET}]


@pytest.fixture
def cache(tmp_path):
    return PrefixCache(tmp_path / "prefixes")


def open_engine(gguf_dir: Path, cache: PrefixCache, **options: int) -> Engine:
    return Engine(gguf_dir / "tiny-F32.gguf", n_threads=1, cache=cache, **options)


def ask(engine: Engine) -> tuple[dict[str, float], str]:
    return engine.score_labels(CHAT, EMOTIONS, PREFIX), engine.generate(CHAT, max_tokens=16)


def test_a_second_start_reads_nothing_again_and_answers_the_same(gguf_dir, cache):
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        n_read = engine.timings["prompt_n"]
        first = ask(engine)
    files = list(cache.folder.iterdir())
    assert len(files) == 1
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        assert engine.timings == {}, "nothing was asked of the model"
        engine.score_labels(CHAT, EMOTIONS, PREFIX)
        assert engine.timings["cache_n"] >= n_read
        assert ask(engine) == first
    assert list(cache.folder.iterdir()) == files


def test_answers_are_those_without_a_prefix(gguf_dir, cache):
    with open_engine(gguf_dir, cache) as plain, open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        (wanted, text), (found, same) = ask(plain), ask(engine)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert text == same


def test_no_word_of_a_user_turn_is_ever_on_disk(gguf_dir, cache, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    (tmp_path / "private").mkdir()
    seen: list[bytes] = []
    kept_write = Path.unlink

    def look(path: Path, missing_ok: bool = False) -> None:
        seen.extend([path.read_bytes()] if path.exists() else [])
        kept_write(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", look)
    with open_engine(gguf_dir, cache) as engine:
        ask(engine)  # the model has read the person's turn before the prefix is stored
        engine.read_prefix(SYSTEM)
        ask(engine)
        engine.n_ctx = 64
        ask(engine)  # opened again in between, the prefix loaded again
        secret, system = engine.tokenize(SECRET), engine.tokenize(SYSTEM)
        written = [path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert seen, "the state of the prefix goes through the private folder"
    assert any(pack(system[:-2]) in data for data in [*seen, *written]), "tokens are found where they are"
    for data in [*seen, *written]:
        assert b"Yersinia" not in data
        assert pack(secret[1:-1]) not in data
        assert pack(engine_digits(secret)) not in data


def pack(tokens: list[int]) -> bytes:
    """Return tokens as llama.cpp stores them."""
    return struct.pack(f"<{len(tokens)}i", *tokens)


def engine_digits(tokens: list[int]) -> list[int]:
    """Return a few tokens from the middle of a text."""
    return tokens[3:9]


def test_only_the_owner_can_read_it(gguf_dir, cache):
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()] == [0o600]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "state"])
def test_a_damaged_file_is_ignored_and_made_again(gguf_dir, cache, damage):
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        first = ask(engine)
    (path,) = cache.folder.iterdir()
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    if damage == "state":  # whole by its digest, but no state: llama.cpp itself has to refuse it
        cache.save(path.stem, b"ggsq" + bytes(5000))
    else:
        path.write_bytes({"cut": whole[:-9], "changed": changed, "empty": b"", "foreign": b"GGUF" * 99}[damage])
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        assert engine.timings["prompt_n"] > 0
        assert ask(engine) == first
    assert path.read_bytes() == whole


def test_another_model_prefix_or_version_has_another_file(gguf_dir, cache, monkeypatch):
    for name, system in (("F32", SYSTEM), ("F16", SYSTEM), ("F32", SYSTEM + "More.")):
        with Engine(gguf_dir / f"tiny-{name}.gguf", n_threads=1, cache=cache) as engine:
            engine.read_prefix(system)
    monkeypatch.setattr("model_recipes.engine.metadata.version", lambda name: "0")
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
    assert len(list(cache.folder.iterdir())) == 4
    assert make_key("a", "bc") != make_key("ab", "c")


def test_a_state_fits_any_context(gguf_dir, cache):
    answers = []
    for n_ctx in (512, 1024):
        with open_engine(gguf_dir, cache, n_ctx=n_ctx) as engine:
            engine.read_prefix(SYSTEM)
            answers.append(ask(engine))
            n_files = len(list(cache.folder.iterdir()))
    assert answers[0] == answers[1]
    assert n_files == 1


def test_the_oldest_files_make_room(tmp_path):
    cache = PrefixCache(tmp_path / "prefixes", max_bytes=3000)
    for i, name in enumerate("abc"):
        cache.save(name, bytes(900))
        os.utime(cache.folder / f"{name}.prefix", (i + 1, i + 1))
    assert cache.load("a") == bytes(900)  # is the newest now
    cache.save("d", bytes(900))
    assert [cache.load(name) is not None for name in "abcd"] == [True, False, True, True]
    cache.save("huge", bytes(4000))
    assert cache.load("huge") is None
    assert len(list(cache.folder.iterdir())) == 3


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path):
    cache = PrefixCache(tmp_path / "prefixes")
    cache.save("a", b"state")
    cache.folder.chmod(0o770)
    assert cache.load("a") is None
    cache.save("b", b"state")
    cache.folder.chmod(0o700)
    assert (cache.load("a"), cache.load("b")) == (b"state", None)
    (tmp_path / "link").symlink_to(cache.folder)
    assert PrefixCache(tmp_path / "link").load("a") is None


def test_without_a_place_to_write_the_engine_works(gguf_dir, tmp_path):
    (tmp_path / "file").write_text("")
    cache = PrefixCache(tmp_path / "file" / "prefixes")
    with open_engine(gguf_dir, cache) as engine:
        engine.read_prefix(SYSTEM)
        assert sum(ask(engine)[0].values()) == pytest.approx(1)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "chosen"))
    assert PrefixCache().folder == tmp_path / "chosen" / "prefixes"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert find_cache_folder() == tmp_path / "xdg" / "eeg-emotion-copilot"
