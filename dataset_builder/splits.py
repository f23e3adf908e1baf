"""Split protocols by name: which trial goes where, decided before anything is encoded.

A protocol gives every subject a home split and then says, trial by trial, whether the home is where the trial goes
(`SplitPlan.assign`). Nothing here sees a signal, and an emotion only through the fold of its clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from dataset_builder.errors import InputError
from dataset_builder.protocols import N_SUBJECT_FOLDS, PROTOCOLS, SPLITS
from dataset_builder.recipe import StrictModel

__all__ = ["ALL_SPLITS", "PROTOCOLS", "SPLITS", "SplitConfig", "SplitPlan", "clip_fold", "plan_splits"]

#: All splits that a corpus can have. ``"calibration"``: the first trials of the people who are tested.
ALL_SPLITS: tuple[str, ...] = (*SPLITS, "calibration")

#: How many folds `clip_fold` makes.
N_CLIP_FOLDS = 3

#: First and last subject number of each split, both included: the division that CBraMod (Wang et al. 2025, ICLR) and
#: most later work on FACED report.
FACED_RANGES: dict[str, tuple[int, int]] = {"train": (0, 79), "validation": (80, 99), "test": (100, 122)}


class SplitConfig(StrictModel):
    """How trials are divided.

    Parameters
    ----------
    by : {"subject", "clip"}
        What train shares with no other split. ``"clip"`` belongs to ``unseen-clips`` alone, the one protocol in which
        people are shared; every other protocol is by subject. Follows from the protocol when it is not given.
    protocol : str
        A name in `PROTOCOLS`.
    fold : int, optional
        ``10-fold``: 0 to 9. ``leave-one-subject-out``: position of the tested subject in sorted order, from 0.
    held_out_fold : int, optional
        ``unseen-clips`` and ``unseen-subjects-and-clips``: which `clip_fold` is kept from training.
    calibration_trials : int, optional
        ``few-shot``: how many of the first presented trials of a tested person form the split ``calibration``.
    train, validation, test : list of two int, optional
        First and last subject number, both included. Needed by ``ranges``; ``few-shot`` and
        ``unseen-subjects-and-clips`` take them instead of FACED's 0-79, 80-99 and 100-122.
    """

    by: Literal["subject", "clip"] = "subject"
    protocol: Literal[
        "faced-80-20-23",
        "10-fold",
        "leave-one-subject-out",
        "unseen-clips",
        "unseen-subjects-and-clips",
        "few-shot",
        "ranges",
    ] = "faced-80-20-23"
    fold: int | None = Field(default=None, ge=0)
    held_out_fold: int | None = Field(default=None, ge=0, lt=N_CLIP_FOLDS)
    calibration_trials: int | None = Field(default=None, ge=1)
    train: list[int] | None = Field(default=None, min_length=2, max_length=2)
    validation: list[int] | None = Field(default=None, min_length=2, max_length=2)
    test: list[int] | None = Field(default=None, min_length=2, max_length=2)

    @model_validator(mode="before")
    @classmethod
    def _follow_protocol(cls, values: Any) -> Any:
        known = isinstance(values, dict) and PROTOCOLS.get(str(values.get("protocol")))
        return {"by": "subject" if "subject" in known.disjoint else "clip"} | values if known else values

    @model_validator(mode="after")
    def _check_keys(self) -> "SplitConfig":
        protocol = PROTOCOLS[self.protocol]
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if foreign := sorted(set(given) - {"by", "protocol", *protocol.needs, *protocol.takes}):
            owners = [name for name, other in PROTOCOLS.items() if foreign[0] in (*other.needs, *other.takes)]
            raise ValueError(f"{', '.join(foreign)}: only with protocol: {', '.join(owners)}")
        if missing := [name for name in protocol.needs if name not in given]:
            raise ValueError(f"protocol {self.protocol} needs {', '.join(missing)}")
        if self.protocol == "10-fold" and self.fold is not None and self.fold >= N_SUBJECT_FOLDS:
            raise ValueError(f"fold {self.fold}: 10-fold has folds 0 to {N_SUBJECT_FOLDS - 1}")
        if (self.by == "subject") != ("subject" in protocol.disjoint):
            shares = "shares people between splits: by must be clip" if self.by == "subject" else "is by subject"
            raise ValueError(f"protocol {self.protocol} {shares}")
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> "SplitConfig":
        given = [name for name in SPLITS if getattr(self, name) is not None]
        if given and len(given) != len(SPLITS):
            raise ValueError(f"ranges need all of {', '.join(SPLITS)}")
        spans = sorted(self.ranges().values())
        if any(low > high for low, high in spans) or any(a[1] >= b[0] for a, b in zip(spans, spans[1:], strict=False)):
            raise ValueError("ranges must be ascending and must not overlap")
        return self

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return first and last subject number per split: the given ones, else FACED's."""
        if self.train is None or self.validation is None or self.test is None:
            return FACED_RANGES
        return {name: (span[0], span[1]) for name in SPLITS for span in [getattr(self, name)]}


