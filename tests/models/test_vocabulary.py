import unicodedata

import factories
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2ForCausalLM

from dataset_builder.alphabets import ALPHABETS, find_fault
from dataset_builder.errors import InputError, RecipeError, StageError
from model_recipes.bases.qwen2 import make_config, make_tokenizer, set_generation
from model_recipes.bases.tiny import train_tokenizer
from model_recipes.checkpoint import HARD_STRINGS, load_model, save_checked
from model_recipes.pruning.merge_tree import find_reachable, read_merge_tree, rebuild_tokenizer
from model_recipes.pruning.vocabulary import (
    VocabularyConfig,
    choose_vocabulary,
    count_cost,
    cut_vocabulary,
    prune_vocabulary,
    read_kept_ids,
    read_texts,
    write_kept_ids,
)
from model_recipes.text import Text

SIZE = 512
#: Text whose tokens must all be kept.
KEPT_TEXT = "The statement is a compound statement; the function returns None.\n" * 3
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def whole(base_dir):
    return load_model(base_dir)


@pytest.fixture(scope="module")
def cut(base_dir):
    """Return model, tokenizer and kept ids after a cut."""
    model, tokenizer = load_model(base_dir)
    kept = choose_vocabulary(tokenizer, VocabularyConfig(size=SIZE), [KEPT_TEXT])
    return model, cut_vocabulary(model, tokenizer, kept), kept


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def test_exactly_as_many_tokens_as_wanted_and_closed_under_merges(whole, cut):
    tree, kept = read_merge_tree(whole[1]), cut[2]
    assert len(kept) == len(set(kept)) == SIZE
    assert kept == sorted(kept)
    assert {parent for token in kept for parent in tree.parents.get(token, ())} <= set(kept)
    assert len(tree.bytes) == 256
    assert set(tree.bytes) | set(tree.added.values()) <= set(kept)


def test_every_kept_token_can_be_produced(cut):
    tree = read_merge_tree(cut[1])
    merged = sorted(tree.ranks)
    assert find_reachable(cut[1], tree, merged) == merged
    assert len(tree.merges) == SIZE - 256 - 3


def test_kept_text_is_tokenised_as_before(whole, cut):
    _, tokenizer, kept = cut
    for text in (KEPT_TEXT, *(symbol for alphabet in ALPHABETS.values() for symbol in alphabet)):
        assert [kept[i] for i in encode(tokenizer, text)] == encode(whole[1], text)


@settings(deadline=None, max_examples=200)
@given(words=st.lists(st.sampled_from([*KEPT_TEXT.split(), "function statement", "None\n\n", "; The"]), max_size=12))
def test_any_order_of_kept_words_is_tokenised_as_before(whole, cut, words):
    text = "The" + "".join(f" {word}" for word in words if word in KEPT_TEXT)
    _, tokenizer, kept = cut
    assert [kept[i] for i in encode(tokenizer, text)] == encode(whole[1], text)


@settings(deadline=None, max_examples=200)
@given(text=UNICODE)
def test_any_text_comes_back(cut, text):
    assert cut[1].decode(encode(cut[1], text)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text", [*HARD_STRINGS, "脑电图信号", "👩🏽‍🔬🇨🇳", "q\u0323\u0307 o\u0302\u0323", "\U000e0041\U0010fffd \x00\x1f"]
)
def test_hard_strings_come_back(cut, text):
    assert cut[1].decode(encode(cut[1], text)) == unicodedata.normalize("NFC", text)


def test_special_tokens_and_chat_template_are_whole(whole, cut):
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "statement"}]
    old, new = (t.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) for t in (whole[1], cut[1]))
    assert old == new
    _, tokenizer, kept = cut
    starts = tokenizer.convert_tokens_to_ids("<|im_start|>"), whole[1].convert_tokens_to_ids("<|im_start|>")
    assert kept[starts[0]] == starts[1]
    assert encode(tokenizer, new).count(starts[0]) == 3
    assert tokenizer.get_added_vocab().keys() == whole[1].get_added_vocab().keys()
    assert tokenizer.all_special_tokens == whole[1].all_special_tokens


