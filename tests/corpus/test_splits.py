import pickle
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.recipe import validate
from dataset_builder.splits import ALL_SPLITS, PROTOCOLS, SPLITS, SplitConfig, SplitPlan, clip_fold, plan_splits
from dataset_builder.types import EMOTIONS

FACED_CLIPS = dict(enumerate([e for e in EMOTIONS for _ in range(4 if e == "neutral" else 3)], start=1))
FACED_SUBJECTS = [f"sub{number:03d}" for number in range(123)]

#: One valid section per protocol, and more where a choice changes the rule.
SECTIONS: dict[str, dict[str, Any]] = {
    "faced-80-20-23": {},
    "10-fold": {"fold": 9},
    "leave-one-subject-out": {"fold": 2},
    "unseen-clips": {"held_out_fold": 1},
    "unseen-subjects-and-clips": {"held_out_fold": 0},
    "few-shot": {"calibration_trials": 4},
    "ranges": {"train": [10, 60], "validation": [61, 70], "test": [71, 122]},
}
#: Protocols in which a subject stays where it is when another one joins.
STABLE = sorted(set(PROTOCOLS) - {"10-fold", "leave-one-subject-out"})


def make_config(protocol: str, **changes: object) -> SplitConfig:
    return validate(SplitConfig, {"protocol": protocol} | SECTIONS[protocol] | changes, where="test")


def assign_all(plan: SplitPlan, subjects: list[str]) -> dict[tuple[str, int], str | None]:
    """Return the split of every trial of a FACED session whose clips were shown in the reverse of their numbers."""
    return {
        (subject, clip): plan.assign(subject, clip, clip_fold(clip, FACED_CLIPS), len(FACED_CLIPS) + 1 - clip)
        for subject in subjects
        for clip in FACED_CLIPS
    }


def members(trials: dict[tuple[str, int], str | None], split: str, part: int) -> set[object]:
    return {key[part] for key, name in trials.items() if name == split}


subject_sets = st.sets(st.integers(0, 122), min_size=10).filter(
    lambda numbers: any(10 <= n < 61 for n in numbers) and any(n >= 100 for n in numbers)
)