@dataclass(frozen=True)
class SplitPlan:
    """Who takes part and where each trial goes; plain data, so that workers can be handed it.

    Parameters
    ----------
    protocol : str
        Name in `PROTOCOLS`.
    homes : dict of str to str
        Split in which a subject is tested, or ``"train"``; in sorted order of subjects.
    disjoint : frozenset of {"subject", "clip"}
        What no other split may share with train. Validation and test never share a subject, under any protocol.
    held_out_fold : int or None
        Clip fold that training never sees.
    calibration_trials : int
        How many trials of a tested person are set apart; 0 except under ``few-shot``.
    """

    protocol: str
    homes: dict[str, str]
    disjoint: frozenset[str]
    held_out_fold: int | None = None
    calibration_trials: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, a subset of `ALL_SPLITS` in that order."""
        return ALL_SPLITS if self.calibration_trials else SPLITS

    @property
    def subjects(self) -> list[str]:
        """Everybody who takes part, sorted."""
        return list(self.homes)

    @property
    def train_subjects(self) -> list[str]:
        """Everybody with a trial in train, sorted: the people whom a codec may be fitted to."""
        return [name for name, home in self.homes.items() if home == "train" or "subject" not in self.disjoint]

    def assign(self, subject: str, clip: int | None, clip_fold: int | None, rank: int | None) -> str | None:
        """Return the split of one trial, or None if the protocol leaves it out.

        Parameters
        ----------
        subject : str
        clip : int or None
            Stimulus number.
        clip_fold : int or None
            What the function `clip_fold` says of it.
        rank : int or None
            1-based place of the trial in the order of presentation.

        Raises
        ------
        InputError
            If the protocol needs the clip or the rank and it is not known.
        """
        home = self.homes.get(subject)
        if home is None:
            return None
        if self.held_out_fold is not None:
            return self._assign_by_clip(home, None if clip is None else clip_fold)
        if self.calibration_trials and home != "train":
            if rank is None:
                raise InputError(f"split.protocol {self.protocol}: {subject} has trials without a place in the order")
            return "calibration" if rank <= self.calibration_trials else home
        return home

    def _assign_by_clip(self, home: str, fold: int | None) -> str | None:
        if fold is None:
            raise InputError(f"split.protocol {self.protocol}: needs the clip number of every trial")
        held_out = fold == self.held_out_fold
        if "subject" not in self.disjoint:
            return home if held_out else "train"
        return home if held_out == (home != "train") else None


def plan_splits(subjects: Sequence[str], config: SplitConfig) -> SplitPlan:
    """Decide who is trained on and who is tested.

    Parameters
    ----------
    subjects : sequence of str
        Pseudonyms, for example ``"sub003"``; everyone in the folder, also those whose recording will turn out unusable,
        because folds count positions.
    config : SplitConfig

    Returns
    -------
    SplitPlan

    Raises
    ------
    InputError
        If the subjects do not fit the protocol: a pseudonym without a number, too few people, a fold that does not
        exist, nobody to train on.
    """
    protocol = PROTOCOLS[config.protocol]
    return SplitPlan(
        protocol=config.protocol,
        homes=protocol.divide(sorted(set(subjects)), config),
        disjoint=protocol.disjoint,
        held_out_fold=config.held_out_fold,
        calibration_trials=config.calibration_trials or 0,
    )


def clip_fold(clip: int, emotions_by_clip: dict[int, str]) -> int:
    """Return which of three folds a clip belongs to: its rank among the clips of its emotion, modulo three.

    Each fold so holds one clip of every emotion (the fourth neutral clip shares fold 0), which lets a model be trained
    without one fold and tested on clips that it never met.
    """
    siblings = sorted(number for number, emotion in emotions_by_clip.items() if emotion == emotions_by_clip[clip])
    return siblings.index(clip) % N_CLIP_FOLDS
