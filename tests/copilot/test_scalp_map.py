"""Maps of the scalp: channels where MNE has them, their values kept, nothing invented far beyond them."""

import numpy as np
import pytest

from dataset_builder.scalp_map import flatten_places, locate_channels, make_grid, make_interpolator
from dataset_builder.types import SCALP_CHANNELS


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return locate_channels(SCALP_CHANNELS)[1]


def test_channels_lie_where_their_names_say(places):
    flat = dict(zip(SCALP_CHANNELS, flatten_places(places), strict=True))
    assert np.hypot(*flat["Cz"]) < 0.2
    assert flat["Fp1"][1] > 0.5 > -0.5 > flat["O1"][1]
    assert flat["T7"][0] < -0.6 < 0.6 < flat["T8"][0]
    assert all(np.hypot(*place) < 1 for place in flat.values())


def test_names_without_a_position_are_left_out():
    rows, places = locate_channels(["EOG", "Cz", "nonsense", "Oz"])
    assert rows == [1, 3]
    assert places.shape == (2, 3)
    assert locate_channels(["EOG"])[1].shape == (0, 3)


def test_the_grid_is_the_way_back_from_the_flat_head():
    grid = make_grid(0.9, 8)
    steps = 0.9 * (2 * (np.arange(8) + 0.5) / 8 - 1)
    wanted = np.stack([a.ravel() for a in np.meshgrid(steps, steps)], axis=1)
    np.testing.assert_allclose(flatten_places(grid), wanted, atol=1e-12)


def test_a_map_keeps_its_channels_values(places):
    values = np.random.default_rng(0).normal(size=len(places))
    again = make_interpolator(places, places) @ values
    assert np.sqrt(np.mean((again - values) ** 2)) < 0.01


def test_a_constant_stays_one_and_noise_stays_near_its_range(places):
    matrix = make_interpolator(places, make_grid(1.0, 24))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-9)
    values = np.random.default_rng(1).normal(size=(len(places), 20))
    inside = np.hypot(*flatten_places(make_grid(1.0, 24)).T) < 1
    reach = np.abs(matrix[inside] @ values).max(axis=0) / np.abs(values).max(axis=0)
    assert np.median(reach) < 1.3


def test_a_slope_over_the_head_is_followed_between_the_channels(places):
    kept = [row for row, name in enumerate(SCALP_CHANNELS) if name != "Cz"]
    cz = places[SCALP_CHANNELS.index("Cz")][np.newaxis]
    slope = places @ np.array([0.2, 1.0, 0.5])
    (found,) = make_interpolator(places[kept], cz) @ slope[kept]
    assert found == pytest.approx(slope[SCALP_CHANNELS.index("Cz")], abs=0.05)
