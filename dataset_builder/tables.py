"""The tables of a corpus: every person's codes as rows, each in its split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from dataset_builder.alphabets import Tokenizer, count_tokens
from dataset_builder.augment import AugmentConfig, copy_person
from dataset_builder.codecs import Features, Fitted
from dataset_builder.extract import Extraction, SubjectFacts
from dataset_builder.fitting import assign_trials
from dataset_builder.rows import SCHEMA, RowMaker
from dataset_builder.splits import SplitPlan

#: Row, and the split that it belongs to.
Placed = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class TableMaker:
    """Turns people into rows.

    Parameters
    ----------
    plan : SplitPlan
    folds : dict of int to int
        Fold of every clip.
    maker : RowMaker
    fitted : Fitted
    augment : AugmentConfig
    counter : Tokenizer or None
        Counts the tokens of each row.
    """

    plan: SplitPlan
    folds: dict[int, int]
    maker: RowMaker
    fitted: Fitted
    augment: AugmentConfig = AugmentConfig()
    counter: Tokenizer | None = None

    def make_tables(self, people: Mapping[str, Extraction]) -> tuple[dict[str, pa.Table], int]:
        """Return one table per split, and how many trials have no label or no split."""
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in self.plan.splits}
        unused = 0
        for extraction in tqdm(people.values(), desc="encode", unit="subject", disable=None):
            if extraction.facts.state == "used":
                unused += self._add_person(rows, extraction.facts, extraction.load())
        return {split: pa.Table.from_pylist(found, schema=SCHEMA) for split, found in rows.items()}, unused

    def _add_person(self, rows: dict[str, list[dict[str, Any]]], facts: SubjectFacts, features: Features) -> int:
        """Add the rows of a person, and return how many trials give none."""
        placed = list(self._place_rows(facts, features))
        for split, row in placed:
            rows[split].append(row)
        if any(split == "train" for split, _ in placed):
            for copy in range(1, self.augment.copies + 1):
                rows["train"] += self._copy_rows(facts, features, copy)
        return len(facts.trials) - len(placed)

    def _copy_rows(self, facts: SubjectFacts, features: Features, copy: int) -> list[dict[str, Any]]:
        """Return the rows of a changed copy; copies belong to training alone, and their ids end with their number."""
        changed, told = copy_person(features, facts, self.augment, self.maker.seed, copy)
        found = [row for split, row in self._place_rows(told, changed) if split == "train"]
        return [row | {"row_id": f"{row['row_id']}-copy{copy}"} for row in found]

    def _place_rows(self, facts: SubjectFacts, features: Features) -> Iterator[Placed]:
        codes = self.fitted.encode(facts.subject, features, [trial.clip for trial in facts.trials])
        splits = assign_trials(facts, self.plan, self.folds)
        for split, row in zip(splits, self.maker.make_rows(facts, codes, self.folds), strict=True):
            if row is None or split is None:
                continue
            if self.counter is not None:
                row["n_tokens"] = sum(count_tokens(self.counter, turn["content"]) for turn in row["messages"])
            yield split, row
