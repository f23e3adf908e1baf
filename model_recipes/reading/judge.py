"""How a reader in training does on people whom it is not trained on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import Qwen2ForCausalLM

from dataset_builder.manifest import Metric
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.metrics import measure_answers
from model_recipes.reading.batches import Batch, BatchMaker
from model_recipes.reading.draws import Item
from model_recipes.reading.loss import measure_labels, score_first_tokens

UNSEEN_SUBJECTS = "unseen subjects"

#: Protocols by whether the clips were trained on.
_PROTOCOLS = {True: UNSEEN_SUBJECTS, False: "unseen subjects and clips"}

#: Rows per batch where nothing is trained.
_EVAL_BATCH = 64


class Judge:
    """Reads validation rows with the model as it is.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    maker : BatchMaker
        Without running answers.
    rows : list of dict
        May be empty; then nothing is measured.
    """

    def __init__(self, model: Qwen2ForCausalLM, maker: BatchMaker, rows: list[dict[str, Any]]) -> None:
        self.model, self.maker, self.rows = model, maker, rows

    def measure_loss(self, rows: Sequence[dict[str, Any]]) -> float:
        """Return the mean of nats that the intended emotion costs."""
        items = [self._make_item(row, row["emotion"]) for row in rows]
        return torch.cat([measure_labels(self.model, batch) for batch in self._batches(items)]).mean().item()

    def score(self, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        """Return nine probabilities per row, shape (n_rows, 9), float64."""
        if self.maker.parts_at_once:
            items = [self._make_item(row, row["emotion"]) for row in rows]
            logs = torch.cat([score_first_tokens(self.model, batch) for batch in self._batches(items)]).double()
        else:
            named = [[self._make_item(row, emotion) for row in rows] for emotion in EMOTIONS]
            found = [torch.cat([measure_labels(self.model, b) for b in self._batches(items)]) for items in named]
            logs = (-torch.stack(found, dim=1)).double()
        return logs.softmax(dim=-1).cpu().numpy()

    def measure(self, trained_clips: set[int | None], seed: int) -> list[Metric]:
        """Return the metrics of all rows, people and clips that were trained on apart from those that were not."""
        metrics: list[Metric] = []
        for seen, protocol in _PROTOCOLS.items():
            rows = [row for row in self.rows if (row["clip"] in trained_clips) == seen]
            if rows:
                emotions, subjects = ([row[key] for row in rows] for key in ("emotion", "subject"))
                told = {"split": "validation", "protocol": protocol, "reader": "language model"}
                metrics += measure_answers(self.score(rows), emotions, subjects, seed=seed, **told)
        return metrics

    def _make_item(self, row: dict[str, Any], emotion: str) -> Item:
        target = np.eye(len(EMOTIONS))[EMOTIONS.index(emotion)]
        return Item(row, self.maker.codec.from_text(row["code"]), target, emotion)

    def _batches(self, items: list[Item]) -> Iterator[Batch]:
        for start in range(0, len(items), _EVAL_BATCH):
            yield self.maker.make(items[start : start + _EVAL_BATCH], with_text=False).to(self.model.device)
