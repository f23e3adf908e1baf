"""Protocols by name: who is tested, which trials may be called unseen, and what must be said beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.score_rows import choose_people
from dataset_builder.splits import FACED_RANGES, SplitConfig, plan_splits
from model_recipes.evaluation.claims import Exposure
from model_recipes.evaluation.trials import GIVEN_SUBJECTS, SEEN_SUBJECTS, UNSEEN_CLIPS, UNSEEN_SUBJECTS

#: What ``--protocol`` accepts, and what each name demands.
PROTOCOL_NAMES: dict[str, str] = {
    "auto": "say what the manifests tell",
    "unseen-subjects": "nobody may have been trained on",
    "unseen-subjects-and-clips": "that, and only clips that training never met",
    "faced-80-20-23": "people of FACED's test numbers, else of its validation numbers",
    "10-fold": "people of one block, as in 10-fold:3",
    "leave-one-subject-out": "one person, as in leave-one-subject-out:3",
}


def choose_tested(known: Sequence[str], subjects: str | None, protocol: str) -> tuple[str, list[str]]:
    """Return the split's name and the people who are scored.

    Raises
    ------
    InputError
        If the protocol is unknown, needs a fold, or people are named whom it trains on.
    """
    name, colon, fold = protocol.partition(":")
    if name not in PROTOCOL_NAMES or (colon and not fold.isdecimal()):
        raise InputError(f"--protocol {protocol!r}: unknown; accepted: {', '.join(PROTOCOL_NAMES)}")
    homes = _find_homes(known, name, fold)
    if homes is None:
        return "people", choose_people(known, subjects or "all")
    split = next((split for split in ("test", "validation") if split in homes.values()), "test")
    tested = [subject for subject, home in homes.items() if home == split]
    if subjects is None:
        if not tested:
            raise InputError(f"--protocol {protocol}: tests nobody who is there; give --subjects")
        return split, sorted(tested)
    chosen = choose_people(known, subjects)
    if wrong := [subject for subject in chosen if homes.get(subject) not in ("test", "validation")]:
        raise InputError(f"--subjects: {_list_few(wrong)} are not tested by protocol {protocol}")
    found = {homes[subject] for subject in chosen}
    return found.pop() if len(found) == 1 else "people", chosen


def divide_claims(
    rows: list[dict[str, Any]], exposure: Exposure, trained: Sequence[str], unsure: Sequence[str], protocol: str
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the rows that are scored and the trials of each protocol.

    Raises
    ------
    InputError
        If people or clips are to be called unseen that are not, or of which it cannot be told.
    """
    claimed = protocol != "auto"
    if claimed and trained:
        raise InputError(f"--protocol {protocol}: {_list_few(trained)} were in training")
    fresh = [row["clip_fold"] is not None and row["clip_fold"] in exposure.unseen_folds for row in rows]
    if protocol == "unseen-subjects-and-clips":
        if not any(fresh):
            raise InputError(
                f"--protocol {protocol}: no clip is known to be new to model and codec; train with held_out_fold"
            )
        rows, fresh = [row for row, new in zip(rows, fresh, strict=True) if new], [True] * sum(fresh)
    names = [
        SEEN_SUBJECTS if row["subject"] in trained else _name_claim(claimed or row["subject"] not in unsure, new)
        for row, new in zip(rows, fresh, strict=True)
    ]
    order = (UNSEEN_SUBJECTS, UNSEEN_CLIPS, GIVEN_SUBJECTS, SEEN_SUBJECTS)
    return rows, {name: np.flatnonzero(np.array(names) == name) for name in order if name in names}


def list_notes(
    exposure: Exposure, trained: Sequence[str], unsure: Sequence[str], used: Sequence[str], protocol: str
) -> list[str]:
    """Return what must be known of the claims.

    Parameters
    ----------
    exposure : Exposure
    trained : sequence of str
        People who were trained on.
    unsure : sequence of str
        People of whom that cannot be told.
    used : sequence of str
        Everybody who is scored.
    protocol : str
        As the caller has it.
    """
    notes = []
    if open_cases := sorted(set(unsure) - set(trained)):
        who = "that they are unseen is the caller's claim" if protocol != "auto" else "nobody of them is called unseen"
        notes.append(
            f"{len(open_cases)} of {len(used)} people: neither the model's corpus nor digests of data tell who was in "
            f"training: {who}"
        )
    elif exposure.subjects is None and exposure.people is not None:
        notes.append("who was in training is told by digests of the training subjects' data, which the model carries")
    if trained:
        notes.append(
            f"{len(trained)} of {len(used)} people were trained on: {_list_few(trained)} were in training and are "
            "counted apart"
        )
    if watched := sorted(set(used) & exposure.validation - set(trained)):
        notes.append(f"{_list_few(watched)} are validation subjects, whose loss training may have watched")
    if not exposure.unseen_folds:
        notes.append("clips seen in training, or not known to be unseen: no number here tells emotion from film")
    return notes


def _name_claim(known: bool, fresh: bool) -> str:
    if not known:
        return GIVEN_SUBJECTS
    return UNSEEN_CLIPS if fresh else UNSEEN_SUBJECTS


def _find_homes(known: Sequence[str], name: str, fold: str) -> dict[str, str] | None:
    """Return the split of each subject under a protocol that divides people; None for the others."""
    if name == "faced-80-20-23":
        # By numbers alone: a folder that holds only the tested people is as good as a whole one.
        spans = FACED_RANGES.items()
        return {
            subject: split
            for subject in known
            for split, (low, high) in spans
            if subject[3:].isdecimal() and low <= int(subject[3:]) <= high
        }
    if name not in ("10-fold", "leave-one-subject-out"):
        return None
    if not fold:
        raise InputError(f"--protocol {name}: needs a fold, as in {name}:3")
    return plan_splits(known, SplitConfig.model_validate({"protocol": name, "fold": int(fold)})).homes


def _list_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
