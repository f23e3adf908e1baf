"""The split protocols by name: each gives every subject a home split (see `dataset_builder.splits`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataset_builder.errors import InputError

if TYPE_CHECKING:
    from dataset_builder.splits import SplitConfig

#: The splits that most protocols fill, in the order in which they are written.
SPLITS: tuple[str, ...] = ("train", "validation", "test")

#: How many blocks of subjects ``10-fold`` makes.
N_SUBJECT_FOLDS = 10
_EVERY = 5


@dataclass(frozen=True)
class Protocol:
    """One way to divide.

    Parameters
    ----------
    divide : callable
        Takes the sorted subjects and the config, returns the home split of each subject that takes part.
    needs, takes : tuple of str
        Keys of the config that must and that may be given.
    disjoint : frozenset of {"subject", "clip"}
        What no other split may share with train.
    """

    divide: Callable[[list[str], "SplitConfig"], dict[str, str]]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    disjoint: frozenset[str] = frozenset({"subject"})


def _divide_by_range(subjects: list[str], config: "SplitConfig") -> dict[str, str]:
    """Give each subject the range that holds its number. Adding a subject moves no other."""
    ranges = config.ranges()
    homes = {
        subject: name for subject in subjects for name, (low, high) in ranges.items() if low <= _number(subject) <= high
    }
    # Of FACED's own numbers some must be tested: a folder of other people would silently end up in train alone.
    for names in (["train"],) if config.train else (["train"], ["validation", "test"]):
        if not set(names) & set(homes.values()):
            where = " or ".join(f"{name} range {ranges[name][0]}-{ranges[name][1]}" for name in names)
            advice = "" if config.train else f"; {config.protocol} counts on FACED's numbers 0-122: {_advise(config)}"
            raise InputError(f"split: none of {len(subjects)} subjects lies in the {where}{advice}")
    return homes


def _divide_in_tenths(subjects: list[str], config: "SplitConfig") -> dict[str, str]:
    """Test one of ten blocks of the sorted subjects, the last block taking the rest (FACED: 9 x 12 and 15).

    FACED's validation code (Chen et al. 2023) has no validation people. Here the block after the tested one, round the
    end, is validation, so that nothing is chosen on the people who are tested.
    """
    size = len(subjects) // N_SUBJECT_FOLDS
    if not size:
        raise InputError(f"split.protocol 10-fold: needs at least {N_SUBJECT_FOLDS} subjects, found {len(subjects)}")
    blocks = [min(position // size, N_SUBJECT_FOLDS - 1) for position in range(len(subjects))]
    return _home_of_blocks(subjects, blocks, config.fold or 0)


def _divide_one_out(subjects: list[str], config: "SplitConfig") -> dict[str, str]:
    """Test the subject at position `fold`; the next one, round the end, is validation."""
    if len(subjects) < 3:
        raise InputError(f"split.protocol {config.protocol}: needs at least 3 subjects, found {len(subjects)}")
    if (fold := config.fold or 0) >= len(subjects):
        raise InputError(f"split.fold {fold}: {len(subjects)} subjects give folds 0 to {len(subjects) - 1}")
    return _home_of_blocks(subjects, list(range(len(subjects))), fold)


def _home_of_blocks(subjects: list[str], blocks: list[int], fold: int) -> dict[str, str]:
    special = {fold: "test", (fold + 1) % (max(blocks) + 1): "validation"}
    return {subject: special.get(block, "train") for subject, block in zip(subjects, blocks, strict=True)}


def _divide_every_fifth(subjects: list[str], config: "SplitConfig") -> dict[str, str]:
    """Validate on the held-out clips of every fifth number, test on everyone else's. Adding a subject moves no other.

    Both then hold the same clips of different people. With three clips per emotion, clips of their own for validation
    would leave one clip per emotion to train on.
    """
    return {subject: "test" if _number(subject) % _EVERY else "validation" for subject in subjects}


def _number(subject: str) -> int:
    digits = subject[len(subject.rstrip("0123456789")) :]
    if not digits:
        raise InputError("subject pseudonym: has no number at its end; expected for example sub003")
    return int(digits)


def _advise(config: "SplitConfig") -> str:
    takes_ranges = "train" in PROTOCOLS[config.protocol].takes
    return "give train, validation and test" if takes_ranges else "use 10-fold, leave-one-subject-out or ranges"


#: Every protocol by its name in recipes.
PROTOCOLS: dict[str, Protocol] = {
    "faced-80-20-23": Protocol(_divide_by_range),
    "10-fold": Protocol(_divide_in_tenths, needs=("fold",)),
    "leave-one-subject-out": Protocol(_divide_one_out, needs=("fold",)),
    "unseen-clips": Protocol(_divide_every_fifth, needs=("held_out_fold",), disjoint=frozenset({"clip"})),
    "unseen-subjects-and-clips": Protocol(
        _divide_by_range, needs=("held_out_fold",), takes=SPLITS, disjoint=frozenset({"subject", "clip"})
    ),
    "few-shot": Protocol(_divide_by_range, needs=("calibration_trials",), takes=SPLITS),
    "ranges": Protocol(_divide_by_range, needs=SPLITS),
}
