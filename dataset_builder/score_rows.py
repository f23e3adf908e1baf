"""Rows of people whom a finished model is to be scored on: their EEG through the model's own codec and prompt.

A corpus fits its codec; here the codec comes with the model and nothing is fitted, so anybody's recording will do.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.extract import SubjectFacts, read_subject
from dataset_builder.prompts import Style
from dataset_builder.rows import RowMaker
from dataset_builder.sources.base import Source
from dataset_builder.sources.clips import CLIPS
from dataset_builder.splits import clip_fold

#: FACED's clips with their emotions.
_FACED = {clip.number: clip.label for clip in CLIPS}


@dataclass(frozen=True)
class ScoredPeople:
    """People as rows.

    Parameters
    ----------
    rows : list of dict
        With the columns of `dataset_builder.rows.SCHEMA`.
    facts : list of SubjectFacts
        What was found of each person, also of those who cannot be used.
    dropped : dict of str to int
        What is not in `rows`, counted by reason.
    """

    rows: list[dict[str, Any]]
    facts: list[SubjectFacts]
    dropped: dict[str, int] = field(default_factory=dict)


def read_people(
    source: Source, codec: Codec, style: Style, subjects: Sequence[str], seed: int = 17, title: str = "read"
) -> ScoredPeople:
    """Read people and encode them with a fitted codec.

    Parameters
    ----------
    source : Source
    codec : Codec
        Fitted, as it came with a model.
    style : Style
        The prompts that the model was trained with.
    subjects : sequence of str
    seed : int
        Decides which wording a row gets, where the style has several.
    title : str
        What the progress bar says.

    Returns
    -------
    ScoredPeople
        Trials without a label are counted and left out. A person who cannot be read does not stop the others.

    Raises
    ------
    InputError
        If nobody can be used; the message has the first reason.
    """
    maker = RowMaker(source.info.name, codec, style, seed)
    people, rows, dropped = [], [], Counter[str]()
    for subject in tqdm(subjects, desc=title, unit="subject", disable=None):
        facts, features = read_subject(source, codec, subject)
        people.append(facts)
        dropped.update(facts.left_out if facts.state == "used" else [facts.reason])
        if facts.state == "used":
            made = list(maker.make_rows(facts, codec.encode(features), number_folds(facts)))
            rows += [row for row in made if row is not None]
            dropped.update(["trial without a label"] * made.count(None))
    if not rows:
        first = next((person.detail for person in people if person.detail), "no trial has a label")
        raise InputError(f"{len(people)} subjects: none can be scored: {first}")
    return ScoredPeople(rows, people, dict(dropped))


def make_rows(source: Source, codec: Codec, style: Style, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows alone; see `read_people`."""
    return read_people(source, codec, style, subjects).rows


def number_folds(facts: SubjectFacts) -> dict[int, int | None]:
    """Return the fold of each clip that a person saw; None where the clips are not FACED's.

    The folds are those of all 28 clips: they must not depend on who is scored or on which trials are missing, or a clip
    would be called unseen under another number than in training. Of other clips the whole list is not known.
    """
    seen = {trial.clip: trial.emotion for trial in facts.trials if trial.clip and trial.emotion}
    known = all(_FACED.get(clip) == emotion for clip, emotion in seen.items())
    return {clip: clip_fold(clip, _FACED) if known else None for clip in seen}


def choose_people(known: Sequence[str], wanted: str) -> list[str]:
    """Return the subjects that a text names.

    Parameters
    ----------
    known : sequence of str
        Everybody in the folder, for example ``sub080``.
    wanted : str
        ``all``, or names, numbers and ranges of numbers between commas: ``80-99,sub101``.

    Raises
    ------
    InputError
        If a part is none of these or names nobody.
    """
    if wanted.strip() == "all":
        return sorted(known)
    parts = [part.strip() for part in wanted.split(",")]
    chosen = {name for part in parts for name in _match_part(known, part)}
    return sorted(chosen)


def _match_part(known: Sequence[str], part: str) -> Iterator[str]:
    """Yield who is meant by a name, a number or a range."""
    low, dash, high = part.partition("-")
    if part in known:
        found = [part]
    elif low.strip().isdecimal() and (not dash or high.strip().isdecimal()):
        first, last = int(low), int(high if dash else low)
        found = [name for name in known if (number := _read_number(name)) is not None and first <= number <= last]
    else:
        found = []
    if not found:
        span = f"; {len(known)} are there, {known[0]} to {known[-1]}" if known else ""
        raise InputError(f"--subjects {part!r}: nobody found; accepted: all, names, numbers and ranges as 80-99{span}")
    yield from found


def _read_number(name: str) -> int | None:
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits else None
