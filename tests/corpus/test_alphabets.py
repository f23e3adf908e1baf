"""Alphabets: one token a symbol, asked of real tokenizers; those where it does not hold are refused."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from dataset_builder.alphabets import (
    ALPHABETS,
    QWEN2_RULE,
    check_alphabet,
    choose_symbols,
    count_tokens,
    find_fault,
    load_tokenizer,
    split_like_qwen2,
)
from dataset_builder.codecs import CODECS, make_codec
from dataset_builder.errors import InputError
from model_recipes.bases.smollm2 import CACHE, GGUF_FILE
from tests.corpus.test_every_codec import FORMS, fit_codec, make_recording

DIGITS = make_codec(CODECS["band_power"].Config())
LETTERS = make_codec(CODECS["band_power"].Config(levels=52))


def train(rule: str | None) -> Tokenizer:
    """A byte-level tokenizer trained on rows of digits and letters, so that it merges whatever its rule admits."""
    rng = random.Random(3)
    lines = ["".join(rng.choices("0123456789", k=80)) for _ in range(60)]
    lines += [
        "".join(f" {letter}" for letter in rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=80))
        for _ in range(200)
    ]
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = [pre_tokenizers.Split(Regex(rule), behavior="isolated")] if rule else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def obedient() -> Tokenizer:
    return train(QWEN2_RULE)


@pytest.fixture(scope="module")
def merging() -> Tokenizer:
    """Digits in runs of up to three, as many tokenizers cut them."""
    return train(QWEN2_RULE.replace(r"|\p{N}|", r"|\p{N}{1,3}|"))


def test_alphabets_are_what_they_say() -> None:
    assert {name: len(symbols) for name, symbols in ALPHABETS.items()} == {
        "digits": 10,
        "letters26": 26,
        "letters52": 52,
    }
    for symbols in ALPHABETS.values():
        assert len(set(symbols)) == len(symbols)
    assert choose_symbols(10) == ALPHABETS["digits"]
    assert choose_symbols(11) == ALPHABETS["letters26"][:11]
    assert choose_symbols(28) == tuple(f" {letter}" for letter in "NMLKJIHGFEDCBAabcdefghijklmn")


@given(st.sampled_from(sorted(ALPHABETS)), st.data())
def test_symbols_stay_apart_under_qwen2s_rule(name: str, data: st.DataObject) -> None:
    """No tokenizer is needed: pieces of this rule are never merged with each other."""
    row = data.draw(st.lists(st.sampled_from(ALPHABETS[name]), min_size=1, max_size=60))
    assert split_like_qwen2("".join(row)) == row
    assert split_like_qwen2("EEG:" + "".join(row) + "\n")[2:-1] == row


@pytest.mark.parametrize("name", ALPHABETS)
def test_alphabets_hold_under_an_obedient_tokenizer(name: str, obedient: Tokenizer) -> None:
    assert find_fault(ALPHABETS[name], obedient) == ""


def test_every_codec_passes_an_obedient_tokenizer(obedient: Tokenizer) -> None:
    for name in CODECS:
        codec = fit_codec(name, **FORMS[name][1])
        check_alphabet(codec, obedient)
        symbols = {symbol: obedient.encode(symbol, add_special_tokens=False).ids for symbol in codec.alphabet}
        assert all(len(ids) == 1 for ids in symbols.values())


def test_merging_digits_are_refused_in_one_line(merging: Tokenizer) -> None:
    expected = (
        r"codec band_power: tokenizer three merges or splits symbols in .*; alphabets that hold: letters26, letters52"
    )
    with pytest.raises(InputError, match=expected) as caught:
        check_alphabet(DIGITS, merging, name="three")
    assert "\n" not in str(caught.value)
    check_alphabet(LETTERS, merging)
    assert count_tokens(merging, "0123456789") < 10


def test_tokenizer_without_any_rule_is_refused_for_all() -> None:
    free = train(None)
    for codec in (DIGITS, LETTERS):
        with pytest.raises(InputError, match=r"tokenizer Tokenizer .*alphabets that hold: none"):
            check_alphabet(codec, free)


def test_symbol_that_the_vocabulary_lacks_is_named(obedient: Tokenizer) -> None:
    fault = find_fault(("0", " zq"), obedient)
    assert fault == "needs 2 tokens for ' zq', not 1"


def test_unknown_symbols_that_share_a_token_are_refused() -> None:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "EEG": 1}, unk_token="[UNK]"))
    assert find_fault(("0", "1"), words) == "gives two symbols the same token"


def test_decimals_promise_nothing(merging: Tokenizer) -> None:
    codec = make_codec(CODECS["wavelet"].Config())
    assert codec.alphabet == ()
    assert check_alphabet(codec, merging) is None


def test_tokenizers_of_transformers_are_taken_too(obedient: Tokenizer, merging: Tokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    check_alphabet(DIGITS, PreTrainedTokenizerFast(tokenizer_object=obedient))
    with pytest.raises(InputError, match="alphabets that hold"):
        check_alphabet(DIGITS, PreTrainedTokenizerFast(tokenizer_object=merging))


def test_tokenizer_is_read_from_file_or_folder(obedient: Tokenizer, tmp_path: Path) -> None:
    obedient.save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert count_tokens(load_tokenizer(path), "delta 0123") == count_tokens(obedient, "delta 0123")
    (tmp_path / "broken.json").write_text("{}")
    for name, message in (("broken.json", "is not a tokenizer.json"), ("missing.json", "not found")):
        with pytest.raises(InputError, match=message) as caught:
            load_tokenizer(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(not (CACHE / GGUF_FILE).is_file(), reason="SmolLM2 has not been downloaded")
def test_the_real_smollm2_reads_every_alphabet() -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(CACHE, gguf_file=GGUF_FILE)
    for name in CODECS:
        codec = fit_codec(name, **FORMS[name][1])
        check_alphabet(codec, tokenizer)
        if codec.alphabet:
            text = codec.to_text(codec.encode_recording(make_recording(1))[0])
            ids = {tokenizer.encode(symbol, add_special_tokens=False)[0] for symbol in codec.alphabet}
            bodies = [" " + line.partition(" ")[2] for line in text.split("\n")]
            read = [token for body in bodies for token in tokenizer.encode(body, add_special_tokens=False)]
            assert sum(token in ids for token in read) == codec.n_tokens
