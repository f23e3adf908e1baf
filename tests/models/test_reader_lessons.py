"""What a reader may begin with: ordered symbols, made-up codes, easy rows, a kernel's probabilities."""

import numpy as np
import pytest
import torch
from test_reader import make_base, make_codec, make_corpus, make_recipe

from dataset_builder.codecs.band_power import BandPowerCodec, BandPowerConfig
from dataset_builder.codecs.wavelet import WaveletCodec, WaveletConfig
from dataset_builder.corpus import load_codec, load_split
from dataset_builder.errors import RecipeError
from dataset_builder.recipe import load_recipe
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS
from model_recipes.checkpoint import load_model
from model_recipes.evaluation.kernel_probe import KernelProbe
from model_recipes.evaluation.probe import LinearProbe
from model_recipes.reader import ReaderRecipe, _order_alphabet, train_reader
from model_recipes.reading.draws import Lessons, RowDrawer, make_targets
from model_recipes.reading.simulation import CodeSimulator
from model_recipes.reading.symbol_embedding import make_curve, order_symbols
from model_recipes.run_reader import RECIPES


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("lessons") / "corpus", make_codec())


@pytest.fixture(scope="module")
def base(tmp_path_factory, corpus):
    return make_base(tmp_path_factory.mktemp("base") / "base", corpus)


@pytest.fixture(scope="module")
def rows(corpus):
    return load_split(corpus, "train").to_list()


@pytest.mark.parametrize(("n_symbols", "n_dimensions"), [(2, 64), (10, 64), (26, 128), (52, 64), (26, 6)])
def test_likeness_falls_with_every_step(n_symbols, n_dimensions):
    curve = make_curve(n_symbols, n_dimensions, seed=3).double()
    likeness = curve @ curve.T
    for first in likeness:
        own = int(first.argmax())
        assert (first[own:].diff() < 0).all()
        assert (first[: own + 1].diff() > 0).all()
    torch.testing.assert_close(likeness.diagonal(), torch.ones(n_symbols, dtype=torch.float64))
    assert torch.equal(make_curve(n_symbols, n_dimensions, seed=3), curve.float())
    assert not torch.equal(make_curve(n_symbols, n_dimensions, seed=4), curve.float())


def test_only_the_symbols_move_and_they_keep_mean_and_length(base, corpus):
    (model, tokenizer), codec = load_model(base), load_codec(corpus)
    ids = [tokenizer.encode(symbol)[0] for symbol in codec.alphabet]
    weight = model.get_input_embeddings().weight
    old = weight.detach().clone()
    _order_alphabet(model, tokenizer, codec, seed=1)
    others = [i for i in range(len(old)) if i not in ids]
    assert torch.equal(weight[others], old[others])
    assert not torch.equal(weight[ids], old[ids])
    mean = old[ids].mean(dim=0)
    torch.testing.assert_close((weight[ids] - mean).norm(dim=1), (old[ids] - mean).norm(dim=1))
    near, far = (torch.cosine_similarity(weight[ids[0]] - mean, weight[i] - mean, dim=0) for i in (ids[1], ids[-1]))
    assert near > 0.5 > far
    assert model.get_output_embeddings().weight is weight, "the tie holds"


def test_symbols_must_be_different_tokens(base):
    model, _ = load_model(base)
    with pytest.raises(ValueError, match="1 different tokens for 2 symbols"):
        order_symbols(model, [5, 5], seed=1)


def test_codec_without_alphabet_has_nothing_to_order(base):
    model, tokenizer = load_model(base)
    with pytest.raises(RecipeError, match="symbol_init ordered: codec wavelet has no alphabet; accepted: none"):
        _order_alphabet(model, tokenizer, WaveletCodec(WaveletConfig()), seed=1)


def test_simulated_codes_look_like_those_of_their_emotion(rows):
    codec = make_codec()
    codes = [codec.from_text(row["code"]) for row in rows]
    simulator = CodeSimulator(codec, codes, [row["emotion"] for row in rows])
    rng = make_rng(0, "test")
    for emotion in EMOTIONS[:3]:
        made = np.stack([codec.decode(simulator.draw(emotion, rng)) for _ in range(200)])
        true = np.stack([codec.decode(c) for c, row in zip(codes, rows, strict=True) if row["emotion"] == emotion])
        assert np.abs(made.mean(axis=0) - true.mean(axis=0)).max() < 0.6
        assert made.mean(axis=0).argmax() == EMOTIONS.index(emotion)
    assert simulator.emotions == list(EMOTIONS)


