"""Rows: one trial as a chat with everything that is known of it, in columns."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataset_builder.codecs import Codec
from dataset_builder.extract import SubjectFacts, TrialFacts
from dataset_builder.prompts import PromptFacts, Style
from dataset_builder.seeds import derive_seed
from dataset_builder.splits import clip_fold
from dataset_builder.types import EMOTIONS, RATINGS, VALENCE, Code

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

#: Columns of every split. Plain Arrow types, so that pandas and pyarrow read them as well as `datasets`.
COLUMNS: dict[str, pa.DataType] = {
    "row_id": pa.string(),
    "messages": _MESSAGES,
    "source": pa.string(),
    "synthetic": pa.bool_(),
    "subject": pa.string(),
    "clip": pa.int16(),
    "clip_fold": pa.int8(),
    "rank": pa.int16(),
    "trial_id": pa.string(),
    "start_s": pa.float32(),
    "duration_s": pa.float32(),
    "emotion": pa.string(),
    "label": pa.int64(),
    "valence": pa.string(),
    "age": pa.int16(),
    "sex": pa.string(),
    "cohort": pa.int8(),
    "device_sfreq_hz": pa.float32(),
    "channels": pa.string(),
    "facial": pa.string(),
    "codec": pa.string(),
    "normalization": pa.string(),
    "calibration": pa.bool_(),
    "code": pa.string(),
    "n_values": pa.int32(),
    "n_tokens": pa.int32(),
    "style": pa.string(),
    "language": pa.string(),
    "phrasing": pa.int8(),
    **{f"rating_{name}": pa.float32() for name in RATINGS},
}


def _describe_feature(name: str, kind: pa.DataType) -> Any:
    """Return how `datasets` writes the type of a column; the words are those that its old and new versions know."""
    if name == "messages":
        return [{key: {"dtype": "string", "_type": "Value"} for key in ("role", "content")}]
    if name == "label":
        return {"names": list(EMOTIONS), "_type": "ClassLabel"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


#: The types as `datasets` writes them into Parquet: without this, `label` would be a plain number.
FEATURES: dict[str, Any] = {name: _describe_feature(name, kind) for name, kind in COLUMNS.items()}

SCHEMA = pa.schema(
    list(COLUMNS.items()), metadata={"huggingface": json.dumps({"info": {"features": FEATURES}}, sort_keys=True)}
)


@dataclass(frozen=True)
class RowMaker:
    """Turns codes into rows.

    Parameters
    ----------
    source : str
        Name of the source.
    codec : Codec
        Fitted.
    style : Style
    seed : int
        Decides which wording a row gets.
    """

    source: str
    codec: Codec
    style: Style
    seed: int

    def make_rows(
        self, facts: SubjectFacts, codes: list[Code], folds: Mapping[int, int | None]
    ) -> Iterator[dict[str, Any] | None]:
        """Yield one row of `SCHEMA` per trial; None for a trial whose emotion is unknown.

        Parameters
        ----------
        facts : SubjectFacts
        codes : list of Code
            One per trial.
        folds : mapping of int to (int or None)
            Fold of every clip, see `fold_clips`; None where it cannot be told.
        """
        for index, (trial, code) in enumerate(zip(facts.trials, codes, strict=True)):
            yield None if trial.emotion is None else self._make_row(facts, trial, code, index, folds)

    def list_digests(self, facts: SubjectFacts) -> Iterator[tuple[str, str]]:
        """Yield the row id of each trial with the digest of its data."""
        for index, trial in enumerate(facts.trials):
            yield self._row_id(facts, trial, index), trial.digest

    def render_prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """Render system and user turn again, from a row's code and its columns that do not follow from the label."""
        facial = json.loads(row["facial"]) if row["facial"] else None
        facts = PromptFacts(row["age"], row["sex"], facial, row["device_sfreq_hz"], tuple(row["channels"].split()))
        return self.style.render_prompt(self.codec, self.codec.from_text(row["code"]), facts, row["phrasing"])

    def _make_row(
        self, facts: SubjectFacts, trial: TrialFacts, code: Code, index: int, folds: Mapping[int, int | None]
    ) -> dict[str, Any]:
        emotion = str(trial.emotion)
        row_id = self._row_id(facts, trial, index)
        row: dict[str, Any] = {
            "row_id": row_id,
            "source": self.source,
            "synthetic": facts.synthetic,
            "subject": facts.subject,
            "clip": trial.clip,
            "clip_fold": None if trial.clip is None else folds[trial.clip],
            "rank": trial.rank,
            "trial_id": self._trial_id(facts, trial, index),
            "start_s": trial.start_s or 0.0,
            "duration_s": trial.duration_s,
            "emotion": emotion,
            "label": EMOTIONS.index(emotion),
            "valence": VALENCE[emotion],
            "age": facts.age,
            "sex": facts.sex,
            "cohort": facts.cohort,
            "device_sfreq_hz": facts.device_sfreq_hz,
            "channels": " ".join(facts.channels),
            "facial": json.dumps(trial.facial, sort_keys=True) if trial.facial else None,
            "codec": self.codec.name,
            "normalization": self.codec.normalization,
            "calibration": trial.rank is not None and trial.rank <= self.codec.calibration_trials,
            "code": self.codec.to_text(code),
            "n_values": self.codec.n_values,
            "n_tokens": None,
            "style": self.style.config.style,
            "language": self.style.config.language,
            "phrasing": derive_seed(self.seed, "phrasing", row_id) % self.style.n_phrasings,
            **{f"rating_{name}": value for name, value in zip(RATINGS, trial.ratings, strict=True)},
        }
        told = PromptFacts(facts.age, facts.sex, trial.facial or None, facts.device_sfreq_hz, tuple(facts.channels))
        answer = {"role": "assistant", "content": self.style.render_answer(emotion, told, self.codec, code)}
        return row | {"messages": [*self.render_prompt(row), answer]}

    def _row_id(self, facts: SubjectFacts, trial: TrialFacts, index: int) -> str:
        """Name a row by its trial, and a segment of one by its first second."""
        segment = "" if trial.start_s is None else f"-s{trial.start_s:02.0f}"
        return self._trial_id(facts, trial, index) + segment

    def _trial_id(self, facts: SubjectFacts, trial: TrialFacts, index: int) -> str:
        """Name a trial by its clip; by its place as well where the clip is unknown or was shown more than once."""
        firsts = [place for place, other in enumerate(facts.trials) if not other.start_s]
        once = trial.clip is not None and sum(facts.trials[place].clip == trial.clip for place in firsts) == 1
        clip = "" if trial.clip is None else f"-clip{trial.clip:02d}"
        number = sum(place <= index for place in firsts)
        return f"{self.source}-{facts.subject}{clip}" + ("" if once else f"-trial{number:02d}")


def fold_clips(people: list[SubjectFacts]) -> dict[int, int]:
    """Return the fold of every clip that anybody saw, see `dataset_builder.splits.clip_fold`."""
    emotions = {trial.clip: trial.emotion for facts in people for trial in facts.trials if trial.clip and trial.emotion}
    return {clip: clip_fold(clip, emotions) for clip in emotions}
