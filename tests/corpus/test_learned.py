"""The evidence code: what it learns, from whom it learns, and that no training row is told by one who knew it."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from dataset_builder.codecs import CODECS, Features, Fitted, Target, dump_codec, load_codec_bytes, make_codec
from dataset_builder.codecs.crossfit import crossfit
from dataset_builder.codecs.ridge import fit_ridge, fit_sharpness, log_softmax, sum_odds
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from dataset_builder.seeds import make_rng
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, Recording

N_CLIPS, SECONDS = 18, 4
#: Two clips of every emotion, as numbered in the targets.
TARGETS = [Target(clip + 1, EMOTIONS[clip // 2]) for clip in range(N_CLIPS)]
CLIPS = [target.clip for target in TARGETS]
LABELS = np.array([EMOTIONS.index(str(target.emotion)) for target in TARGETS])
TRAIN = [f"sub{number:03d}" for number in range(16)]


def make_features(name: str, effect: float = 1.0) -> Features:
    """Power of one made-up person, nats: a course that a clip gives to everybody, and noise of the person's own."""
    rng, shared = make_rng(3, name), make_rng(3, "clips")
    shape = (N_CLIPS, SECONDS, len(SCALP_CHANNELS), 5)
    power = effect * shared.normal(0, 0.25, shape) + rng.normal(0, 1, shape) + rng.normal(0, 1, shape[2:])
    return {"power": power.astype(np.float32), "ranks": np.arange(1, N_CLIPS + 1, dtype=np.int16)}


def make_evidence(**options: Any) -> Any:
    return make_codec(CODECS["evidence"].Config.model_validate({"seconds": SECONDS} | options))


def fit(people: dict[str, Features], targets: dict[str, list[Target]] | None = None, **options: Any) -> Fitted:
    return make_evidence(**options).fit_supervised(people, targets or dict.fromkeys(people, TARGETS), 17)


@cache
def make_people(effect: float) -> dict[str, Features]:
    return {name: make_features(name, effect) for name in TRAIN}


@cache
def fit_people(effect: float = 1.0, target: str = "clip") -> Fitted:
    return fit(make_people(effect), target=target)


def read_letters(fitted: Fitted, people: dict[str, Features]) -> np.ndarray:
    """Levels as the corpus would write them, shape (n_people, n_trials, 9)."""
    return np.array([[c.values for c in fitted.encode(name, found, CLIPS)] for name, found in people.items()])


def new_people(effect: float, count: int = 16) -> dict[str, Features]:
    return {f"new{number}": make_features(f"new{number}", effect) for number in range(count)}


def test_the_code_reads_new_people() -> None:
    assert (read_letters(fit_people(), new_people(1.0)).argmax(axis=2) == LABELS).mean() > 0.6


def test_training_rows_are_no_better_read_than_those_of_new_people() -> None:
    """Without any effect of the clips a reader who knew the rows gets all of them right, a cross-fitted one none."""
    fitted, people = fit_people(0.0), make_people(0.0)
    known = read_letters(Fitted(fitted.codec), people).argmax(axis=2) == LABELS
    crossed = read_letters(fitted, people).argmax(axis=2) == LABELS
    assert known.mean() > 0.8
    assert crossed.mean() < 0.25


def test_letters_of_training_rows_are_distributed_like_those_of_new_people() -> None:
    fitted = fit_people()
    train, new, own = (
        read_letters(fitted, make_people(1.0)),
        read_letters(fitted, new_people(1.0)),
        read_letters(Fitted(fitted.codec), make_people(1.0)),
    )
    rows = np.arange(N_CLIPS)
    true = [letters[:, rows, LABELS].ravel() for letters in (train, new, own)]
    assert ks_2samp(true[0], true[1]).pvalue > 0.01
    assert ks_2samp(true[0], true[2]).pvalue < 1e-6
    assert abs(train.mean() - new.mean()) < 0.5


@pytest.mark.parametrize("target", ["clip", "emotion"])
def test_nothing_of_a_person_is_in_the_codec_of_its_rows(target: str) -> None:
    people, targets = dict(make_people(1.0)), dict.fromkeys(TRAIN, TARGETS)
    people["sub005"] = make_features("somebody else")
    targets["sub005"] = [replace(TARGETS[0], emotion="joy"), *TARGETS[:0:-1]] if target == "emotion" else TARGETS[::-1]
    before, after = fit_people(target=target), fit(people, targets, target=target)
    assert dump_codec(after.crossfitted["sub005"]) == dump_codec(before.crossfitted["sub005"])
    assert dump_codec(after.codec) != dump_codec(before.codec)
    strangers = [name for name in TRAIN if before.crossfitted[name] is not before.crossfitted["sub005"]]
    assert len(strangers) >= len(TRAIN) - 2
    for name in strangers:
        assert dump_codec(after.crossfitted[name]) != dump_codec(before.crossfitted[name])


