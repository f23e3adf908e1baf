"""Calibration, prediction sets and abstaining on made-up probabilities whose truth is known."""

import numpy as np
import pytest

from model_recipes.evaluation.calibration import (
    ANSWERED,
    NOMINAL,
    bin_trials,
    calibration_error,
    find_threshold,
    measure_calibration,
    trace_abstaining,
)

WHERE = {"split": "test", "protocol": "p", "reader": "r"}


def draw(n=4000, sharpness=2.0, seed=0, n_subjects=20):
    """Return probabilities, labels drawn from them, and subjects: a reader that is right as often as it says."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((n, 9))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((n, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=8)
    return scores, truth, [f"sub{i % n_subjects:03d}" for i in range(n)]


def measure(scores, truth, subjects):
    return {m.name: m for m in measure_calibration(scores, truth, subjects, seed=0, **WHERE)}


def test_an_honest_reader_has_hardly_any_error_and_a_boaster_has():
    scores, truth, subjects = draw()
    assert measure(scores, truth, subjects)["calibration_error"].value < 0.03
    boast = scores**4 / (scores**4).sum(axis=1, keepdims=True)
    found = measure(boast, truth, subjects)["calibration_error"]
    assert found.value > 0.15
    assert found.interval[0] < found.value < found.interval[1]
    assert "15 bins of equal width" in found.method


def test_what_exact_probabilities_would_show_stands_beside_the_error():
    scores, truth, subjects = draw(n=600)
    honest = measure(scores, truth, subjects)
    expected = honest["calibration_error_expected"].value
    assert 0.01 < expected < 0.06
    assert abs(honest["calibration_error"].value - expected) < 0.03
    boast = scores**4 / (scores**4).sum(axis=1, keepdims=True)
    boaster = measure(boast, truth, subjects)
    assert boaster["calibration_error"].value > 3 * boaster["calibration_error_expected"].value
    assert boaster["calibration_error_adaptive"].value > 0.15
    assert "15 bins of equal counts" in boaster["calibration_error_adaptive"].method


def test_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    bins = bin_trials(np.repeat(scores, 100, axis=0), np.repeat([0, 1, 0, 0], 100), ["a"] * 400)
    # 0.9 said and 1 of 2 right; 0.6 said and all right; each half of the trials.
    assert calibration_error(bins.counts.sum(axis=0)) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_few_trials_get_bins_of_equal_counts():
    scores, truth, subjects = draw(n=100)
    bins = bin_trials(scores, truth, subjects)
    assert bins.adaptive
    assert bins.n_bins == 5
    assert bins.counts[:, :, 0].sum(axis=0).tolist() == [20] * 5
    same = bin_trials(np.full((10, 9), 1 / 9), np.zeros(10, dtype=int), ["a"] * 10)
    assert calibration_error(same.counts.sum(axis=0)) == pytest.approx(1 - 1 / 9)


def test_equal_probabilities_do_not_fill_the_sets():
    scores, truth, subjects = draw(sharpness=1.0)
    coarse = np.round(scores, 1) + 1e-3
    found = measure(coarse / coarse.sum(axis=1, keepdims=True), truth, subjects)["conformal_coverage"]
    assert found.value == pytest.approx(NOMINAL, abs=0.02)


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 4.0])
def test_sets_hold_the_truth_as_often_as_promised(sharpness):
    scores, truth, subjects = draw(n=560, sharpness=sharpness)
    found = measure(scores, truth, subjects)
    assert found["conformal_coverage"].value == pytest.approx(NOMINAL, abs=0.02)
    assert 1 <= found["conformal_set_size"].value <= 9
    assert found["abstaining_answered"].value == pytest.approx(ANSWERED, abs=0.03)
    assert found["abstaining_accuracy"].value >= np.mean(scores.argmax(axis=1) == truth)


def test_promise_holds_for_a_boaster_too():
    scores, truth, subjects = draw(n=560)
    boast = scores**4 / (scores**4).sum(axis=1, keepdims=True)
    assert measure(boast, truth, subjects)["conformal_coverage"].value == pytest.approx(NOMINAL, abs=0.02)


def test_sets_grow_when_the_reader_knows_less():
    sure, unsure = (measure(*draw(n=560, sharpness=s))["conformal_set_size"].value for s in (4.0, 0.5))
    assert unsure > sure + 2


def test_too_few_trials_for_the_promise_take_every_label_in():
    scores, truth, _ = draw(n=8)
    assert find_threshold(scores, truth) == 0.0
    scores, truth, _ = draw(n=9)
    assert find_threshold(scores, truth) == scores[np.arange(9), truth].min()


def test_fewer_than_four_people_have_no_halves():
    scores, truth, _ = draw(n=100)
    found = measure(scores, truth, ["a", "b"] * 50)
    assert all(name.startswith("calibration_error") for name in found)


def test_course_of_abstaining_ends_at_the_accuracy():
    scores, truth, _ = draw(n=500)
    answered, accuracy = trace_abstaining(scores, truth)
    assert answered[-1] == 1
    assert accuracy[-1] == pytest.approx(np.mean(scores.argmax(axis=1) == truth))
    assert accuracy[49] > accuracy[-1] + 0.1, "the surest tenth is right more often"
