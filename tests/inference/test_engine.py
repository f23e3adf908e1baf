"""llama.cpp against Transformers: the same text, tokens, scores and answers; and what the engine refuses."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long_way import ask_transformers

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.prompts import DEFAULT_STYLE, LIBRARY
from dataset_builder.types import EMOTIONS
from model_recipes.checkpoint import HARD_STRINGS, load_model
from model_recipes.engine import Engine, EngineError, UnfinishedError

PREFIX = DEFAULT_STYLE.answer_prefix
CHATS = [
    [{"role": "system", "content": "Read the code."}, {"role": "user", "content": "EEG:\ndelta 0123\n\n\nalpha 99"}],
    [{"role": "user", "content": "no system turn"}],
    [{"role": "system", "content": "{{ braces }} <|im_end|>"}, {"role": "user", "content": "é 한 <b>&amp;</b>  \n"}],
    [{"role": role, "content": role * 3} for role in ("system", "user", "assistant", "user")],
]
OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture(scope="module")
def hf(model_dir):
    return load_model(model_dir)


@pytest.fixture(scope="module")
def engine(gguf_dir):
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def prompts(corpus):
    return [messages[:-1] for messages in load_split(corpus, "test")["messages"][:6]]


@pytest.mark.parametrize("messages", CHATS)
def test_chat_template_renders_as_in_transformers(engine, hf, messages):
    wanted = hf[1].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert engine.render(messages) == unicodedata.normalize("NFC", wanted)


def test_corpus_prompts_become_the_same_tokens(engine, hf, prompts):
    for messages in prompts:
        wanted = hf[1].apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)
        assert engine.tokenize(engine.render(messages)) == list(wanted["input_ids"])


@pytest.mark.parametrize(
    "text", [*HARD_STRINGS, "", " ", "\n" * 5, "0123456789" * 3, "ﬁ Å Å", "\u1112\u1161\u11ab", "ё́"]
)
def test_hard_strings_become_the_same_tokens(engine, hf, text):
    assert engine.tokenize(text) == hf[1].encode(text, add_special_tokens=False)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cn"], max_codepoint=0x2FFF), max_size=40))
def test_any_text_becomes_the_same_tokens(engine, hf, text):
    assert engine.tokenize(text) == hf[1].encode(text, add_special_tokens=False)


def test_scores_equal_transformers(engine, hf, prompts):
    for messages in prompts[:3]:
        found = engine.score_labels(messages, EMOTIONS, PREFIX)
        assert list(found) == list(EMOTIONS)
        assert sum(found.values()) == pytest.approx(1, abs=1e-9)
        assert found == pytest.approx(ask_transformers(hf, messages, EMOTIONS, PREFIX), abs=1e-4)


def test_labels_that_share_tokens_are_told_apart(engine, hf, prompts):
    labels = ["joyous", "joyless", "joy", "jolly", "sad", "sadder"]
    found = engine.score_labels(prompts[0], labels, PREFIX)
    assert sum(found.values()) == pytest.approx(1, abs=1e-9)
    assert found == pytest.approx(ask_transformers(hf, prompts[0], labels, PREFIX), abs=1e-4)


def test_scores_do_not_depend_on_what_was_asked_before(gguf_dir, engine, prompts):
    warm = engine.score_labels(prompts[1], EMOTIONS, PREFIX)
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as fresh:
        assert fresh.score_labels(prompts[1], EMOTIONS, PREFIX) == pytest.approx(warm, abs=1e-5)


@pytest.mark.parametrize("file_type", ["F32", "F16"])
def test_greedy_text_equals_transformers(gguf_dir, hf, prompts, file_type):
    model, tokenizer = hf
    with Engine(gguf_dir / f"tiny-{file_type}.gguf", n_threads=1) as engine:
        for messages in prompts[:3]:
            ids = tokenizer(engine.render(messages), add_special_tokens=False, return_tensors="pt")
            out = model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :]
            wanted = tokenizer.decode(out, skip_special_tokens=True)
            assert engine.generate(messages, max_tokens=24) == wanted


def test_every_schema_answer_can_be_read(engine):
    for seed in range(50):
        text = engine.generate(CHATS[0], DEFAULT_STYLE.answer_schema(), max_tokens=940, seed=seed, temperature=1.0)
        assert DEFAULT_STYLE.parse_answer(text).emotion in EMOTIONS
        assert re.match(r'^\{"emotion": "[a-z]+", "assessment": "', text), "spaces as json.dumps writes them"


@pytest.mark.nightly
def test_not_one_of_a_thousand_answers_is_invalid(engine, prompts):
    unfinished = 0
    for seed in range(1000):
        emotion = [None, *EMOTIONS][seed % 10]
        schema = DEFAULT_STYLE.answer_schema(emotion, age=12 if seed % 3 else None)
        try:
            text = engine.generate(prompts[seed % 6], schema, max_tokens=700, seed=seed, temperature=1.0)
        except UnfinishedError:
            unfinished += 1
            continue
        answer = DEFAULT_STYLE.parse_answer(text)
        assert answer.emotion in ([emotion] if emotion else EMOTIONS)
        assert 1 <= len(answer.assessment) <= 300
    assert unfinished == 0


@pytest.mark.parametrize("emotion", ["fear", "joy"])
def test_schema_can_fix_the_emotion(engine, prompts, emotion):
    schema = DEFAULT_STYLE.answer_schema(emotion, age=12)
    text = engine.generate(prompts[0], schema, max_tokens=700, seed=1, temperature=1.0)
    assert text.startswith(DEFAULT_STYLE.start_answer(emotion))
    fitting = {item.id for item in LIBRARY.select_suggestions(emotion, 12)}
    assert set(DEFAULT_STYLE.parse_answer(text).suggestions) <= fitting


def test_same_seed_same_answer(engine, prompts):
    one, same, other = (engine.generate(prompts[0], max_tokens=20, seed=s, temperature=1.0) for s in (5, 5, 6))
    assert one == same != other


def test_timings_are_told(engine, prompts):
    engine.generate(prompts[0], max_tokens=5)
    assert engine.timings["predicted_n"] == 5
    assert engine.timings["predicted_per_second"] > 0


def test_prefix_begins_the_answer(engine, prompts):
    assert engine.generate(prompts[0], prefix=PREFIX, max_tokens=3).startswith(PREFIX)
    with pytest.raises(InputError, match="accepted: one of them"):
        engine.generate(prompts[0], OBJECT, prefix="{")


def test_callback_sees_the_text_and_can_stop(engine, prompts):
    pieces = []
    schema = DEFAULT_STYLE.answer_schema()
    options = {"max_tokens": 700, "seed": 1, "temperature": 1.0}
    whole = engine.generate(prompts[0], schema, on_token=pieces.append, **options)
    assert "".join(pieces) == whole == engine.generate(prompts[0], schema, **options)
    assert len(pieces) > 10
    assert engine.generate(prompts[0], schema, on_token=lambda piece: True, **options) == pieces[0]


@pytest.mark.parametrize(
    ("options", "reason"), [({"max_tokens": 9}, "largest number"), ({"time_limit_s": 0.0}, "time")]
)
def test_an_answer_that_is_cut_is_no_answer(engine, prompts, options, reason):
    with pytest.raises(UnfinishedError, match=f"^tiny-F32.gguf: the {reason}") as caught:
        engine.generate(prompts[0], DEFAULT_STYLE.answer_schema(), **options)
    assert '{"emotion": "'.startswith(caught.value.text[:10])
    assert len(engine.generate(prompts[0], max_tokens=5)) > 0, "free text may be cut"
    assert engine.generate(prompts[0], time_limit_s=0.0) == ""
    with pytest.raises(UnfinishedError, match="before the scores"):
        engine.score_labels([{"role": "user", "content": "something new"}], EMOTIONS, PREFIX, time_limit_s=0.0)


def test_schema_that_cannot_be_held_is_told(engine, prompts):
    with pytest.raises(EngineError, match="not held to the schema"):
        engine.generate(prompts[0], {"type": "nonsense"}, max_tokens=20)


def test_context_grows_with_the_prompt_up_to_the_models_own(gguf_dir):
    long = [{"role": "user", "content": "0 " * 450}]
    with Engine(gguf_dir / "tiny-F32.gguf", n_threads=1) as engine:
        engine.n_ctx = 256
        engine.generate(long, max_tokens=2)
        assert engine.n_ctx == 1024
        with pytest.raises(EngineError, match="at most 1024 fit"):
            engine.generate(long, max_tokens=500)


def test_a_fixed_context_is_kept(gguf_dir, prompts):
    with (
        Engine(gguf_dir / "tiny-F32.gguf", n_threads=1, n_ctx=256) as engine,
        pytest.raises(EngineError, match="at most 256 fit"),
    ):
        engine.score_labels([{"role": "user", "content": "0 " * 300}], EMOTIONS, PREFIX)


def test_no_port_is_opened_and_nothing_is_left(gguf_dir):
    engine = Engine(gguf_dir / "tiny-F32.gguf", n_threads=1)
    server = engine._open
    assert server._server.listening_address.startswith("unix://")
    server._key = "wrong"
    with pytest.raises(EngineError, match="Invalid API Key"):
        server.post("/tokenize", {"content": "x"})
    folder = server._folder
    engine.close()
    engine.close()
    assert not Path(folder).exists()
    with pytest.raises(EngineError, match="was closed"):
        engine.render(CHATS[0])


def test_llama_cpp_stays_silent(gguf_dir, capfd):
    with Engine(gguf_dir / "tiny-Q8_0.gguf", n_threads=1) as engine:
        engine.generate(CHATS[0], max_tokens=3)
    assert capfd.readouterr() == ("", "")