def test_codes_for_new_films_meet_neither_person_nor_film() -> None:
    fitted = fit_people(target="emotion")
    assert set(fitted.unmet) == {(name, clip) for name in TRAIN for clip in CLIPS}
    moved = dict(make_people(1.0))
    for name, features in moved.items():
        # Clip 1 and those of its fold, the first of each emotion; scales see them still, so values only swap.
        power = features["power"].copy()
        power[[0, 2]] = power[[2, 0]]
        moved[name] = features | {"power": power}
    again = fit(moved, target="emotion")
    pairs = [(f.codec.state["weight"], f.unmet["sub000", 1].state["weight"]) for f in (fitted, again)]
    all_films, new_films = (np.abs(one - other).max() for one, other in zip(*pairs, strict=True))
    assert new_films < 0.01 < all_films


def test_codes_for_known_films_have_no_codec_per_film() -> None:
    assert fit_people().unmet == {}


def test_equal_people_and_seed_give_equal_bytes() -> None:
    again, other = (
        fit(make_people(1.0)),
        make_evidence().fit_supervised(make_people(1.0), dict.fromkeys(TRAIN, TARGETS), 18),
    )
    assert dump_codec(again.codec) == dump_codec(fit_people().codec)
    assert [dump_codec(c) for c in again.crossfitted.values()] == [
        dump_codec(c) for c in fit_people().crossfitted.values()
    ]
    assert dump_codec(other.codec) == dump_codec(again.codec)
    assert dump_codec(other.crossfitted["sub000"]) != dump_codec(again.crossfitted["sub000"])


@pytest.mark.parametrize("mode", ["causal", "calibration"])
def test_later_trials_do_not_change_a_code(mode: str) -> None:
    codec = fit(make_people(1.0), normalization={"mode": mode}).codec
    whole = make_features("newcomer")
    cut = {name: array[:6] for name, array in whole.items()}
    codes = [[code.values for code in codec.encode(features)][:6] for features in (whole, cut)]
    assert np.array_equal(*codes)
    session = fit_people().codec
    assert not np.array_equal(session.scale_values(whole)[:6], session.scale_values(cut))


def test_without_scaling_a_trial_is_read_by_itself() -> None:
    codec = fit(make_people(1.0), normalization={"mode": "none"}).codec
    whole = make_features("newcomer")
    alone = [codec.encode({name: array[i : i + 1] for name, array in whole.items()})[0].values for i in range(N_CLIPS)]
    assert np.array_equal([code.values for code in codec.encode(whole)], alone)


def test_a_held_out_fold_is_not_learned_from() -> None:
    fitted = fit(make_people(1.0), held_out_fold=1)
    assert fitted.codec.state["weight"].shape[1] == len(EMOTIONS)
    assert fitted.crossfitted["sub000"].state["weight"].shape[1] == len(EMOTIONS)
    right = read_letters(fitted, new_people(1.0)).argmax(axis=2) == LABELS
    assert right[:, 0::2].mean() > 0.6
    assert right[:, 1::2].mean() < 0.25


def test_trials_without_a_label_are_not_learned_from() -> None:
    unknown = [Target(None, None), Target(3, None), *TARGETS[2:]]
    fitted = fit(make_people(1.0), dict.fromkeys(TRAIN, unknown))
    assert fitted.codec.state["weight"].shape[1] == N_CLIPS - 2
    assert len(fitted.encode("sub000", make_people(1.0)["sub000"], [None, *CLIPS[1:]])) == N_CLIPS


def test_missing_channels_count_as_average() -> None:
    codec, whole = fit_people().codec, make_features("newcomer")
    lost = {name: array.copy() for name, array in whole.items()}
    lost["power"][:, :, :12] = np.nan
    odds, less = codec.scale_values(whole), codec.scale_values(lost)
    assert np.isfinite(less).all()
    assert 0.2 < np.corrcoef(odds.ravel(), less.ravel())[0, 1] < 0.999
    weight = codec.state["weight"].reshape(3, SECONDS, 30, 5, N_CLIPS).copy()
    weight[:, :, :12] = 0
    blind = type(codec)(codec.config, codec.state | {"weight": weight.reshape(-1, N_CLIPS)})
    assert np.allclose(blind.scale_values(whole), less, atol=1e-4)


