"""Controls: what a reader scores when the EEG is taken away, exchanged or replaced, and what that proves.

A score alone proves nothing: people differ, labels are not equally common, and a reader may know the film. Each control
answers the same trials as the reader without what the reader claims to use; both are compared on the same people.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import PromptFacts, Style
from dataset_builder.seeds import make_rng
from dataset_builder.types import EMOTIONS, Code
from model_recipes.evaluation.readers import Reader

Rows = Sequence[dict[str, Any]]

SAME_CLIP = "EEG of another subject, same clip"

#: Groups of people in which demographics are cross-fitted where there are no training rows.
_N_GROUPS = 5


@dataclass(frozen=True)
class Control:
    """What was answered instead.

    Parameters
    ----------
    name : str
    trials : ndarray of shape (n,), int
        Which trials were answered.
    answers : ndarray of shape (n, 9), float64
        How often each label is answered, per trial: one 1 per row for a reader, shares for an expectation.
    label_free : bool
        True if nothing of the trial's own EEG, and nothing else that follows from its label, was told.
    """

    name: str
    trials: np.ndarray
    answers: np.ndarray
    label_free: bool = True


def to_answers(scores: np.ndarray) -> np.ndarray:
    """Return each row's best label as 1 among 0, shape of `scores`."""
    return np.eye(scores.shape[1])[scores.argmax(axis=1)]


def list_plain_controls(rows: Rows, scores: np.ndarray, train_rows: Rows | None, trials: np.ndarray) -> list[Control]:
    """Return the controls that need no pass of the model.

    Parameters
    ----------
    rows : sequence of rows
        All trials.
    scores : ndarray of shape (n_rows, 9)
        Of the reader.
    train_rows : sequence of rows, or None
        What demographics are learned from; None: from the other people who are evaluated.
    trials : ndarray of int
        The trials of one protocol.
    """
    truth = np.array([EMOTIONS.index(rows[i]["emotion"]) for i in trials.tolist()])
    subjects = np.array([rows[i]["subject"] for i in trials.tolist()])
    shares = np.bincount(truth, minlength=len(EMOTIONS)) / len(truth)
    n = len(trials)
    answers = to_answers(scores[trials])
    # Labels in random order within each person: what the reader's own answers reach by their frequencies alone.
    own = np.stack([answers[subjects == subject].mean(axis=0) for subject in subjects])
    mine = [rows[i] for i in trials.tolist()]
    found = [
        Control("chance", trials, np.tile(shares, (n, 1))),
        Control("most common label", trials, np.tile(np.eye(len(EMOTIONS))[shares.argmax()], (n, 1))),
        Control("demographics only", trials, predict_from_person(mine, train_rows)),
        Control("permuted labels", trials, own),
    ]
    return found + list_exchanges(rows, scores, trials)


def list_exchanges(rows: Rows, scores: np.ndarray, trials: np.ndarray) -> list[Control]:
    """Return the controls in which two trials change places, the whole prompts with them: their scores are known."""
    mine = [rows[i] for i in trials.tolist()]
    people, clips = [row["subject"] for row in mine], [row["clip"] for row in mine]
    same_person = find_donors(people, [name_trial(row) for row in mine])
    same_clip = find_donors([f"{row['clip']} {row.get('start_s') or 0:g}" for row in mine], people)
    same_clip[[clip is None for clip in clips]] = -1
    controls = []
    for name, donors, free in (
        ("EEG of another trial", same_person, True),
        (SAME_CLIP, same_clip, False),
    ):
        kept = np.flatnonzero(donors >= 0)
        if len(kept):
            controls.append(Control(name, trials[kept], to_answers(scores[trials[donors[kept]]]), free))
    return controls


def name_trial(row: dict[str, Any]) -> str:
    """Return what a row shares with the other segments of its trial, and with no other row."""
    return str(row.get("trial_id") or row["row_id"])


def find_donors(groups: Sequence[str], avoid: Sequence[str] | None = None) -> np.ndarray:
    """Return for each trial another of its group, -1 where there is none.

    Each is used once where that can be: the group is put in random order and turned until nobody meets himself. Orders
    that are not random, such as that of the clips, could bring trials of one label together.

    Parameters
    ----------
    groups : sequence of str
        Person or clip.
    avoid : sequence of str, optional
        The donor must differ in this, for example be another person.
    """
    keys = np.asarray(avoid if avoid is not None else [str(i) for i in range(len(groups))])
    donors = np.full(len(groups), -1)
    for group in sorted(set(groups)):
        members = make_rng(len(groups), "donors", group).permutation(np.flatnonzero(np.asarray(groups) == group))
        for turn in range(1, len(members)):
            turned = np.roll(members, turn)
            fits = (donors[members] < 0) & (keys[members] != keys[turned])
            donors[members[fits]] = turned[fits]
    return donors


def predict_from_person(rows: Rows, train_rows: Rows | None) -> np.ndarray:
    """Return what age, sex, cohort and device alone would answer, shape (n_rows, 9), one 1 per row."""
    if train_rows is None:
        subjects = np.array([row["subject"] for row in rows])
        n_groups = min(_N_GROUPS, len(set(subjects.tolist())))
        if n_groups < 2:
            return _answer_person(rows, rows)
        answers = np.zeros((len(rows), len(EMOTIONS)))
        for fitted, left in GroupKFold(n_groups).split(rows, groups=subjects):
            answers[left] = _answer_person([rows[i] for i in left.tolist()], [rows[i] for i in fitted.tolist()])
        return answers
    return _answer_person(rows, train_rows)


