import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.recipe import validate
from dataset_builder.splits import SPLITS, SplitConfig, clip_fold, split_subjects
from dataset_builder.types import EMOTIONS

FACED_CLIPS = dict(enumerate([e for e in EMOTIONS for _ in range(4 if e == "neutral" else 3)], start=1))


@given(st.sets(st.integers(0, 122), min_size=1).filter(lambda numbers: min(numbers) < 80))
def test_splits_are_disjoint_and_complete(numbers: set[int]) -> None:
    subjects = [f"sub{number:03d}" for number in numbers]
    divided = split_subjects(subjects, SplitConfig())
    members = [subject for split in SPLITS for subject in divided[split]]
    assert sorted(members) == sorted(subjects)
    assert all(int(s[3:]) <= 79 for s in divided["train"])
    assert all(int(s[3:]) >= 100 for s in divided["test"])


@given(st.integers(0, 122))
def test_adding_a_subject_moves_no_other(number: int) -> None:
    few = split_subjects(["sub000", "sub085"], SplitConfig())
    more = split_subjects(sorted({"sub000", "sub085", f"sub{number:03d}"}), SplitConfig())
    assert all(set(few[split]) <= set(more[split]) for split in SPLITS)


def test_own_ranges_leave_others_out() -> None:
    config = validate(
        SplitConfig, {"protocol": "ranges", "train": [0, 3], "validation": [4, 4], "test": [5, 6]}, where="test"
    )
    divided = split_subjects([f"sub{n:03d}" for n in range(9)], config)
    assert [len(divided[split]) for split in SPLITS] == [4, 1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol": "ranges", "train": [0, 5], "validation": [5, 6], "test": [7, 8]}, "must not overlap"),
        ({"protocol": "ranges", "train": [0, 5]}, "needs train, validation, test"),
        ({"train": [0, 5]}, "only with protocol: ranges"),
        ({"by": "trial"}, "by:"),
    ],
)
def test_bad_split_sections_say_what_is_accepted(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validate(SplitConfig, values, where="recipe.yaml")


def test_nobody_to_train_on_is_an_error() -> None:
    with pytest.raises(InputError, match="training range 0-79"):
        split_subjects(["sub100"], SplitConfig())


def test_each_clip_fold_holds_every_emotion() -> None:
    folds = {clip: clip_fold(clip, FACED_CLIPS) for clip in FACED_CLIPS}
    for fold in range(3):
        assert {FACED_CLIPS[clip] for clip, f in folds.items() if f == fold} == set(EMOTIONS)
    assert sum(fold == 0 for fold in folds.values()) == 10
