"""Subject-disjoint splits and clip folds, decided before anything is encoded."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel

SPLITS: tuple[str, ...] = ("train", "validation", "test")

#: First and last subject number of each split, both included. ``faced-80-20-23`` is the division that CBraMod
#: (Wang et al. 2025, ICLR) and most later work on FACED report.
PROTOCOLS: dict[str, dict[str, tuple[int, int]]] = {
    "faced-80-20-23": {"train": (0, 79), "validation": (80, 99), "test": (100, 122)},
}


class SplitConfig(StrictModel):
    """How subjects are divided.

    Parameters
    ----------
    by : {"subject"}
        Nothing else is offered: trials of one person in two splits are a leak.
    protocol : str
        A name in `PROTOCOLS`, or ``"ranges"``.
    train, validation, test : list of two int, optional
        With ``protocol: ranges`` only: first and last subject number, both included.
    """

    by: Literal["subject"] = "subject"
    protocol: Literal["faced-80-20-23", "ranges"] = "faced-80-20-23"
    train: list[int] | None = Field(default=None, min_length=2, max_length=2)
    validation: list[int] | None = Field(default=None, min_length=2, max_length=2)
    test: list[int] | None = Field(default=None, min_length=2, max_length=2)

    @model_validator(mode="after")
    def _check_ranges(self) -> "SplitConfig":
        given = [name for name in SPLITS if getattr(self, name) is not None]
        if self.protocol != "ranges" and given:
            raise ValueError(f"{', '.join(given)}: only with protocol: ranges")
        if self.protocol == "ranges" and len(given) != len(SPLITS):
            raise ValueError(f"protocol ranges needs {', '.join(SPLITS)}")
        spans = sorted(self.ranges().values())
        if any(low > high for low, high in spans) or any(a[1] >= b[0] for a, b in zip(spans, spans[1:], strict=False)):
            raise ValueError("ranges must be ascending and must not overlap")
        return self

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return first and last subject number per split."""
        if self.protocol != "ranges":
            return PROTOCOLS[self.protocol]
        return {name: (getattr(self, name)[0], getattr(self, name)[1]) for name in SPLITS}


def split_subjects(subjects: Sequence[str], config: SplitConfig) -> dict[str, list[str]]:
    """Divide subjects by the number at the end of their pseudonym.

    Parameters
    ----------
    subjects : sequence of str
        For example ``"sub003"``.
    config : SplitConfig

    Returns
    -------
    dict of str to list of str
        Keys of `SPLITS`; subjects outside every range are in none.

    Raises
    ------
    InputError
        If a pseudonym has no number or no subject falls into the training range.
    """
    divided: dict[str, list[str]] = {name: [] for name in SPLITS}
    for subject in sorted(subjects):
        digits = subject[len(subject.rstrip("0123456789")) :]
        if not digits:
            raise InputError("subject pseudonym: has no number at its end; expected for example sub003")
        for name, (low, high) in config.ranges().items():
            if low <= int(digits) <= high:
                divided[name].append(subject)
    if not divided["train"]:
        low, high = config.ranges()["train"]
        raise InputError(f"split: none of {len(subjects)} subjects lies in the training range {low}-{high}")
    return divided


def clip_fold(clip: int, emotions_by_clip: dict[int, str]) -> int:
    """Return which of three folds a clip belongs to: its rank among the clips of its emotion, modulo three.

    Each fold so holds one clip of every emotion (the fourth neutral clip shares fold 0), which lets a model be trained
    without one fold and tested on clips that it never met.
    """
    siblings = sorted(number for number, emotion in emotions_by_clip.items() if emotion == emotions_by_clip[clip])
    return siblings.index(clip) % 3