def test_every_protocol_can_be_named_and_is_tested_here() -> None:
    assert set(get_args(SplitConfig.model_fields["protocol"].annotation)) == set(PROTOCOLS) == set(SECTIONS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(subject_sets)
def test_train_shares_nothing_that_the_protocol_forbids(protocol: str, numbers: set[int]) -> None:
    subjects = [f"sub{number:03d}" for number in numbers]
    plan = plan_splits(subjects, make_config(protocol))
    trials = assign_all(plan, subjects)
    for split in plan.splits[1:]:
        for part, what in enumerate(("subject", "clip")):
            shared = members(trials, "train", part) & members(trials, split, part)
            assert not shared or what not in plan.disjoint
    assert not members(trials, "validation", 0) & members(trials, "test", 0)
    assert members(trials, "train", 0) <= set(plan.train_subjects)
    assert set(trials.values()) <= {*plan.splits, None}
    assert set(plan.splits) <= set(ALL_SPLITS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(subject_sets)
def test_every_trial_of_everyone_is_used_unless_the_protocol_says_so(protocol: str, numbers: set[int]) -> None:
    subjects = [f"sub{number:03d}" for number in numbers]
    plan = plan_splits(subjects, make_config(protocol))
    trials = assign_all(plan, subjects)
    left_out = {subject for (subject, _), split in trials.items() if split is None}
    assert plan.subjects == sorted(set(plan.subjects)) == sorted(set(subjects) & set(plan.subjects))
    if protocol == "unseen-subjects-and-clips":
        kept = sum(split is not None for split in trials.values())
        n_train = len(plan.train_subjects)
        assert kept == 18 * n_train + 10 * (len(subjects) - n_train)
    else:
        assert left_out == set(subjects) - set(plan.subjects)
        assert not left_out or protocol == "ranges"


@pytest.mark.parametrize("protocol", STABLE)
@given(subject_sets, st.integers(0, 122))
def test_adding_a_subject_moves_no_other(protocol: str, numbers: set[int], joins: int) -> None:
    subjects = [f"sub{number:03d}" for number in numbers]
    config = make_config(protocol)
    before = assign_all(plan_splits(subjects, config), subjects)
    after = assign_all(plan_splits([*subjects, f"sub{joins:03d}"], config), subjects)
    assert before == after


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_order_and_repetition_of_names_do_not_matter(protocol: str) -> None:
    config = make_config(protocol)
    plan = plan_splits(FACED_SUBJECTS, config)
    assert plan == plan_splits([*reversed(FACED_SUBJECTS), "sub001"], config)
    assert plan == pickle.loads(pickle.dumps(plan))


def test_faced_protocol_has_the_published_sizes() -> None:
    plan = plan_splits(FACED_SUBJECTS, SplitConfig())
    assert [list(plan.homes.values()).count(split) for split in SPLITS] == [80, 20, 23]
    assert plan.homes["sub079"] == "train"
    assert plan.homes["sub099"] == "validation"


def test_ten_folds_test_everyone_once_in_blocks_of_faced() -> None:
    plans = [plan_splits(FACED_SUBJECTS, make_config("10-fold", fold=fold)) for fold in range(10)]
    tested = [[s for s, home in plan.homes.items() if home == "test"] for plan in plans]
    assert [len(people) for people in tested] == [12] * 9 + [15]
    assert [person for people in tested for person in people] == FACED_SUBJECTS
    for plan, following in zip(plans, [*tested[1:], tested[0]], strict=True):
        assert [s for s, home in plan.homes.items() if home == "validation"] == following


@given(st.integers(3, 30))
def test_leave_one_out_tests_everyone_once(n_subjects: int) -> None:
    subjects = [f"sub{number:02d}" for number in range(1, n_subjects + 1)]
    plans = [plan_splits(subjects, make_config("leave-one-subject-out", fold=fold)) for fold in range(n_subjects)]
    assert [[s for s, home in plan.homes.items() if home == "test"] for plan in plans] == [[s] for s in subjects]
    assert all(len(plan.train_subjects) == n_subjects - 2 for plan in plans)


@pytest.mark.parametrize("fold", range(3))
def test_unseen_clips_hold_out_one_clip_of_every_emotion_from_everyone(fold: int) -> None:
    plan = plan_splits(FACED_SUBJECTS, make_config("unseen-clips", held_out_fold=fold))
    trials = assign_all(plan, FACED_SUBJECTS)
    assert members(trials, "test", 0) | members(trials, "validation", 0) == set(FACED_SUBJECTS)
    assert members(trials, "train", 0) == set(FACED_SUBJECTS) == set(plan.train_subjects)
    assert {FACED_CLIPS[int(str(clip))] for clip in members(trials, "test", 1)} == set(EMOTIONS)
    assert len(members(trials, "validation", 0)) == 25


def test_unseen_subjects_and_clips_meet_neither_in_training() -> None:
    plan = plan_splits(FACED_SUBJECTS, make_config("unseen-subjects-and-clips", held_out_fold=2))
    trials = assign_all(plan, FACED_SUBJECTS)
    counts = {split: sum(name == split for name in trials.values()) for split in SPLITS}
    assert counts == {"train": 80 * 19, "validation": 20 * 9, "test": 23 * 9}


def test_few_shot_sets_the_first_presented_trials_of_tested_people_apart() -> None:
    plan = plan_splits(FACED_SUBJECTS, make_config("few-shot", calibration_trials=3))
    trials = assign_all(plan, FACED_SUBJECTS)
    assert plan.splits == ("train", "validation", "test", "calibration")
    assert members(trials, "calibration", 0) == {f"sub{number:03d}" for number in range(80, 123)}
    assert members(trials, "calibration", 1) == {26, 27, 28}
    assert members(trials, "train", 1) == set(FACED_CLIPS)


@pytest.mark.parametrize("protocol", ["few-shot", "unseen-subjects-and-clips"])
def test_own_ranges_replace_those_of_faced(protocol: str) -> None:
    config = make_config(protocol, train=[1, 9], validation=[10, 12], test=[13, 15])
    plan = plan_splits([f"sub{number:02d}" for number in range(1, 16)], config)
    assert [list(plan.homes.values()).count(split) for split in SPLITS] == [9, 3, 3]


def test_own_ranges_leave_others_out() -> None:
    config = make_config("ranges", train=[0, 3], validation=[4, 4], test=[5, 6])
    plan = plan_splits([f"sub{n:03d}" for n in range(9)], config)
    assert [list(plan.homes.values()).count(split) for split in SPLITS] == [4, 1, 2]
    assert plan.assign("sub007", 1, 0, 1) is None
    assert "sub007" not in plan.subjects


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol": "ranges", "train": [0, 5], "validation": [5, 6], "test": [7, 8]}, "must not overlap"),
        ({"protocol": "ranges", "train": [0, 5]}, "needs validation, test"),
        ({"protocol": "few-shot", "calibration_trials": 2, "train": [0, 5]}, "all of train, validation, test"),
        ({"train": [0, 5]}, "only with protocol: unseen-subjects-and-clips, few-shot, ranges"),
        ({"fold": 1}, "only with protocol: 10-fold, leave-one-subject-out"),
        ({"protocol": "10-fold"}, "protocol 10-fold needs fold"),
        ({"protocol": "10-fold", "fold": 10}, "folds 0 to 9"),
        ({"protocol": "unseen-clips", "held_out_fold": 3}, "held_out_fold"),
        ({"protocol": "unseen-clips", "held_out_fold": 1, "by": "subject"}, "by must be clip"),
        ({"by": "clip"}, "faced-80-20-23 is by subject"),
        ({"by": "trial"}, "by:"),
        ({"protocol": "random"}, "unseen-clips"),
    ],
)
def test_bad_split_sections_say_what_is_accepted(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validate(SplitConfig, values, where="recipe.yaml")


@pytest.mark.parametrize(
    ("protocol", "n_subjects", "message"),
    [
        ("faced-80-20-23", 20, "none of 20 subjects lies in .*test range 100-122.*10-fold"),
        ("few-shot", 15, "FACED's numbers 0-122: give train, validation and test"),
        ("10-fold", 9, "at least 10 subjects, found 9"),
        ("leave-one-subject-out", 2, "at least 3 subjects, found 2"),
        ("ranges", 5, "train range 10-60"),
    ],
)
def test_people_who_do_not_fit_are_one_line(protocol: str, n_subjects: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        plan_splits([f"sub{number:02d}" for number in range(1, n_subjects + 1)], make_config(protocol))
    assert "\n" not in str(caught.value)


def test_a_fold_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match=r"split\.fold 15: 15 subjects give folds 0 to 14"):
        plan_splits([f"sub{n:02d}" for n in range(1, 16)], make_config("leave-one-subject-out", fold=15))


def test_a_pseudonym_without_a_number_is_refused_only_where_numbers_count() -> None:
    names = ["ada", "bob", "eve"]
    assert plan_splits(names, make_config("leave-one-subject-out")).homes["eve"] == "test"
    with pytest.raises(InputError, match="no number"):
        plan_splits(names, make_config("unseen-clips"))


@pytest.mark.parametrize(
    ("protocol", "clip", "fold", "rank", "message"),
    [("few-shot", 1, 0, None, "place in the order"), ("unseen-clips", None, None, 1, "clip number")],
)
def test_what_a_protocol_needs_of_a_trial_must_be_known(
    protocol: str, clip: int | None, fold: int | None, rank: int | None, message: str
) -> None:
    plan = plan_splits(FACED_SUBJECTS, make_config(protocol))
    with pytest.raises(InputError, match=message):
        plan.assign("sub101", clip, fold, rank)


def test_each_clip_fold_holds_every_emotion() -> None:
    folds = {clip: clip_fold(clip, FACED_CLIPS) for clip in FACED_CLIPS}
    for fold in range(3):
        assert {FACED_CLIPS[clip] for clip, f in folds.items() if f == fold} == set(EMOTIONS)
    assert sum(fold == 0 for fold in folds.values()) == 10
