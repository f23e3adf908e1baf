"""Controls take away what they say, and the verdict follows the interval."""

from dataclasses import replace

import numpy as np
import pytest
from factories import make_corpus

from dataset_builder.corpus import load_codec, load_split
from dataset_builder.prompts import load_style
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.controls import (
    SAME_CLIP,
    find_blank,
    find_donors,
    list_asked_controls,
    list_plain_controls,
    mix_codes,
    predict_from_person,
    put_code,
    score_once,
)
from model_recipes.evaluation.metrics import balanced_accuracy
from model_recipes.evaluation.trials import Trials, measure_whole_trials
from model_recipes.evaluation.verdict import compare_controls, count_answers, judge

WHERE = {"split": "test", "protocol": "unseen subjects", "reader": "someone"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("controls") / "corpus", n_train=8, n_clips=18)


@pytest.fixture(scope="module")
def setting(corpus):
    return load_split(corpus, "train").to_list(), load_codec(corpus), load_style(corpus)


def answer(rows, share_right, seed=0):
    """Return scores of a made-up reader that is right in a share of the trials, else one label off."""
    rng = np.random.default_rng(seed)
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    return np.eye(9)[np.where(rng.random(len(rows)) < share_right, truth, (truth + 1) % 9)]


def verdict_of(rows, scores):
    trials = np.arange(len(rows))
    controls = list_plain_controls(rows, scores, None, trials)
    comparisons, metrics = compare_controls(rows, scores, controls, 0, WHERE)
    return judge(comparisons, WHERE, unseen_clips=False), comparisons, metrics


def test_who_is_right_reads_and_who_guesses_does_not(setting):
    rows, _, _ = setting
    found, comparisons, metrics = verdict_of(rows, answer(rows, 0.7))
    assert found["reads"] == "film"
    assert found["text"].startswith(
        "reads which film was shown, not shown to read anything of the person beyond the film: balanced accuracy +0."
    )
    assert "+0.000 [" in found["text"].rpartition(" against EEG of another subject, same clip")[0][-30:]
    assert {c.control for c in comparisons if c.label_free} == {
        "chance",
        "most common label",
        "demographics only",
        "permuted labels",
        "EEG of another trial",
    }
    advantage = next(m for m in metrics if m.name == "advantage")
    assert advantage.interval[0] > 0.3
    rng = np.random.default_rng(1)
    guessed, *_ = verdict_of(rows, np.eye(9)[rng.integers(9, size=len(rows))])
    assert guessed["reads"] == "nothing"
    constant, *_ = verdict_of(rows, np.eye(9)[np.zeros(len(rows), dtype=int)])
    assert constant["reads"] == "nothing"
    assert constant["text"].startswith("not shown to read the EEG")


def test_few_people_are_no_proof(setting):
    rows, _, _ = setting
    few = [row for row in rows if row["subject"] in ("sub000", "sub001", "sub002", "sub003")]
    found, *_ = verdict_of(few, answer(few, 1.0))
    assert found["reads"] == "nothing"
    assert "fewer than 5 people" in found["text"]


def test_an_offset_that_belongs_to_the_person_is_caught(setting):
    """A reader that knows nothing but who the person is scores like its own answers on another trial."""
    rows, _, _ = setting
    scores = np.eye(9)[[int(row["subject"][3:]) % 9 for row in rows]]
    _, comparisons, _ = verdict_of(rows, scores)
    other = next(c for c in comparisons if c.control == "EEG of another trial")
    assert other.difference == pytest.approx(0, abs=1e-12)


def test_values_of_the_expected_controls(setting):
    rows, _, _ = setting
    scores = answer(rows, 0.5)
    _, comparisons, _ = verdict_of(rows, scores)
    found = {c.control: c for c in comparisons}
    assert found["chance"].other == pytest.approx(1 / 9)
    assert found["most common label"].other == pytest.approx(1 / 9)
    rng = np.random.default_rng(0)
    subjects = np.array([row["subject"] for row in rows])
    drawn = []
    for _ in range(200):
        order = np.arange(len(rows))
        for subject in set(subjects.tolist()):
            members = np.flatnonzero(subjects == subject)
            order[members] = rng.permutation(members)
        counts = count_answers(rows, np.arange(len(rows)), scores[order])
        drawn.append(balanced_accuracy(counts.sum(axis=0)))
    assert found["permuted labels"].other == pytest.approx(np.mean(drawn), abs=0.01)