def make_recording(channels: tuple[str, ...] = SCALP_CHANNELS, seconds: int = SECONDS) -> Recording:
    de = make_rng(1, "recording").normal(2, 0.4, (2, len(channels), seconds, 5)).astype(np.float32)
    return Recording(subject="sub000", channels=channels, clips=(1, 2), emotions=(None, None), de=de)


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        (make_recording(seconds=3), r"trials are 3 s long; accepted: 4 s \(codec.seconds\)"),
        (make_recording(SCALP_CHANNELS[:14]), "14 of 30 scalp channels"),
        (replace(make_recording(), de=None, signal_uv=np.ones((2, 30, 500), np.float32), sfreq_hz=100.0), "are 5 s"),
    ],
)
def test_recordings_that_cannot_be_read_are_refused(recording: Recording, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        make_evidence().extract(recording)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (dict.fromkeys(TRAIN[:2], TARGETS), "2 training subjects with labels; at least 3"),
        (dict.fromkeys(TRAIN, [Target(1, None)] * N_CLIPS), "0 training subjects with labels"),
        (dict.fromkeys(TRAIN, [Target(1, "joy")] * N_CLIPS), "1 clip in the training trials; at least 2"),
        (dict.fromkeys(TRAIN, [*TARGETS[:-1], Target(1, "joy")]), "clip 1 has two emotions"),
    ],
)
def test_too_little_to_learn_from_is_refused(targets: dict[str, list[Target]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit({name: make_people(1.0)[name] for name in targets}, targets)


def test_a_fit_needs_labels_where_it_must_and_only_there() -> None:
    with pytest.raises(InputError, match="learns from labels"):
        make_evidence().fit([])
    with pytest.raises(InputError, match="uses no labels"):
        make_codec(CODECS["band_power"].Config()).fit_supervised({}, {}, 17)


def test_probabilities_are_those_of_the_letters() -> None:
    codec = fit_people().codec
    code = codec.make_code(np.array([-9.0, -6, -2, 0, 1, 2, 3, 4, 9]))
    found = codec.read_probabilities(code)
    assert found.sum() == pytest.approx(1)
    assert (np.diff(found) >= 0).all()
    assert code.values[[0, -1]].tolist() == [0, 25]
    odds = codec.decode(code)[3]
    assert found[3] / found[4] == pytest.approx((1 + np.exp(-codec.decode(code)[4])) / (1 + np.exp(-odds)))
    assert make_codec(CODECS["raw"].Config()).read_probabilities(code) is None


def test_probabilities_are_calibrated_on_new_people() -> None:
    codec, people = fit_people().codec, new_people(1.0, 40)
    read = np.array([[codec.read_probabilities(code) for code in codec.encode(f)] for f in people.values()])
    right = (read.argmax(axis=2) == LABELS).mean()
    assert read.max(axis=2).mean() == pytest.approx(right, abs=0.06)


def test_a_codec_of_full_size_fits_into_a_model_file() -> None:
    """28 clips of 30 s: the state travels in every GGUF file."""
    rng = make_rng(1, "size")
    people = {
        f"sub{i:03d}": {
            "power": rng.normal(size=(28, 30, 30, 5)).astype(np.float32),
            "ranks": np.arange(28, dtype=np.int16),
        }
        for i in range(3)
    }
    targets = [Target(clip + 1, EMOTIONS[clip % 9]) for clip in range(28)]
    codec = fit(people, dict.fromkeys(people, targets), seconds=30).codec
    data = dump_codec(codec)
    assert len(data) < 1.2e6
    assert codec.n_tokens <= 50
    assert dump_codec(load_codec_bytes(data)) == data


def test_left_out_scores_are_those_of_fits_without_the_group() -> None:
    """Checked against refits; what is shared is the bias, and the penalty in absolute terms."""
    rng = make_rng(2, "ridge")
    rows, labels = rng.normal(size=(30, 50)).astype(np.float32), rng.integers(3, size=30)
    labels[:3], groups = [0, 1, 2], np.repeat(np.arange(6), 5)
    ridge = fit_ridge(rows, labels, groups, 0.5)
    penalty = 0.5 * (rows**2).sum() / 30
    classes = np.eye(3)[labels] - ridge.bias
    for group in range(6):
        own = groups == group
        kernel = rows[~own] @ rows[~own].T + penalty * np.eye(25)
        expected = rows[own] @ rows[~own].T @ np.linalg.solve(kernel, classes[~own]) + ridge.bias
        assert np.allclose(ridge.held_out[own], expected, atol=1e-4)


def test_sharpness_is_found_again() -> None:
    rng = make_rng(4, "sharpness")
    scores = rng.normal(size=(4000, 5))
    chances = np.exp(log_softmax(3 * scores)).cumsum(axis=1)
    labels = (rng.random((4000, 1)) > chances).sum(axis=1)
    assert fit_sharpness(scores, labels) == pytest.approx(3, rel=0.1)


def test_odds_add_up_over_the_classes_of_an_owner() -> None:
    chances = np.array([[0.2, 0.1, 0.7]])
    odds = sum_odds(np.log(chances), np.array([0, 0, 2]), 3, 20.0)
    assert odds[0] == pytest.approx([np.log(0.3 / 0.7), -20, np.log(0.7 / 0.3)])


def test_small_groups_are_made_of_few_people() -> None:
    asked: list[tuple[str, ...]] = []
    codec = fit_people().codec
    people = TRAIN[:4]
    fitted = crossfit(
        lambda subjects, without: (asked.append(tuple(subjects)), codec)[1],
        dict.fromkeys(people, TARGETS),
        folds=8,
        over_clips=False,
        seed=1,
    )
    assert asked[0] == tuple(people)
    assert sorted(asked[1:]) == sorted(tuple(p for p in people if p != out) for out in people)
    assert set(fitted.crossfitted) == set(people)


def make_recipe(**codec: Any) -> CorpusRecipe:
    split = {"protocol": "ranges", "train": [0, 7], "validation": [8, 9], "test": [10, 11]}
    values = {"name": "test-reader", "version": 1, "codec": {"name": "evidence"} | codec, "split": split}
    return validate(CorpusRecipe, values, where="test")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=12, seed=3, signals=0, effect=4.0), folder)
    return folder