def test_lessons_come_in_order(rows):
    codec = make_codec()
    known = {row["code"] for row in rows}
    drawer = RowDrawer(rows, codec, "code", 0.0, seed=1, lessons=Lessons(simulated_steps=2, easy_steps=3))
    simulated, easy, last, after = (drawer.draw(step, 40) for step in (1, 2, 4, 5))
    assert sum(codec.to_text(item.code) in known for item in simulated) < 4
    for item in simulated:
        np.testing.assert_allclose(item.target, codec.read_probabilities(item.code), atol=1e-9)
    assert all(codec.to_text(item.code) in known for item in [*easy, *last, *after])

    def margin(items):
        wanted = [EMOTIONS.index(item.row["emotion"]) for item in items]
        return np.mean([item.target[own] for item, own in zip(items, wanted, strict=True)])

    assert margin(easy) > margin(after)
    assert len({item.row["emotion"] for item in easy}) == len(EMOTIONS)
    assert len({item.row["row_id"] for item in easy}) < len({item.row["row_id"] for item in after})
    again = RowDrawer(rows, codec, "code", 0.0, seed=1, lessons=Lessons(2, 3)).draw(1, 40)
    assert [codec.to_text(i.code) for i in again] == [codec.to_text(i.code) for i in simulated]


@pytest.mark.parametrize(
    ("lessons", "target", "message"),
    [
        (Lessons(1, 0), "probe", "simulated_share: label_target probe knows rows of the corpus only"),
        (Lessons(0, 1), "hard", "curriculum_share: with label_target hard no row is easier"),
    ],
)
def test_lessons_that_cannot_be_given_are_refused(rows, lessons, target, message):
    with pytest.raises(RecipeError, match=message):
        RowDrawer(rows, make_codec(), target, 0.0, seed=1, lessons=lessons)


def test_codec_that_cannot_write_numbers_makes_nothing_up():
    with pytest.raises(RecipeError, match="simulated_share: codec band_power cannot write made-up trials"):
        RowDrawer([], BandPowerCodec(BandPowerConfig()), "hard", 0.0, seed=1, lessons=Lessons(1, 0))


class Pairs:
    """A code of two numbers whose product tells the emotion: no single one of them does."""

    def __init__(self, count):
        self.values = make_rng(0, "pairs").uniform(-1, 1, (count, 2))
        self.rows = [{"code": i, "emotion": EMOTIONS[int(v.prod() > 0)]} for i, v in enumerate(self.values)]

    def from_text(self, text):
        return self

    def read(self, rows):
        return self.values[[row["code"] for row in rows]]


def test_kernel_probe_reads_what_the_linear_one_cannot(monkeypatch):
    pairs = Pairs(400)
    monkeypatch.setattr(LinearProbe, "read_values", lambda probe, rows: pairs.read(rows))
    wanted = np.array([EMOTIONS.index(row["emotion"]) for row in pairs.rows[300:]])
    right = {
        kind: (kind(None, pairs.rows[:300]).score(pairs.rows[300:]).argmax(axis=1) == wanted).mean()
        for kind in (LinearProbe, KernelProbe)
    }
    assert right[KernelProbe] > 0.85
    assert right[LinearProbe] < 0.65


def test_kernel_targets_are_probabilities_of_strangers(rows):
    codec = make_codec()
    targets = make_targets("kernel", rows, codec, [])
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    assert (targets > 0).all()
    wanted = [EMOTIONS.index(row["emotion"]) for row in rows]
    assert (targets.argmax(axis=1) == wanted).mean() > 0.4


def test_reader_with_every_beginning_trains(base, corpus, tmp_path):
    recipe = make_recipe(symbol_init="ordered", simulated_share=0.5, curriculum_share=0.25)
    assert recipe.lessons == Lessons(2, 1)
    first, second = (train_reader(recipe, base, corpus, tmp_path / name) for name in ("one", "two"))
    plain = train_reader(make_recipe(), base, corpus, tmp_path / "plain")
    assert first.facts["loss"] == second.facts["loss"] != plain.facts["loss"]


@pytest.mark.parametrize("name", ["tiny/reader", "tiny/reader-unseen", "smollm2/reader"])
def test_recipes_begin_with_ordered_symbols(name):
    assert load_recipe(RECIPES / f"{name}.yaml", ReaderRecipe).symbol_init == "ordered"
