"""Copies of training people, shifted in time and with channels lost, before their codes are computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_builder.augment import AugmentConfig, copy_person, draw_lost, shift_seconds
from dataset_builder.codecs.projection import MIN_CHANNELS
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import RecipeError
from dataset_builder.extract import SubjectFacts
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from dataset_builder.seeds import make_rng
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import SCALP_CHANNELS

FACTS = SubjectFacts(subject="sub001", state="used", files=[], channels=list(SCALP_CHANNELS))


def make_features(n_trials: int = 40, seconds: int = 6) -> dict[str, np.ndarray]:
    seen = np.arange(seconds, dtype=np.float32)[None, :, None, None]
    return {"power": np.broadcast_to(seen, (n_trials, seconds, 30, 5)).copy(), "ranks": np.arange(n_trials)}


@pytest.mark.parametrize(
    ("shift", "expected"), [(0, [0, 1, 2, 3]), (1, [1, 2, 3, 3]), (-2, [0, 0, 0, 1]), (9, [3, 3, 3, 3])]
)
def test_a_shifted_trial_repeats_its_ends(shift: int, expected: list[int]) -> None:
    assert shift_seconds(np.arange(4), shift).tolist() == expected


def test_a_copy_shifts_each_trial_and_loses_channels_in_all_of_them() -> None:
    features = make_features()
    config = AugmentConfig(copies=1, shift_s=2, lost_channels=0.3)
    changed, facts = copy_person(features, FACTS, config, seed=5, copy=1)
    gone = np.isnan(changed["power"])
    lost = [name for name in SCALP_CHANNELS if name not in facts.channels]
    assert 0 < len(lost) < 20
    assert (gone.all(axis=(0, 1, 3)) == [name in lost for name in SCALP_CHANNELS]).all()
    assert gone.any(axis=(0, 1, 3)).sum() == len(lost)
    there = changed["power"][:, :, ~gone.any(axis=(0, 1, 3))]
    starts = there[:, 2, 0, 0] - 2  # second 2 of 6 is never an end that is repeated
    assert set(starts.tolist()) == {-2, -1, 0, 1, 2}
    assert not np.isnan(features["power"]).any(), "the person stays as it is"
    assert (features["power"][0, :, 0, 0] == np.arange(6)).all()


def test_copies_are_the_same_again_and_differ_from_one_another() -> None:
    config = AugmentConfig(copies=2, lost_channels=0.3)
    one, again, two = (copy_person(make_features(), FACTS, config, 5, copy)[0]["power"] for copy in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(np.isnan(one), np.isnan(two))


def test_enough_channels_are_left() -> None:
    lost = draw_lost(list(SCALP_CHANNELS), 0.99, make_rng(1, "lost"))
    assert len(SCALP_CHANNELS) - len(lost) == MIN_CHANNELS
    few = list(SCALP_CHANNELS[:MIN_CHANNELS])
    assert draw_lost(few, 0.99, make_rng(1, "lost")) == []


def make_recipe(**values: Any) -> CorpusRecipe:
    split = {"protocol": "ranges", "train": [0, 4], "validation": [5, 5], "test": [6, 6]}
    given = {"name": "augmented", "version": 1, "codec": {"name": "evidence", "folds": 2}, "split": split} | values
    return validate(CorpusRecipe, given, where="test")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=7, seed=3, signals=0, effect=1.0), folder)
    return folder


def test_a_corpus_with_copies_has_them_in_train_alone(cohort: Path, tmp_path: Path) -> None:
    build_corpus(make_recipe(), cohort, tmp_path / "plain")
    build_corpus(make_recipe(augment={"copies": 2, "lost_channels": 0.2}), cohort, tmp_path / "more")
    plain, more = (load_split(tmp_path / name, "train").to_list() for name in ("plain", "more"))
    assert len(more) == 3 * len(plain)
    own = {row["row_id"]: row for row in more}
    assert [own[row["row_id"]]["code"] for row in plain] == [row["code"] for row in plain]
    copies = [row for row in more if row["row_id"].endswith(("-copy1", "-copy2"))]
    assert len(copies) == 2 * len(plain)
    assert all(row["trial_id"] in {p["trial_id"] for p in plain} for row in copies)
    changed = [row["code"] != own[row["row_id"].rsplit("-copy", 1)[0]]["code"] for row in copies]
    assert np.mean(changed) > 0.5
    assert min(len(row["channels"].split()) for row in copies) < len(SCALP_CHANNELS)
    for split in ("validation", "test"):
        assert load_split(tmp_path / "more", split).to_list() == load_split(tmp_path / "plain", split).to_list()
    assert load_codec(tmp_path / "more").state.keys() == load_codec(tmp_path / "plain").state.keys()
    assert read_manifest(tmp_path / "more").facts["splits"]["train"]["rows"] == len(more)


def test_codecs_without_seconds_take_no_copies(cohort: Path, tmp_path: Path) -> None:
    recipe = make_recipe(codec={"name": "band_power"}, augment={"copies": 1})
    with pytest.raises(RecipeError, match=r"augment.copies 1: codec band_power keeps no single seconds; accepted: 0"):
        build_corpus(recipe, cohort, tmp_path / "corpus")
