"""Scaling to the person: who sets the zero, and that nothing comes from the future."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builder.codecs.normalize import Normalization, fit_person_scale, scale_to_person
from dataset_builder.errors import InputError
from dataset_builder.recipe import RecipeError, validate
from tests.corpus.test_every_codec import fit_codec, make_recording

MODES = ["session", "calibration", "causal", "none"]
STATE = fit_person_scale([np.random.default_rng(seed).normal(seed, 1, (8, 2, 3)).astype(np.float32) for seed in (1, 2)])


def draw_person(seed: int, n_trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Power of shape (n_trials, 2 windows, 3 places) and a random order of presentation."""
    rng = np.random.default_rng(seed)
    return rng.normal(5, 2, (n_trials, 2, 3)).astype(np.float32), (rng.permutation(n_trials) + 1).astype(np.int16)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), n_trials=st.integers(2, 12), data=st.data())
def test_causal_scaling_knows_nothing_of_later_trials(seed: int, n_trials: int, data: st.DataObject) -> None:
    power, ranks = draw_person(seed, n_trials)
    now = data.draw(st.integers(1, n_trials - 1))
    changed = power.copy()
    changed[ranks > now] = np.random.default_rng(seed + 1).normal(-50, 30, changed[ranks > now].shape)
    how = Normalization(mode="causal")
    before, after = (scale_to_person(p, ranks, STATE, how) for p in (power, changed))
    for ours, theirs in zip(before, after, strict=True):
        assert np.array_equal(ours[ranks <= now], theirs[ranks <= now])
    assert not np.array_equal(before[0][ranks > now], after[0][ranks > now])
    fewer = ranks <= now
    assert np.array_equal(scale_to_person(power[fewer], ranks[fewer], STATE, how)[0], before[0][fewer])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), n_trials=st.integers(6, 12), k=st.integers(1, 5), data=st.data())
def test_calibrated_scaling_hangs_on_the_first_trials_alone(
    seed: int, n_trials: int, k: int, data: st.DataObject
) -> None:
    power, ranks = draw_person(seed, n_trials)
    how, mine = Normalization(mode="calibration", trials=k), ranks == data.draw(st.integers(k + 1, n_trials))
    changed = power.copy()
    others = (ranks > k) & ~mine
    changed[others] += 1000
    before, after = (scale_to_person(p, ranks, STATE, how)[0] for p in (power, changed))
    assert np.array_equal(before[~others], after[~others])
    changed[ranks == 1] += 1
    assert not np.array_equal(before[mine], scale_to_person(changed, ranks, STATE, how)[0][mine])


@pytest.mark.parametrize("mode", MODES)
def test_order_of_rows_does_not_matter(mode: str) -> None:
    power, ranks = draw_person(3, 9)
    shuffle = np.random.default_rng(4).permutation(9)
    straight, _ = scale_to_person(power, ranks, STATE, Normalization(mode=mode))
    shuffled, _ = scale_to_person(power[shuffle], ranks[shuffle], STATE, Normalization(mode=mode))
    assert np.allclose(straight[shuffle], shuffled, atol=1e-5)


def test_modes_agree_where_they_must() -> None:
    power, ranks = draw_person(5, 8)
    scaled = {mode: scale_to_person(power, ranks, STATE, Normalization(mode=mode))[0] for mode in MODES}
    whole, _ = scale_to_person(power, ranks, STATE, Normalization(mode="calibration", trials=8))
    assert np.array_equal(scaled["session"], whole)
    assert np.allclose(scaled["causal"][ranks == 8], scaled["session"][ranks == 8], atol=1e-6)
    assert np.array_equal(scaled["none"], (power - STATE["mean"]) / STATE["within"])


def test_no_trial_at_all_leaves_the_training_subjects_statistics() -> None:
    """Trials kept for training may hold none of the person's first."""
    power, _ = draw_person(6, 4)
    late = np.arange(5, 9)
    calibrated, _ = scale_to_person(power, late, STATE, Normalization(mode="calibration"))
    assert np.array_equal(calibrated, scale_to_person(power, late, STATE, Normalization(mode="none"))[0])


def test_session_takes_the_person_out_and_none_leaves_it_in() -> None:
    power, ranks = draw_person(7, 28)
    session, none = (scale_to_person(power, ranks, STATE, Normalization(mode=m))[0] for m in ("session", "none"))
    louder, _ = scale_to_person(power + 20, ranks, STATE, Normalization(mode="session"))
    assert abs(session.mean()) < 0.3 < abs(none.mean())
    assert (
        np.abs(louder - session).mean()
        < np.abs(scale_to_person(power + 20, ranks, STATE, Normalization(mode="none"))[0] - none).mean() / 5
    )


@pytest.mark.parametrize("mode", ["calibration", "causal"])
@pytest.mark.parametrize("ranks", [(), (1, 2, None, 4, 5, 6)])
def test_unknown_order_is_one_clear_line(mode: str, ranks: tuple[int | None, ...]) -> None:
    codec = fit_codec("band_power", normalization={"mode": mode})
    unknown = 1 if ranks else 6
    expected = rf"normalization {mode}.*unknown for {unknown} of 6 trials; accepted without it: mode session, mode none"
    with pytest.raises(InputError, match=expected) as caught:
        codec.encode_recording(dataclasses.replace(make_recording(1), ranks=ranks))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "name", "trials"),
    [
        ({}, "session", 0),
        ({"mode": "none"}, "none", 0),
        ({"mode": "causal"}, "causal", 0),
        ({"mode": "calibration"}, "calibration-4", 4),
        ({"mode": "calibration", "trials": 8}, "calibration-8", 8),
    ],
)
def test_names_that_a_row_carries(config: dict[str, object], name: str, trials: int) -> None:
    codec = fit_codec("components", n_components=2, normalization=config)
    assert (codec.normalization, codec.calibration_trials) == (name, trials)


@pytest.mark.parametrize(
    "config", [{"mode": "causal", "trials": 3}, {"mode": "calibration", "trials": 0}, {"mode": "z"}]
)
def test_impossible_normalization_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="recipe"):
        validate(Normalization, config, "recipe")


def test_windows_as_the_unit_equal_trials_when_there_is_one_window() -> None:
    people = [np.random.default_rng(seed).normal(seed, 1 + seed, (8, 4, 3)).astype(np.float32) for seed in (1, 2, 3)]
    whole, (power, ranks) = [person[:, :1] for person in people], draw_person(8, 6)
    how = Normalization()
    by_trial, _ = scale_to_person(power[:, :1], ranks, fit_person_scale(whole), how)
    by_window, _ = scale_to_person(power[:, :1], ranks, fit_person_scale(whole, by_window=True), how)
    assert np.array_equal(by_trial, by_window)
    many, _ = scale_to_person(people[2], np.arange(1, 9), fit_person_scale(people, by_window=True), how)
    assert 0.8 < many.std() < 1.2
    assert scale_to_person(people[2], np.arange(1, 9), fit_person_scale(people), how)[0].std() > 1.3