def test_configs_follow(cut):
    model, tokenizer, _ = cut
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    assert model.config.vocab_size == model.model.embed_tokens.num_embeddings == model.lm_head.out_features == SIZE
    assert [model.config.eos_token_id, model.config.pad_token_id] == ends == model.generation_config.eos_token_id
    assert [tokenizer.eos_token_id, tokenizer.pad_token_id] == ends
    assert model.lm_head.weight is model.model.embed_tokens.weight


@torch.no_grad()
def test_logits_of_kept_tokens_are_equal(whole, cut):
    model, _, kept = cut
    ids = torch.randint(SIZE, (2, 40), generator=torch.Generator().manual_seed(0))
    old = whole[0](torch.tensor(kept)[ids]).logits[..., torch.tensor(kept)]
    assert torch.equal(model(ids).logits, old)


def test_saved_folder_reads_back(cut, tmp_path):
    model, tokenizer, kept = cut
    facts = save_checked(model, tokenizer, tmp_path)
    write_kept_ids(tmp_path, kept)
    assert facts["shape"]["vocab"] == SIZE
    assert facts["tied"]
    copied = AutoTokenizer.from_pretrained(tmp_path)
    assert copied.get_vocab() == tokenizer.get_vocab()
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.eos_token_id == copied.eos_token_id
    assert read_kept_ids(tmp_path) == kept
    texts = [path.read_text() for path in tmp_path.glob("*.json")]
    assert not any("tmp" in text for text in texts), "a path of this machine was saved"


def test_more_rows_than_tokens_and_no_tie(whole):
    """Qwen2 has 151,936 rows for 151,646 tokens; larger ones have an output layer of their own."""
    tokenizer = whole[1]
    shape = factories.TINY_SHAPE.with_(vocab=len(tokenizer) + 40, tied=False)
    model = Qwen2ForCausalLM(make_config(shape, 256, 10_000.0, tokenizer)).eval()
    set_generation(model, tokenizer)
    kept = choose_vocabulary(tokenizer, VocabularyConfig(size=600), [KEPT_TEXT])
    rows = model.lm_head.weight[torch.tensor(kept)].clone()
    cut_vocabulary(model, tokenizer, kept)
    assert torch.equal(model.lm_head.weight, rows)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert model(torch.tensor([[599]])).logits.shape == (1, 1, 600)


def test_frequent_words_come_before_rare_ones(whole):
    tokenizer = whole[1]
    rare, frequent = " expression", " statement"
    ids = [encode(tokenizer, word) for word in (rare, frequent)]
    assert [len(found) for found in ids] == [1, 1], "both words must be one token of the test's tokenizer"
    least = _smallest(tokenizer)
    sizes = range(least, least + 24)
    kept = [choose_vocabulary(tokenizer, VocabularyConfig(size=s), [frequent * 9 + rare]) for s in sizes]
    first = [next(s for s, k in zip(sizes, kept, strict=True) if found[0] in k) for found in ids]
    assert first[1] < first[0]


def _smallest(tokenizer):
    with pytest.raises(RecipeError, match="accepted: ") as error:
        choose_vocabulary(tokenizer, VocabularyConfig(size=len(tokenizer) + 1), [])
    return int(str(error.value).split("accepted: ")[1].split()[0])


def test_all_tokens_may_be_kept(whole):
    tokenizer = whole[1]
    kept = choose_vocabulary(tokenizer, VocabularyConfig(size=len(tokenizer)), [])
    assert kept == list(range(len(tokenizer)))
    same = rebuild_tokenizer(tokenizer, kept)
    assert [encode(same, text) for text in HARD_STRINGS] == [encode(tokenizer, text) for text in HARD_STRINGS]