def digest_files(corpus: Path) -> dict[str, str]:
    files = (path for path in corpus.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(corpus).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_corpus_of_evidence_passes_the_audit_and_is_the_same_for_any_workers(cohort: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "corpus", tmp_path / "two" / "corpus"
    build_corpus(make_recipe(), cohort, one)
    build_corpus(make_recipe(), cohort, two, workers=2)
    assert digest_files(one) == digest_files(two)
    facts = read_manifest(one).facts
    assert facts["audit"]["checks"]["label-dependent code"] == len(EMOTIONS)
    assert facts["codec"]["n_tokens"] == len(EMOTIONS)
    assert "with their labels" in (one / "README.md").read_text(encoding="utf-8")
    codec, rows = load_codec(one), load_split(one, "validation")
    read = [codec.read_probabilities(codec.from_text(row["code"])).argmax() for row in rows]
    assert np.mean(np.array(read) == rows["label"]) > 0.3
    assert "recognition of the film clips" in rows[0]["messages"][0]["content"]


def test_training_rows_of_a_corpus_are_not_told_by_the_saved_codec(tmp_path: Path) -> None:
    """Films without any effect cannot be told; the saved codec knows those of the training rows all the same."""
    write_cohort(SynthRecipe(subjects=12, seed=3, signals=0, effect=0.0), tmp_path / "cohort")
    recipe = make_recipe(normalization={"mode": "none"})
    build_corpus(recipe, tmp_path / "cohort", tmp_path / "corpus")
    codec, rows = load_codec(tmp_path / "corpus"), load_split(tmp_path / "corpus", "train")
    read = np.array([codec.read_probabilities(codec.from_text(row["code"])).argmax() for row in rows])
    assert (read == rows["label"]).mean() < 0.25
    person = FacedSource(tmp_path / "cohort", recipe.source, recipe.preprocessing).read("sub000", "de")
    odds = codec.scale_values(codec.extract(person))
    known = (odds - odds.mean(axis=0)).argmax(axis=1)
    assert np.mean([EMOTIONS[k] == emotion for k, emotion in zip(known, person.emotions, strict=True)]) > 0.8
