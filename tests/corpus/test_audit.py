"""Planted leaks of every kind are refused, and clean corpora are not."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataset_builder.audit import CHECKS, Case, audit_corpus, refuse
from dataset_builder.audit.fields import PROMPT_COLUMNS
from dataset_builder.audit.words import find_label_word
from dataset_builder.corpus import CorpusRecipe, build_corpus
from dataset_builder.errors import AuditError, InputError
from dataset_builder.prompts import LANGUAGES, STYLES
from dataset_builder.prompts.base import MAX_PHRASINGS
from dataset_builder.recipe import validate
from dataset_builder.seeds import make_rng
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.splits import SplitConfig, clip_fold, plan_splits
from dataset_builder.types import EMOTIONS, VALENCE, Code

N_PLACES = 40
CLIP_EMOTIONS = {clip.number: clip.label for clip in CLIPS}
RANGES = {"protocol": "ranges", "train": [0, 5], "validation": [6, 7], "test": [8, 9]}
PROTOCOLS: list[dict[str, Any]] = [
    RANGES,
    {"protocol": "10-fold", "fold": 3},
    {"protocol": "leave-one-subject-out", "fold": 9},
    {"protocol": "unseen-clips", "held_out_fold": 1},
    RANGES | {"protocol": "unseen-subjects-and-clips", "held_out_fold": 2},
    RANGES | {"protocol": "few-shot", "calibration_trials": 4},
]
Rows = list[dict[str, Any]]


class DigitCodec:
    """What the audit uses of a codec, with a code of plain digits, so that one can be planted."""

    name = "digits"

    def to_text(self, code: Code) -> str:
        return "".join(map(str, code.values))

    def from_text(self, text: str) -> Code:
        if not text.isdecimal():
            raise InputError("code: expected digits")
        return Code(codec=self.name, values=np.array([int(digit) for digit in text]))


class PlainStyle:
    """What the audit uses of a style."""

    def parse_answer(self, text: str) -> SimpleNamespace:
        try:
            return SimpleNamespace(**json.loads(text))
        except ValueError:
            raise InputError("answer: not valid JSON") from None


CODEC: Any = DigitCodec()
STYLE: Any = PlainStyle()
GREETINGS = ("Person", "About the person", "Who")


def render(row: dict[str, Any]) -> list[dict[str, str]]:
    code = CODEC.to_text(CODEC.from_text(row["code"]))
    told = {name: row[name] for name in ("age", "sex", "device_sfreq_hz", "channels", "facial") if row[name] != "{}"}
    system = f"{GREETINGS[row['phrasing']]}, then digits. Say one of {', '.join(EMOTIONS)}."
    user = f"{GREETINGS[row['phrasing']]}: {json.dumps(told)}\nEEG:\n{code}"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def write_turns(row: dict[str, Any]) -> None:
    """Give a row the turns that belong to its columns."""
    answer = json.dumps({"emotion": row["emotion"], "assessment": f"It may be {row['emotion']}.", "suggestions": []})
    row["messages"] = [*render(row), {"role": "assistant", "content": answer}]


def make_rows(seed: int = 0, n_subjects: int = 10, levels: int = 10) -> Rows:
    rng = make_rng(seed, "audit rows")
    rows = []
    for number in range(n_subjects):
        ranks = rng.permutation(len(CLIP_EMOTIONS)) + 1
        for (clip, emotion), rank in zip(CLIP_EMOTIONS.items(), ranks, strict=True):
            row = {
                "row_id": f"test-sub{number:03d}-clip{clip:02d}",
                "source": "recordings",
                "subject": f"sub{number:03d}",
                "clip": clip,
                "clip_fold": clip_fold(clip, CLIP_EMOTIONS),
                "rank": int(rank),
                "emotion": emotion,
                "label": EMOTIONS.index(emotion),
                "valence": VALENCE[emotion],
                "age": 20 + number,
                "sex": "FM"[number % 2],
                "device_sfreq_hz": 250.0,
                "channels": "Fp1 Fp2 Cz",
                "facial": "{}",
                "code": "".join(map(str, rng.integers(0, levels, N_PLACES))),
                "language": "en",
                "phrasing": int(rng.integers(len(GREETINGS))),
            }
            write_turns(row)
            rows.append(row)
    return rows


def audit(rows: Rows, split: dict[str, Any] = RANGES, moved: dict[str, str] | None = None, **changes: Any) -> Any:
    """Audit rows under a protocol; `moved` puts rows into another split than the plan does."""
    plan = plan_splits([row["subject"] for row in rows], validate(SplitConfig, split, where="test"))
    plan = replace(plan, **changes.pop("plan", {}))
    tables: dict[str, Rows] = {name: [] for name in plan.splits}
    for row in rows:
        name = plan.assign(row["subject"], row["clip"], row["clip_fold"], row["rank"])
        if name := (moved or {}).get(row["row_id"], name):
            tables[name].append(row)
    digests = {row["row_id"]: hashlib.sha256(row["row_id"].encode()).hexdigest() for row in rows}
    schema = pa.Table.from_pylist(rows).schema
    return audit_corpus(
        {name: pa.Table.from_pylist(found, schema=schema) for name, found in tables.items()},
        plan,
        digests | changes.get("digests", {}),
        render,
        STYLE,
        CODEC,
    )


def line(check: str, finding: str) -> str:
    """Return the pattern of one line that names the check and the finding."""
    return f"^audit, {check}: .*{finding}[^\\n]*$"


@pytest.mark.parametrize("split", PROTOCOLS, ids=lambda split: split["protocol"])
@pytest.mark.parametrize("seed", range(3))
def test_clean_corpora_pass_every_check(split: dict[str, Any], seed: int) -> None:
    found = audit(make_rows(seed), split)
    assert set(found["checks"]) == set(CHECKS)
    assert found["protocol"] == split["protocol"]
    assert found["rows"] == found["checks"]["row ids"] > 0


@pytest.mark.parametrize("n_subjects", [3, 4])
@pytest.mark.parametrize("levels", [2, 3])
def test_small_corpora_of_coarse_codes_pass(n_subjects: int, levels: int) -> None:
    small = {"protocol": "leave-one-subject-out", "fold": 0}
    assert audit(make_rows(7, n_subjects, levels), small)["rows"] == 28 * n_subjects


@pytest.mark.parametrize("levels", [2, 3])
def test_coarse_codes_whose_places_rise_and_fall_together_pass(levels: int) -> None:
    """Among thousands of pairs some codes are equal, and nobody copied them."""
    rows, rng = make_rows(), make_rng(0, "together")
    for row in rows:
        common = rng.normal(0, 2) + rng.normal(0, 1, N_PLACES)
        row["code"] = "".join(map(str, np.clip(np.round(common + (levels - 1) / 2), 0, levels - 1).astype(int)))
        write_turns(row)
    assert len({row["code"] for row in rows}) < len(rows)
    assert audit(rows)["checks"]["similar codes"] == 0, "such codes cannot be judged, and the manifest says so"


def test_facial_features_that_follow_the_feeling_loosely_pass() -> None:
    rows, rng = make_rows(), make_rng(0, "smile")
    for row in rows:
        smile = 0.3 * (row["valence"] == "positive") + rng.normal(0.3, 0.2)
        row["facial"] = json.dumps({"AU12": round(float(smile), 2), "AU04": int(rng.integers(2))})
        write_turns(row)
    assert audit(rows)["checks"]["facial features"] == len(rows)


def test_a_row_id_twice_is_refused() -> None:
    rows = make_rows()
    rows[5]["row_id"] = rows[4]["row_id"]
    with pytest.raises(AuditError, match=line("row ids", "test-sub000-clip05")):
        audit(rows)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_person_in_train_and_elsewhere_is_refused(split: str) -> None:
    with pytest.raises(AuditError, match=line("subjects", f"train and {split} share a subject, ranges forbids it")):
        audit(make_rows(), moved={"test-sub000-clip01": split})


def test_a_person_in_validation_and_test_is_refused_even_where_people_are_shared() -> None:
    rows = make_rows()
    held_out = next(row for row in rows if row["subject"] == "sub001" and row["clip_fold"] == 1)
    with pytest.raises(AuditError, match=line("subjects", "validation and test")):
        audit(rows, {"protocol": "unseen-clips", "held_out_fold": 1}, moved={held_out["row_id"]: "validation"})


@pytest.mark.parametrize("split", [PROTOCOLS[3], PROTOCOLS[4]], ids=lambda split: split["protocol"])
def test_a_clip_in_train_and_elsewhere_is_refused(split: dict[str, Any]) -> None:
    rows = make_rows()
    fold = split["held_out_fold"]
    held_out = next(row for row in rows if row["subject"] == "sub002" and row["clip_fold"] == fold)
    with pytest.raises(AuditError, match=line("clips", "train and (validation|test) share a clip")):
        audit(rows, split, moved={held_out["row_id"]: "train"})


def test_a_calibration_trial_among_the_tested_ones_is_refused() -> None:
    rows = make_rows()
    first = next(row["row_id"] for row in rows if row["subject"] == "sub009" and row["rank"] == 1)
    with pytest.raises(AuditError, match=line("protocol", "not in the split that few-shot gives them")):
        audit(rows, PROTOCOLS[5], moved={first: "test"})


def test_a_system_turn_that_depends_on_the_row_is_refused() -> None:
    rows = make_rows()
    rows[30]["messages"][0]["content"] += " Look closely."
    with pytest.raises(AuditError, match=line("system turns", rows[30]["row_id"])):
        audit(rows)


def test_a_missing_turn_is_refused() -> None:
    rows = make_rows()
    del rows[3]["messages"][0]
    with pytest.raises(AuditError, match=line("turns", rows[3]["row_id"])):
        audit(rows)


LABEL_TEXTS = [*EMOTIONS, "Angry", "DISGUSTED", "happy_prob 0.9", "a positive face", "valence", "中性", "愤怒", "积极"]
FILM_TEXTS = ["Forrest Gump", "the shining", "阿甘正传", "clip 7", "Clip_07", "video no. 12", "trial seven", "第 7 段"]


@pytest.mark.parametrize("text", LABEL_TEXTS + FILM_TEXTS + ["视频：3"])
def test_label_text_in_a_user_turn_is_refused(text: str) -> None:
    rows = make_rows()
    rows[11]["messages"][1]["content"] += f"\n{text}."
    with pytest.raises(AuditError, match=line("label words", rows[11]["row_id"])):
        audit(rows)


@pytest.mark.parametrize(
    "text",
    [
        "Enjoyment",
        "sadhu",
        "Attendered",
        "of a film clip",
        "clipped 3",
        "retrial 4",
        "AU12 0.31",
        "Fz Cz Pz",
        "性别：女",
    ],
)
def test_words_that_only_look_like_labels_pass(text: str) -> None:
    assert find_label_word(text) is None


@pytest.mark.parametrize("word", sorted({*EMOTIONS, *VALENCE.values()}))
def test_every_label_of_the_project_is_known_to_the_audit(word: str) -> None:
    assert find_label_word(f"Mood: {word.upper()}!") is not None


def test_a_word_that_the_letters_of_a_code_form_is_no_leak() -> None:
    row = make_rows()[0] | {"code": "s a d"}
    row["messages"] = [{"role": "user", "content": "EEG:\nsad"}]
    assert find_label_word(row["messages"][0]["content"]) == "sad"
    row |= {"code": "sad"}
    case = Case({"train": pa.Table.from_pylist([row])}, None, {}, render, STYLE, CODEC)  # type: ignore[arg-type]
    assert CHECKS["label words"](case) == 1


@pytest.mark.parametrize("extra", ["Hint: 3", "Mean rating: 6.1"])
def test_a_prompt_with_more_than_its_columns_is_refused(extra: str) -> None:
    rows = make_rows()
    rows[12]["messages"][1]["content"] += f"\n{extra}"
    with pytest.raises(AuditError, match=line("rendering", rows[12]["row_id"])):
        audit(rows)


def test_a_prompt_is_rendered_again_from_label_free_columns_only() -> None:
    assert not {"emotion", "label", "valence", "clip", "clip_fold", "rank", "row_id", "subject"} & set(PROMPT_COLUMNS)
    assert not any(name.startswith("rating") for name in PROMPT_COLUMNS)


def test_facial_features_without_a_users_file_are_refused() -> None:
    rows = make_rows()
    rows[0] |= {"source": "faced", "facial": '{"AU04": 0.1}'}
    write_turns(rows[0])
    with pytest.raises(AuditError, match=line("facial features", "no file states them: test-sub000-clip01")):
        audit(rows)


def leak_value(row: dict[str, Any]) -> None:
    row["facial"] = json.dumps({"AU12": row["label"] / 10})


def leak_value_with_noise(row: dict[str, Any]) -> None:
    row["facial"] = json.dumps({"AU12": row["label"] + row["rank"] / 1000})


def leak_valence(row: dict[str, Any]) -> None:
    row["facial"] = json.dumps({"AU12": float(ord(row["valence"][2])), "AU04": row["rank"] / 7})


def leak_with_a_key_of_each_persons_own(row: dict[str, Any]) -> None:
    row["facial"] = json.dumps({"AU12": float((row["label"] + row["age"]) % 9)})


def leak_almost_always(row: dict[str, Any]) -> None:
    row["facial"] = json.dumps({"AU12": 99.0 if row["clip"] == 14 else float(row["label"])})


def leak_by_rate(row: dict[str, Any]) -> None:
    row["device_sfreq_hz"] = 250.0 + row["label"]


def leak_by_channels(row: dict[str, Any]) -> None:
    row["channels"] = " ".join("Fp1 Fp2 Fz Cz Pz Oz O1 O2 F3 F4".split()[: row["label"] + 1])


def leak_by_wording(row: dict[str, Any]) -> None:
    row["phrasing"] = {"negative": 0, "neutral": 1, "positive": 2}[row["valence"]]


def leak_by_age(row: dict[str, Any]) -> None:
    row["age"] += 30 * (row["label"] > 3)
    row["sex"] = "FM"[row["label"] == 4]


@pytest.mark.parametrize(
    ("leak", "field"),
    [
        (leak_value, "facial feature AU12"),
        (leak_value_with_noise, "facial feature AU12"),
        (leak_valence, "facial feature AU12 gives the valence"),
        (leak_with_a_key_of_each_persons_own, "facial feature AU12"),
        (leak_almost_always, "facial feature AU12"),
        (leak_by_rate, "device_sfreq_hz"),
        (leak_by_channels, "channels"),
        (leak_by_wording, "phrasing gives the valence"),
        (leak_by_age, "gives the valence"),
    ],
)
def test_a_field_that_gives_the_label_away_is_refused(leak: Callable[[dict[str, Any]], None], field: str) -> None:
    rows = make_rows()
    for row in rows:
        leak(row)
        write_turns(row)
    with pytest.raises(AuditError, match=line("label-dependent fields", field)):
        audit(rows)


@pytest.mark.parametrize("place", [0, 17, N_PLACES - 1])
def test_a_place_of_the_code_that_gives_the_label_away_is_refused(place: int) -> None:
    rows = make_rows()
    for row in rows:
        row["code"] = row["code"][:place] + str(row["label"]) + row["code"][place + 1 :]
        write_turns(row)
    with pytest.raises(
        AuditError, match=line("label-dependent code", f"place {place + 1} of the code gives the emotion away")
    ):
        audit(rows)


@pytest.mark.parametrize("code", ["12a4", ""])
def test_a_code_that_holds_more_than_a_code_is_refused(code: str) -> None:
    rows = make_rows()
    rows[2]["code"] = code
    with pytest.raises(AuditError, match=rows[2]["row_id"]):
        audit(rows)


@pytest.mark.parametrize("other", ["test-sub001-clip01", "test-sub006-clip20"])
def test_equal_raw_data_of_two_people_are_refused(other: str) -> None:
    rows = make_rows()
    copied = hashlib.sha256(b"test-sub000-clip01").hexdigest()
    with pytest.raises(AuditError, match=line("equal recordings", f"test-sub000-clip01, {other}")):
        audit(rows, digests={other: copied})


def test_equal_raw_data_of_one_person_across_splits_are_refused() -> None:
    rows = make_rows()
    one, two = (next(r for r in rows if r["subject"] == "sub003" and r["clip_fold"] == fold) for fold in (0, 1))
    with pytest.raises(AuditError, match=line("equal recordings", "different people or splits")):
        audit(rows, PROTOCOLS[3], digests=dict.fromkeys([one["row_id"], two["row_id"]], "0" * 64))


@pytest.mark.parametrize(("one", "two"), [(0, 6 * 28), (30, 9 * 28 + 3), (7 * 28, 8 * 28)])
def test_nearly_equal_codes_across_splits_are_refused(one: int, two: int) -> None:
    rows = make_rows()
    changed = str((int(rows[one]["code"][5]) + 1) % 10)
    rows[two]["code"] = rows[one]["code"][:5] + changed + rows[one]["code"][6:]
    write_turns(rows[two])
    with pytest.raises(AuditError, match=line("similar codes", f"{rows[one]['row_id']}, {rows[two]['row_id']}")):
        audit(rows)


def test_a_whole_person_under_another_name_is_refused() -> None:
    rows = make_rows()
    for number in range(28):
        rows[9 * 28 + number]["code"] = rows[number]["code"]
        write_turns(rows[9 * 28 + number])
    with pytest.raises(AuditError, match=line("similar codes", "28 pairs of train and test")):
        audit(rows)


def test_nearly_equal_codes_within_train_pass() -> None:
    rows = make_rows()
    rows[1]["code"] = rows[0]["code"]
    write_turns(rows[1])
    assert audit(rows)["rows"] == len(rows)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"emotion": "joy"}, "contradict each other"),
        ({"label": 7}, "contradict each other"),
        ({"valence": "neutral"}, "contradict each other"),
        ({"emotion": "joy", "label": EMOTIONS.index("joy"), "valence": "positive"}, "an answer says anger"),
    ],
)
def test_an_answer_that_is_not_the_rows_label_is_refused(change: dict[str, Any], finding: str) -> None:
    rows = make_rows()
    rows[1] |= change
    with pytest.raises(AuditError, match=line("answers", finding)):
        audit(rows)


def test_an_answer_that_does_not_parse_is_refused() -> None:
    rows = make_rows()
    rows[1]["messages"][2]["content"] = "Anger, I think."
    with pytest.raises(AuditError, match=line("answers", "does not parse")):
        audit(rows)


def test_a_denied_word_in_an_answer_is_refused() -> None:
    rows = make_rows()
    answer = json.loads(rows[1]["messages"][2]["content"])
    answer["assessment"] += " Take 20 mg fluoxetine."
    rows[1]["messages"][2]["content"] = json.dumps(answer)
    with pytest.raises(AuditError, match=line("denied words", rows[1]["row_id"])):
        audit(rows)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "cohort"
    write_cohort(SynthRecipe(subjects=6, seed=3, signals=0), folder)
    return folder


def make_recipe(**changes: object) -> CorpusRecipe:
    split = {"protocol": "ranges", "train": [0, 2], "validation": [3, 3], "test": [4, 5]}
    values = {"name": "test-qa", "version": 1, "codec": {"name": "band_power"}, "split": split}
    return validate(CorpusRecipe, values | changes, where="test")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("style", STYLES)
def test_every_style_in_every_language_passes(raw: Path, tmp_path: Path, style: str, language: str) -> None:
    prompt = {"style": style, "language": language, "phrasings": MAX_PHRASINGS}
    found = build_corpus(make_recipe(prompt=prompt), raw, tmp_path / "corpus").facts["audit"]
    assert set(found["checks"]) == set(CHECKS)
    assert found["checks"]["answers"] == 6 * 28


def test_a_recording_under_two_names_stops_the_build_and_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(raw, tmp_path / "cohort"))
    shutil.copyfile(own / "EEG_Features/DE/sub001.pkl.pkl", own / "EEG_Features/DE/sub005.pkl.pkl")
    with pytest.raises(AuditError, match=line("equal recordings", "faced-sub001-clip01, faced-sub005-clip01")):
        build_corpus(make_recipe(), own, tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]


def test_long_lists_of_rows_are_cut() -> None:
    with pytest.raises(AuditError, match=r"^audit, x: y: a, b, c and 2 more$"):
        refuse("x", "y", list("abcde"))
    assert refuse("x", "y", []) is None  # type: ignore[func-returns-value]
