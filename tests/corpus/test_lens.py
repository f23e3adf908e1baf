"""Lenses before a ridge regression, and what it costs when channels may be missing."""

import numpy as np
import pytest
from pydantic import ValidationError

from dataset_builder.codecs import CODECS, make_codec
from dataset_builder.codecs.base import Target
from dataset_builder.codecs.lens import Discriminants, Units, fit_lens
from dataset_builder.codecs.ridge import fit_ridge
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS

SECONDS, PLACES, N_CLASSES = 3, 150, 6


def make_rows(n: int = 90, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of six classes, three seconds of 150 columns each, and their classes."""
    rng = make_rng(8, "lens")
    labels = np.arange(n) % N_CLASSES
    patterns = rng.normal(0, effect, (N_CLASSES, SECONDS * PLACES))
    rows = patterns[labels] + rng.normal(0, 2, (n, SECONDS * PLACES))
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("kind", ["clip", "segment", "emotion"])
def test_weights_that_are_taken_back_give_the_same_scores(kind: str) -> None:
    rows, labels = make_rows()
    offset = rows.mean(axis=0)
    lens = fit_lens(rows, offset, labels, kind)  # type: ignore[arg-type]
    centred = rows - offset
    weight = make_rng(1, "weight").normal(size=(rows.shape[1], 4)).astype(np.float32)
    expected = lens.apply(centred.copy()) @ weight
    assert isinstance(lens, Discriminants if kind == "segment" else Units)
    np.testing.assert_allclose(centred @ lens.take_back(weight), expected, rtol=1e-3, atol=1e-2)


def test_what_differs_between_classes_is_seen_larger_than_what_differs_within() -> None:
    """Channel 0 follows the class, channel 1 the person: both vary alike, and the first is to be cheap."""
    rng, (rows, labels) = make_rng(2, "two channels"), make_rows(600, effect=0.0)
    rows = rows.reshape(-1, SECONDS, 30, 5)
    rows[:, :, 0] += 3 * labels[:, None, None]
    rows[:, :, 1] += 5 * rng.standard_normal((600, 1, 1)).astype(np.float32)
    flat = rows.reshape(600, -1) - rows.reshape(600, -1).mean(axis=0)
    seen = Discriminants.fit(flat, np.zeros(flat.shape[1], np.float32), labels)
    size = np.linalg.norm(seen.patterns.reshape(30, 5, PLACES), axis=2)
    assert size[0].mean() > 5 * size[1].mean()


def test_slow_courses_weigh_more() -> None:
    rows, labels = make_rows()
    weights = np.linalg.norm(Discriminants.fit(rows, rows.mean(axis=0), labels).cosines, axis=1)
    assert (np.diff(weights) < 0).all()


def test_missing_channels_are_no_pattern() -> None:
    rows, labels = make_rows()
    rows.reshape(-1, SECONDS, 30, 5)[:, :, 7] = np.nan
    lens = fit_lens(rows, np.nan_to_num(rows).mean(axis=0), labels, "segment")
    assert np.isfinite(lens.apply(np.nan_to_num(rows))).all()


def test_costs_are_the_mean_over_all_lost_channels() -> None:
    """Against 3,000 draws of which channels each row loses."""
    rows, labels = make_rows(24)
    rows = rows - rows.mean(axis=0)
    lens, rng, dropout = Discriminants.fit(rows, np.zeros(rows.shape[1], np.float32), labels), make_rng(3, "drop"), 0.3
    weight = rng.normal(0, 0.1, (rows.shape[1], 2)).astype(np.float32)
    truth = rng.standard_normal((24, 2))
    costs = lens.find_costs(rows, dropout)
    assert costs is not None
    whole = ((truth - lens.apply(rows) @ weight) ** 2).sum()
    expected = whole + np.trace(weight.T @ costs @ weight)
    back = lens.take_back(weight)
    errors = []
    for _ in range(3000):
        kept = np.repeat(rng.random((24, 1, 30)) > dropout, 5, axis=2)
        lossy = (rows.reshape(24, SECONDS, PLACES) * kept / (1 - dropout)).reshape(24, -1)
        errors.append(((truth - lossy @ back) ** 2).sum())
    assert np.mean(errors) == pytest.approx(expected, rel=0.03)
    assert expected > 1.1 * whole
    assert lens.find_costs(rows, 0.0) is None


def test_costs_count_in_the_fit_and_in_what_is_left_out() -> None:
    rng = make_rng(4, "costs")
    rows, labels, groups = rng.normal(size=(30, 12)).astype(np.float32), np.arange(30) % 3, np.repeat(np.arange(6), 5)
    half = rng.normal(size=(12, 12)).astype(np.float32)
    costs = half @ half.T
    found = fit_ridge(rows, labels, groups, 0.5, costs)
    system = costs + 0.5 * (rows**2).sum() / 30 * np.eye(12)
    classes = np.eye(3)[labels] - found.bias
    np.testing.assert_allclose(found.weight, np.linalg.solve(rows.T @ rows + system, rows.T @ classes), atol=1e-4)
    kept = groups != 2
    refit = np.linalg.solve(rows[kept].T @ rows[kept] + system, rows[kept].T @ classes[kept])
    np.testing.assert_allclose(found.held_out[~kept], rows[~kept] @ refit + found.bias, atol=1e-4)


def test_a_reader_that_expects_losses_bears_them_better() -> None:
    """One channel tells the film clearly and ten others faintly; the clear one is lost."""
    shared = make_rng(6, "films").normal(size=(18, 4, 11, 5))
    right = {}
    for dropout in (0.0, 0.5):
        people = {name: make_person(shared, name) for name in (f"sub{i:03d}" for i in range(14))}
        targets = [Target(clip // 2 + 1, EMOTIONS[clip // 2], float(clip % 2 * 4)) for clip in range(18)]
        options = {"seconds": 4, "segments": True, "dropout": dropout, "normalization": {"mode": "none"}}
        codec = make_codec(CODECS["evidence"].Config.model_validate(options))
        reader = codec.fit_supervised(people, dict.fromkeys(people, targets), 17).codec
        tried = [make_person(shared, f"new{i}") for i in range(12)]
        for person in tried:
            person["power"][:, :, 0] = np.nan
        found = [[reader.read_probabilities(code) for code in reader.encode(person)] for person in tried]
        right[dropout] = np.mean(np.array(found).argmax(axis=2) == np.arange(18) // 2)
    assert right[0.5] > right[0.0] + 0.03


def make_person(shared: np.ndarray, name: str) -> dict[str, np.ndarray]:
    power = make_rng(6, name).normal(size=(18, 4, 30, 5))
    power[:, :, 0] += 1.5 * shared[:, :, 0]
    power[:, :, 1:11] += 0.25 * shared[:, :, 1:]
    return {"power": power.astype(np.float32), "ranks": np.arange(1, 19, dtype=np.int16)}


@pytest.mark.parametrize("options", [{}, {"segments": True, "target": "emotion"}])
def test_only_readers_of_segments_take_a_dropout(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="dropout belongs to segments of target clip"):
        CODECS["evidence"].Config.model_validate({"dropout": 0.1} | options)
    assert CODECS["evidence"].Config.model_validate({"dropout": 0.0} | options) is not None
