"""Metrics against numbers worked out by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, f1_score

from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.bootstrap import bootstrap_difference, bootstrap_interval, bootstrap_mean
from model_recipes.evaluation.metrics import (
    MEASURES,
    accuracy,
    balanced_accuracy,
    count_confusion,
    guess,
    kappa,
    macro_f1,
    measure_answers,
    measure_recalls,
    weighted_f1,
)

#: Truth 0: 3 right, 1 answered 1. Truth 1: 2 right, 2 answered 0, 2 answered 2. Truth 2 never occurs.
CONFUSION = np.array([[3, 1, 0], [2, 2, 2], [0, 0, 0]])


VALENCE_METRICS = [
    f"{task}_{name}" for task in ("valence", "three_valence") for name in ("accuracy", "balanced_accuracy")
]


def one_hot(answers):
    return np.eye(len(EMOTIONS))[[EMOTIONS.index(answer) for answer in answers]]


def test_hand_computed():
    assert accuracy(CONFUSION) == pytest.approx(5 / 10)
    assert balanced_accuracy(CONFUSION) == pytest.approx((3 / 4 + 2 / 6) / 2)
    assert macro_f1(CONFUSION) == pytest.approx((2 * 3 / (4 + 5) + 2 * 2 / (6 + 3) + 0) / 3)
    expected = (4 * 5 + 6 * 3) / 100
    assert kappa(CONFUSION) == pytest.approx((0.5 - expected) / (1 - expected))


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=60))
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label", "ignore:invalid value")
def test_equal_to_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    confusion = count_confusion(truth, predicted, ["a"] * len(pairs), 9)[0]
    assert accuracy(confusion) == pytest.approx(accuracy_score(truth, predicted))
    assert macro_f1(confusion) == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert weighted_f1(confusion) == pytest.approx(f1_score(truth, predicted, average="weighted", zero_division=0))
    assert balanced_accuracy(confusion) == pytest.approx(balanced_accuracy_score(truth, predicted))
    if len(set(truth)) > 1 or len(set(predicted)) > 1:
        assert kappa(confusion) == pytest.approx(cohen_kappa_score(truth, predicted))


def test_counts_are_kept_apart_by_subject():
    counts = count_confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), ["b", "a", "b"], 2)
    assert counts.tolist() == [[[0, 0], [1, 0]], [[1, 0], [0, 1]]]


def test_interval_holds_the_value_and_grows_with_spread():
    rng = np.random.default_rng(0)
    truth = rng.integers(9, size=600)
    right = rng.random(600) < 0.4
    predicted = np.where(right, truth, (truth + 1) % 9)
    counts = count_confusion(truth, predicted, [f"sub{i % 20:03d}" for i in range(600)], 9)
    for measure in MEASURES.values():
        low, high = bootstrap_interval(counts, measure, seed=1)
        assert low < measure(counts.sum(axis=0)) < high
    low, high = bootstrap_interval(counts, accuracy, seed=1)
    # Subjects are alike here, so the interval is close to that of 600 independent trials.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.4 * 0.6 / 600), rel=0.4)
    apart = np.zeros((20, 9, 9), dtype=int)
    apart[:8, 0, 0], apart[8:, 0, 1] = 30, 30
    wide = bootstrap_interval(apart, accuracy, seed=1)
    assert wide[1] - wide[0] > 3 * (high - low), "people who differ make the interval wide"


def test_interval_is_repeatable_and_needs_no_second_subject():
    counts = CONFUSION[None]
    assert bootstrap_interval(counts, accuracy, 3) == bootstrap_interval(counts, accuracy, 3) == [0.5, 0.5]


def test_chance_follows_the_mix_of_labels():
    balanced = np.eye(9, dtype=int) * 2
    assert [guess(balanced, name) for name in MEASURES] == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 9, 0])
    neutral_twice = np.eye(9, dtype=int)
    neutral_twice[4, 4] = 2
    assert guess(neutral_twice, "accuracy") == pytest.approx(8 * 0.01 + 0.04)
    assert guess(neutral_twice, "balanced_accuracy") == pytest.approx(1 / 9)


@pytest.mark.parametrize("shares", [[1] * 9, [1, 1, 1, 1, 4, 2, 2, 0, 0]])
def test_who_guesses_reaches_chance(shares):
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(9), np.array(shares) * 5000)
    counts = count_confusion(truth, rng.permutation(truth), ["a"] * truth.size, 9)[0]
    for name, measure in MEASURES.items():
        assert measure(counts) == pytest.approx(guess(counts, name), abs=0.01)


def test_metrics_tell_where_they_come_from():
    truth = ["joy", "anger", "neutral", "fear"]
    answers = one_hot(["joy", "fear", "joy", "tenderness"])
    where = {"split": "test", "protocol": "unseen subjects", "reader": "someone"}
    metrics = {m.name: m for m in measure_answers(answers, truth, ["a", "a", "b", "b"], seed=0, **where)}
    assert list(metrics) == [*MEASURES, *VALENCE_METRICS]
    assert metrics["accuracy"].value == 0.25
    assert metrics["accuracy"].interval == [0.0, 0.5]
    assert (metrics["accuracy"].n, metrics["accuracy"].unit, metrics["accuracy"].reader) == (4, "trials", "someone")
    assert "2 subjects" in metrics["accuracy"].method
    assert (metrics["valence_accuracy"].value, metrics["valence_accuracy"].n) == (pytest.approx(2 / 3), 3)
    assert metrics["valence_accuracy"].chance == pytest.approx(5 / 9)
    assert "most common: 0.667" in metrics["valence_accuracy"].method


def test_valence_is_read_from_summed_probabilities():
    scores = np.zeros((1, 9))
    scores[0, [EMOTIONS.index(name) for name in ("anger", "joy", "tenderness", "neutral")]] = 0.3, 0.2, 0.2, 0.3
    where = {"split": "test", "protocol": "", "reader": ""}
    metrics = {m.name: m.value for m in measure_answers(scores, ["joy"], ["a"], seed=0, **where)}
    assert (metrics["accuracy"], metrics["valence_accuracy"]) == (0, 1)


def test_only_neutral_trials_have_no_valence():
    where = {"split": "test", "protocol": "", "reader": ""}
    metrics = measure_answers(one_hot(["neutral"]), ["neutral"], ["a"], seed=0, **where)
    assert "valence_accuracy" not in {metric.name for metric in metrics}


def test_three_valences_take_neutral_in():
    scores = one_hot(["joy", "neutral", "fear", "joy"])
    where = {"split": "test", "protocol": "", "reader": ""}
    truth = ["tenderness", "neutral", "joy", "anger"]
    metrics = {m.name: m for m in measure_answers(scores, truth, list("abcd"), seed=0, **where)}
    assert (metrics["three_valence_accuracy"].value, metrics["three_valence_accuracy"].n) == (0.5, 4)
    assert metrics["three_valence_balanced_accuracy"].value == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert (metrics["valence_accuracy"].value, metrics["valence_accuracy"].n) == (pytest.approx(1 / 3), 3)


def test_recall_of_each_emotion_stands_beside_how_often_it_is_answered():
    answers = one_hot(["joy", "joy", "joy", "fear"])
    where = {"split": "test", "protocol": "p", "reader": "r"}
    metrics = {
        m.name: m for m in measure_recalls(answers, ["joy", "joy", "fear", "fear"], list("aabb"), seed=0, **where)
    }
    assert set(metrics) == {"recall_joy", "recall_fear"}
    assert (metrics["recall_joy"].value, metrics["recall_fear"].value) == (1.0, 0.5)
    assert (metrics["recall_joy"].chance, metrics["recall_joy"].n) == (0.75, 2)


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(3)
    skill = rng.uniform(0.1, 0.9, 30)  # people differ a lot; the second reader is a little worse for each of them
    counts = np.zeros((2, 30, 2, 2))
    for reader, lost in enumerate((0, 0.05)):
        counts[reader, :, 0, 0] = 100 * (skill - lost)
        counts[reader, :, 0, 1] = 100 * (1 - skill + lost)
    value, (low, high) = bootstrap_difference(counts[0], counts[1], accuracy, seed=0)
    assert value == pytest.approx(0.05)
    assert low == pytest.approx(0.05)
    assert high == pytest.approx(0.05)
    one = bootstrap_interval(counts[0], accuracy, seed=0)
    assert one[1] - one[0] > 0.1


def test_the_mean_over_trials_is_drawn_by_subject():
    value, (low, high) = bootstrap_mean(np.array([1.0, 1, 0, 0]), ["a", "a", "b", "b"], seed=0)
    assert (value, low, high) == (0.5, 0.0, 1.0)
    value, interval = bootstrap_mean(np.array([1.0, 0]), ["a", "a"], seed=0)
    assert interval == [0.5, 0.5]