def test_another_person_at_the_same_clip_keeps_a_score_that_the_clip_explains(setting):
    rows, _, _ = setting
    scores = np.eye(9)[[(row["clip"] * 5) % 9 for row in rows]]  # answers follow from the clip alone
    found, comparisons, _ = verdict_of(rows, scores)
    same = next(c for c in comparisons if c.control == SAME_CLIP)
    assert same.difference == 0
    assert not same.label_free
    perfect, comparisons, _ = verdict_of(rows, answer(rows, 1.0))
    assert "+0.889 [+0.889, +0.889] above chance and +0.000 [+0.000, +0.000] above what the EEG" in perfect["clips"]
    unseen = judge(comparisons, WHERE, unseen_clips=True)
    assert "kept from training" in unseen["clips"]
    assert unseen["text"].startswith("reads the label of a new film, not shown to read anything of the person")


def test_who_tells_people_apart_at_one_clip_reads_the_eeg(setting):
    """With labels that are each person's own, the same clip has no answer for all, and the last verdict is earned."""
    rows = [row | {"emotion": EMOTIONS[(row["clip"] + int(row["subject"][3:])) % 9]} for row in setting[0]]
    found, comparisons, _ = verdict_of(rows, answer(rows, 0.9))
    assert found["reads"] == "eeg"
    assert found["text"].startswith("reads the EEG: balanced accuracy +0.")
    alone = [comparison for comparison in comparisons if comparison.control != SAME_CLIP]
    unknown = judge(alone, WHERE, unseen_clips=False)
    assert unknown["reads"] == "film"
    assert unknown["text"].startswith("depends on the EEG, not compared with EEG of another subject, same clip: ")
    few = [replace(c, n_subjects=4) if c.control == SAME_CLIP else c for c in comparisons]
    assert judge(few, WHERE, unseen_clips=False)["reads"] == "film"


def test_donors_are_others_of_the_group():
    groups = ["a", "a", "a", "b", "c", "c"]
    donors = find_donors(groups)
    assert donors[3] == -1
    for index in (0, 1, 2, 4, 5):
        assert donors[index] != index
        assert groups[donors[index]] == groups[index]
    assert sorted(donors[:3]) == [0, 1, 2]
    people = ["p", "p", "q", "p", "p", "p"]
    donors = find_donors(groups, people)
    assert donors.tolist()[4:] == [-1, -1], "the same person is no other"
    assert all(people[d] != people[i] for i, d in enumerate(donors) if d >= 0)


def cut_rows(rows):
    """Return three rows per row, as those of segments: same labels and trial, other seconds."""
    return [
        row | {"row_id": f"{row['row_id']}-s{part}", "trial_id": row["row_id"], "start_s": 10.0 * part}
        for row in rows
        for part in range(3)
    ]


def test_segments_of_a_trial_do_not_stand_in_for_each_other(setting):
    """Their label is the same, so a reader that knows the trial by heart would seem to need no EEG of it."""
    rows = cut_rows(setting[0])
    trials = np.arange(len(rows))
    scores = np.eye(9)[[row["clip"] % 9 for row in rows]]
    found = {c.name: c for c in list_plain_controls(rows, scores, None, trials)}
    donors = find_donors([row["subject"] for row in rows], [row["trial_id"] for row in rows])
    assert (donors >= 0).all()
    assert all(rows[donor]["trial_id"] != row["trial_id"] for donor, row in zip(donors, rows, strict=True))
    np.testing.assert_array_equal(found["EEG of another trial"].answers, scores[donors])
    places = [f"{row['clip']} {row['start_s']:g}" for row in rows]
    same = find_donors(places, [row["subject"] for row in rows])
    np.testing.assert_array_equal(found[SAME_CLIP].answers, scores[same[same >= 0]])