def test_digits_of_a_foreign_tokenizer_are_not_chosen(whole):
    """A token of several digits can never be produced under Qwen2's rule; it must not take a row."""
    tokenizer = whole[1]
    tree = read_merge_tree(tokenizer)
    vocab = tree.ids | {"12": len(tree.ids)}
    grown = make_tokenizer(vocab, [("1", "2"), *tree.merges], list(tree.added), 512)
    assert encode(grown, "12") == [tree.ids["1"], tree.ids["2"]]
    assert vocab["12"] not in choose_vocabulary(grown, VocabularyConfig(size=len(tree.ids)), [])


def test_alphabets_stay_whole():
    """A tokenizer that has every symbol keeps every symbol, and a cut that would lose one is refused."""
    symbols = "".join(ALPHABETS["letters52"]) + "\n"
    tokenizer = train_tokenizer([factories.make_text().fit, *[symbols] * 200], 768)
    assert [find_fault(alphabet, tokenizer) for alphabet in ALPHABETS.values()] == ["", "", ""]
    model = Qwen2ForCausalLM(make_config(factories.TINY_SHAPE, 256, 10_000.0, tokenizer))
    kept = choose_vocabulary(tokenizer, VocabularyConfig(size=SIZE), [])
    tree = read_merge_tree(tokenizer)
    fewer = _drop_orphans(tree, [i for i in kept if i != tree.ids["Ġb"]])
    with pytest.raises(StageError, match="needs 2 tokens for ' b', not 1, which breaks alphabet letters26"):
        cut_vocabulary(model, tokenizer, fewer)
    assert model.config.vocab_size == 768, "a refused cut changes nothing"
    cut = cut_vocabulary(model, tokenizer, kept)
    assert [find_fault(alphabet, cut) for alphabet in ALPHABETS.values()] == ["", "", ""]


def _drop_orphans(tree, tokens):
    kept = set(tokens)
    while orphans := {t for t in kept if not tree.parents.get(t, set()) <= kept}:
        kept -= orphans
    return sorted(kept)


def test_corpus_rows_and_texts_are_read(corpus_dir, text_file):
    text = Text("any", "fitted", "measured")
    assert list(read_texts(VocabularyConfig(size=SIZE), text)) == ["fitted"]
    assert len(list(read_texts(VocabularyConfig(size=SIZE), text, corpus_dir))) == 1 + 3 * 36
    named = VocabularyConfig.model_validate({"size": SIZE, "texts": [{"path": str(text_file)}], "rows": False})
    (read,) = read_texts(named, text, corpus_dir)
    assert text_file.read_text().startswith(read)


def test_prune_vocabulary_tells_its_cost(base_dir):
    model, tokenizer = load_model(base_dir)
    text = factories.make_text()
    after, kept, facts = prune_vocabulary(model, tokenizer, VocabularyConfig(size=640), text)
    assert facts == {"size": 640, "of": 768, "text": text.name} | count_cost(tokenizer, after, text.measure)
    assert facts["tokens_before"] <= facts["tokens_after"] < 1.3 * facts["tokens_before"]
    assert len(kept) == len(after) == model.config.vocab_size == 640


def test_bad_requests_are_one_line(whole, tmp_path):
    with pytest.raises(RecipeError, match=r"vocabulary.size: 769 found; accepted: \d+ \(bytes.* to 768"):
        choose_vocabulary(whole[1], VocabularyConfig(size=769), [])
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(RecipeError, match="WordLevel tokenizer; accepted: byte-level BPE"):
        choose_vocabulary(PreTrainedTokenizerFast(tokenizer_object=words), VocabularyConfig(size=512), [])
    assert read_kept_ids(tmp_path) is None
    (tmp_path / "kept_tokens.json").write_text('["a"]')
    with pytest.raises(InputError, match="not a list of token ids"):
        read_kept_ids(tmp_path)
