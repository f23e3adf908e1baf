"""Prediction sets with thresholds from training people, on made-up probabilities whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.manifest import Metric
from dataset_builder.recipe import validate
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from model_recipes.evaluate import EvaluateRecipe, evaluate_models
from model_recipes.evaluation.conformal import find_person_threshold, fit_thresholds, measure_promises, name_device

WHERE = {"split": "test", "protocol": "p", "reader": "r"}


def draw(
    sharpness: float, n: int = 3000, seed: int = 0, device: float | None = 250.0, boast: float = 1.0
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Probabilities, labels drawn from them, and rows of twenty people; `boast` makes what is said surer than it is."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((n, 9))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((n, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=8)
    said = scores**boast / (scores**boast).sum(axis=1, keepdims=True)
    rows = [{"subject": f"{device}-{i % 20:03d}", "device_sfreq_hz": device} for i in range(n)]
    return said, truth, rows


def promise(training: tuple[Any, ...], new: tuple[Any, ...]) -> dict[str, Metric]:
    return {m.name: m for m in measure_promises(fit_thresholds(*training, seed=1), *new, seed=1, **WHERE)}


@pytest.mark.parametrize(("sharpness", "boast"), [(0.5, 1.0), (2.0, 1.0), (2.0, 3.0)])
def test_new_people_get_what_is_promised(sharpness: float, boast: float) -> None:
    found = promise(draw(sharpness, boast=boast), draw(sharpness, seed=1, boast=boast))
    assert found["promised_coverage"].value == pytest.approx(0.9, abs=0.02)
    assert found["promised_answered"].value == pytest.approx(0.8, abs=0.03)
    new = draw(sharpness, seed=1, boast=boast)
    assert found["promised_accuracy"].value > np.mean(new[0].argmax(axis=1) == new[1])
    low, high = found["promised_coverage"].interval or (1, 0)
    assert low < found["promised_coverage"].value < high
    assert "3000 rows of 20 training people" in found["promised_coverage"].method


def test_each_device_has_thresholds_of_its_own() -> None:
    """A device at which the reader boasts: thresholds of everybody would hold the truth too seldom."""
    good, bad = draw(2.0), draw(2.0, seed=2, device=1000.0, boast=4.0)
    both = tuple(np.concatenate([a, b]) for a, b in zip(good[:2], bad[:2], strict=True))
    new = draw(2.0, seed=3, device=1000.0, boast=4.0)
    own = promise((*both, good[2] + bad[2]), new)
    assert own["promised_coverage"].value == pytest.approx(0.9, abs=0.02)
    nameless = [row | {"device_sfreq_hz": None} for row in good[2] + bad[2]]
    assert promise((*both, nameless), new)["promised_coverage"].value < 0.89


def test_few_people_of_a_device_share_everybodys_thresholds() -> None:
    scores, truth, rows = draw(2.0)
    few = [row | {"device_sfreq_hz": 500.0} if row["subject"].endswith("-003") else row for row in rows]
    thresholds = fit_thresholds(scores, truth, few, seed=1)
    assert set(thresholds.take) == {"", "250 Hz"}
    take, answer = thresholds.pick(["500 Hz", "250 Hz"])
    assert take.tolist() == [thresholds.take[""], thresholds.take["250 Hz"]]
    assert answer[0] == thresholds.answer[""]
    assert [name_device({"device_sfreq_hz": rate}) for rate in (1000.0, None)] == ["1000 Hz", ""]


def test_equal_probabilities_do_not_fill_the_sets() -> None:
    coarse = [np.round(scores, 1) + 1e-3 for scores in (draw(1.0)[0], draw(1.0, seed=1)[0])]
    found = promise((coarse[0], *draw(1.0)[1:]), (coarse[1], *draw(1.0, seed=1)[1:]))
    assert found["promised_coverage"].value == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("n_people", [12, 30])
def test_people_who_differ_are_covered_as_promised(n_people: int) -> None:
    """Every person is read well or badly; a threshold that took trials for independent would cover too few."""
    rng, covered, by_trials = np.random.default_rng(5), [], []
    for _ in range(400):
        skill = rng.normal(0, 1.5, n_people + 1)
        mine = 1 / (1 + np.exp(-(skill[:, None] + rng.normal(0, 0.3, (n_people + 1, 10)))))
        scores = np.stack([mine[:-1].ravel(), 1 - mine[:-1].ravel()], axis=1)
        people = np.repeat([f"sub{i:03d}" for i in range(n_people)], 10)
        threshold = find_person_threshold(scores, np.zeros(len(scores), dtype=int), people)
        covered.append((mine[-1] >= threshold).mean())
        by_trials.append((mine[-1] >= np.quantile(mine[:-1], 0.1)).mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01 + 0.2 / n_people)
    assert np.mean(by_trials) < np.mean(covered)


def test_a_person_with_many_rows_counts_once() -> None:
    scores = np.array([[0.2, 0.8]] * 300 + [[0.9, 0.1]] * 19)
    people = np.array(["many"] * 300 + [f"sub{i:03d}" for i in range(19)])
    truth = np.zeros(len(scores), dtype=int)
    assert find_person_threshold(scores, truth, people) == 0.9
    assert find_person_threshold(scores[-8:], truth[-8:], people[-8:]) == 0.0, "eight people carry no promise of 0.9"


def test_an_evaluation_of_cross_fitted_codes_states_the_promise(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=9, seed=3, signals=0), tmp_path / "raw")
    split = {"protocol": "ranges", "train": [0, 5], "validation": [6, 7], "test": [8, 8]}
    values = {"name": "promise", "version": 1, "codec": {"name": "evidence", "folds": 2}, "split": split}
    build_corpus(validate(CorpusRecipe, values, where="test"), tmp_path / "raw", tmp_path / "corpus")
    asked: dict[str, Any] = {"held_out_fold": None, "split": "validation", "probes": ["emotion"]}
    found = evaluate_models(EvaluateRecipe(**asked), tmp_path / "corpus", [], tmp_path / "one")
    told = {m.name: m for m in found.metrics if m.name.startswith("promised_")}
    assert set(told) == {f"promised_{name}" for name in ("coverage", "set_size", "answered", "accuracy")}
    assert {m.reader for m in told.values()} == {"the code itself"}, "a probe that knew the rows promises nothing"
    assert "168 rows of 6 training people" in told["promised_coverage"].method
    silent = evaluate_models(EvaluateRecipe(**asked, reference_rows=0), tmp_path / "corpus", [], tmp_path / "two")
    assert not [m for m in silent.metrics if m.name.startswith("promised_")]