def test_segments_are_added_up_to_trials(setting):
    rows = cut_rows(setting[0])
    truth = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    scores = np.full((len(rows), 9), 0.05)
    scores[np.arange(len(rows)), truth] = 0.6
    wrong = np.arange(len(rows)) % 3 == 0  # one segment of three is unsurely wrong
    scores[wrong] = 0.08
    scores[wrong, (truth[wrong] + 1) % 9] = 0.36
    trials = Trials(rows, "test", {}, *setting[1:])
    found = {m.name: m for m in measure_whole_trials(trials, scores, np.arange(len(rows)), 0, WHERE)}
    assert found["accuracy"].value == 1
    assert found["accuracy"].n == len(rows) // 3
    assert found["accuracy"].reader == "someone over whole trials"
    whole = Trials(setting[0], "test", {}, *setting[1:])
    assert measure_whole_trials(whole, scores[::3], np.arange(len(setting[0])), 0, WHERE) == []


def test_a_code_is_exchanged_and_nothing_else(setting):
    rows, codec, style = setting
    same = put_code(rows[0], rows[0]["code"], codec, style)
    assert same["messages"] == rows[0]["messages"]
    other = put_code(rows[0], rows[1]["code"], codec, style)
    assert rows[1]["code"] in other["messages"][1]["content"]
    assert rows[0]["code"] not in other["messages"][1]["content"]


def test_a_blank_code_is_the_same_for_all_and_a_mixed_one_belongs_to_nobody(setting):
    rows, codec, _ = setting
    blank = find_blank(rows, codec)
    values = np.stack([codec.from_text(row["code"]).values for row in rows])
    np.testing.assert_array_equal(codec.from_text(blank).values, np.median(values, axis=0).astype(values.dtype))
    mixed = mix_codes(rows, codec, seed=0)
    assert mixed == mix_codes(rows, codec, seed=0)
    assert not set(mixed) & {row["code"] for row in rows}
    mine = [i for i, row in enumerate(rows) if row["subject"] == rows[0]["subject"]]
    shuffled = np.stack([codec.from_text(mixed[i]).values for i in mine])
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(values[mine], axis=0))


class Echo:
    """A reader that counts what it is asked and answers from the code's own probe."""

    name = "echo"

    def __init__(self):
        self.asked = []

    def score(self, rows):
        self.asked += [row["messages"][1]["content"] for row in rows]
        return np.eye(9)[[len(row["messages"][1]["content"]) % 9 for row in rows]]


def test_equal_prompts_are_asked_once(setting):
    rows, codec, style = setting
    reader = Echo()
    blank = find_blank(rows, codec)
    made = [put_code(row, blank, codec, style) for row in rows]
    scores = score_once(reader, made)
    assert len(reader.asked) == len({row["messages"][1]["content"] for row in made}) < len(rows)
    np.testing.assert_array_equal(scores, Echo().score(made))


def test_full_asks_more_than_basic(setting):
    rows, codec, style = setting
    trials = np.arange(0, len(rows), 2)
    names = [
        [c.name for c in list_asked_controls(Echo(), rows, codec, style, trials, noise, 0, full)]
        for noise, full in ((None, False), (None, True), (rows, True))
    ]
    assert names[0] == ["no EEG"]
    assert names[1] == ["no EEG", "noise in the code", "code of another trial"]
    assert names[2] == ["no EEG", "noise of the same spectrum", "code of another trial"]


def test_demographics_tell_nothing_where_all_saw_the_same(setting):
    rows, _, _ = setting
    answers = predict_from_person(rows, None)
    assert answers.sum(axis=1).tolist() == [1] * len(rows)
    counts = count_answers(rows, np.arange(len(rows)), answers)
    assert balanced_accuracy(counts.sum(axis=0)) == pytest.approx(1 / 9, abs=0.03)
    planted = [row | {"age": 20 + EMOTIONS.index(row["emotion"])} for row in rows]
    told = predict_from_person(planted, planted)
    assert balanced_accuracy(count_answers(planted, np.arange(len(rows)), told).sum(axis=0)) > 0.7
