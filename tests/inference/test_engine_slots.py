"""Two prompts in memory: what need not be read again is not, and no answer depends on it."""

import pytest

from dataset_builder.corpus import load_split
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.types import EMOTIONS
from model_recipes.engine import Engine
from model_recipes.runtime.model_digest import hash_model
from model_recipes.runtime.prefix_cache import PrefixCache
from model_recipes.runtime.server import choose_kv_type
from model_recipes.runtime.slots import Slots

PREFIX = DEFAULT_STYLE.answer_prefix


def test_a_prompt_goes_where_it_costs_least():
    slots, system = Slots(), [1] * 50
    slots.fill(system)
    first, second, third = ([*system, *[number] * 20] for number in (2, 3, 4))
    place = slots.take(first)
    assert slots.take(second) != place, "the first one stays as long as the system turn lies bare elsewhere"
    assert slots.take([*first, 9]) == place, "what goes on after a prompt goes on in its place"
    assert slots.take(third) != place, "the one that was not used for longest makes room"
    assert slots.take(first) == place


def test_prompts_that_share_nothing_take_turns():
    slots = Slots()
    assert [slots.take([number] * 5) for number in range(4)] == [0, 1, 0, 1]


@pytest.fixture(scope="module")
def prompts(corpus):
    return [messages[:-1] for messages in load_split(corpus, "test")["messages"][:2]]


@pytest.mark.parametrize("chosen", [0, 1])
def test_no_window_of_a_short_recording_is_read_twice(gguf_dir, prompts, tmp_path, chosen):
    schema = DEFAULT_STYLE.answer_schema("joy")
    with Engine(gguf_dir / "tiny-Q8_0.gguf", n_threads=1, cache=PrefixCache(tmp_path)) as engine:
        wanted = engine.generate(prompts[chosen], schema, max_tokens=700)
        engine.read_prefix(prompts[0][0]["content"])
        for messages in prompts:
            engine.score_labels(messages, EMOTIONS, PREFIX)
        assert engine.generate(prompts[chosen], schema, max_tokens=700) == wanted
        assert engine.timings["prompt_n"] <= 2


def test_every_place_begins_with_the_prefix(gguf_dir, prompts, tmp_path):
    cache = PrefixCache(tmp_path)
    for _ in range(2):  # read, then from disk
        with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1, cache=cache) as engine:
            engine.read_prefix(prompts[0][0]["content"])
            n_prefix = len(engine._prefix)
            for messages in prompts:
                engine.generate(messages, max_tokens=2)
                assert engine.timings["cache_n"] >= n_prefix


def test_attention_is_exact_where_the_weights_are(gguf_dir):
    assert [choose_kv_type(number) for number in (None, 0, 1, 32, 7, 15)] == ["F32"] * 4 + ["F16"] * 2
    for name, kind in {"F32": "F32", "F16": "F32", "BF16": "F32", "Q8_0": "F16", "Q4_K_M": "F16"}.items():
        with Engine(gguf_dir / f"tiny-{name}.gguf", n_threads=1) as engine:
            assert engine._open.kv_type == kind


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "model_recipes.runtime.model_digest.hash_file", lambda path: calls.append(path) or str(len(calls))
    )
    path = tmp_path / "x.gguf"
    path.write_bytes(b"one")
    assert [hash_model(path), hash_model(path)] == ["1", "1"]
    path.write_bytes(b"other")
    assert hash_model(path) == "2"
    with pytest.raises(OSError, match="absent"):
        hash_model(tmp_path / "absent.gguf")