def list_asked_controls(
    reader: Reader,
    rows: Rows,
    codec: Codec,
    style: Style,
    trials: np.ndarray,
    noise_rows: Rows | None,
    seed: int,
    full: bool,
) -> list[Control]:
    """Return the controls that ask the model again.

    Parameters
    ----------
    reader : Reader
    rows : sequence of rows
        All trials.
    codec, style
        How a prompt is rendered.
    trials : ndarray of int
        Trials to ask about.
    noise_rows : sequence of rows, or None
        The same trials with noise of the person's spectrum in place of the EEG.
    seed : int
    full : bool
        Whether noise is asked about, and codes are exchanged while each prompt keeps its own demographics: a pass for
        every trial.

    Returns
    -------
    list of Control
        ``no EEG``: everybody has one and the same code.
    """
    chosen = [rows[i] for i in trials.tolist()]
    blank = find_blank(chosen, codec)
    asked = {"no EEG": [put_code(row, blank, codec, style) for row in chosen]}
    if full:
        if noise_rows is not None:
            asked["noise of the same spectrum"] = [noise_rows[i] for i in trials.tolist()]
        elif mixed := mix_codes(chosen, codec, seed):
            texts = zip(chosen, mixed, strict=True)
            asked["noise in the code"] = [put_code(row, text, codec, style) for row, text in texts]
    controls = [Control(name, trials, to_answers(score_once(reader, made))) for name, made in asked.items()]
    donors = find_donors([row["subject"] for row in chosen], [name_trial(row) for row in chosen])
    kept = np.flatnonzero(donors >= 0).tolist()
    if full and kept:
        made = [put_code(chosen[i], chosen[donors[i]]["code"], codec, style) for i in kept]
        controls.append(Control("code of another trial", trials[kept], to_answers(score_once(reader, made))))
    return controls


def score_once(reader: Reader, rows: Rows) -> np.ndarray:
    """Score rows, asking only once about prompts that are equal."""
    keys = [json.dumps(row["messages"][:-1]) for row in rows]
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    asked = sorted(first.values())
    places = {keys[index]: place for place, index in enumerate(asked)}
    return reader.score([rows[index] for index in asked])[[places[key] for key in keys]]


def put_code(row: dict[str, Any], text: str, codec: Codec, style: Style) -> dict[str, Any]:
    """Return a row whose prompt holds another code; all else is its own."""
    facial = json.loads(row["facial"]) if row.get("facial") else None
    channels = tuple((row.get("channels") or "").split())
    facts = PromptFacts(row["age"], row["sex"], facial, row["device_sfreq_hz"], channels)
    prompt = style.render_prompt(codec, codec.from_text(text), facts, row.get("phrasing") or 0)
    return row | {"code": text, "messages": [*prompt, row["messages"][-1]]}


def find_blank(rows: Rows, codec: Codec) -> str:
    """Return a code that says nothing of anybody: the median symbol at every place, or the first row's code."""
    values = _stack_codes(rows, codec)
    if values is not None:
        middle = np.median(values, axis=0).astype(values.dtype)
        if (text := _write_code(middle, codec)) is not None:
            return text
    return str(rows[0]["code"])


def mix_codes(rows: Rows, codec: Codec, seed: int) -> list[str] | None:
    """Return a code per row, each symbol from another trial of the same person; None if the codec forbids it."""
    values = _stack_codes(rows, codec)
    if values is None:
        return None
    rng = make_rng(seed, "mixed codes")
    subjects = np.array([row["subject"] for row in rows])
    mixed = values.copy()
    for subject in sorted(set(subjects.tolist())):
        members = np.flatnonzero(subjects == subject)
        flat = values[members].reshape(len(members), -1)
        mixed[members] = rng.permuted(flat, axis=0).reshape(values[members].shape)
    texts = [_write_code(value, codec) for value in mixed]
    return None if any(text is None for text in texts) else [str(text) for text in texts]


def _stack_codes(rows: Rows, codec: Codec) -> np.ndarray | None:
    values = [codec.from_text(row["code"]).values for row in rows]
    return np.stack(values) if len({value.shape for value in values}) == 1 else None


def _write_code(values: np.ndarray, codec: Codec) -> str | None:
    """Return the text of made-up symbols, None where the codec would not write them."""
    try:
        text = codec.to_text(Code(codec.name, values))
        codec.from_text(text)
    except (InputError, ValueError, IndexError):
        return None
    return text


def _answer_person(rows: Rows, fitted: Rows) -> np.ndarray:
    labels = [EMOTIONS.index(row["emotion"]) for row in fitted]
    if len(set(labels)) == 1:
        return np.eye(len(EMOTIONS))[labels[:1] * len(rows)]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(np.array([_describe_person(row) for row in fitted]), labels)
    return np.eye(len(EMOTIONS))[model.predict(np.array([_describe_person(row) for row in rows]))]


def _describe_person(row: dict[str, Any]) -> list[float]:
    age, cohort, rate = row.get("age"), row.get("cohort"), row.get("device_sfreq_hz")
    numbers = [float(age or 0), float(age is None), float(cohort or 0), float(rate or 0)]
    return [*numbers, float(row.get("sex") == "F"), float(row.get("sex") == "M")]
