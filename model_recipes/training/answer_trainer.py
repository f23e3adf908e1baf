"""TRL's trainer with one change: the tokens that name the emotion can weigh more than the rest of the answer."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer


class AnswerTrainer(SFTTrainer):
    """Train answers whose label has a weight of its own.

    An answer holds about sixty tokens, one to three of which name the emotion; the others follow from it. With equal
    weights the label is a few per cent of the loss.

    Parameters
    ----------
    label_weight : float
        Weight of the label tokens; all others weigh 1.
    n_prefix : int
        Tokens of the answer before its label.
    **options
        As for `trl.SFTTrainer`; data sets hold ``input_ids`` and ``labels``.
    """

    def __init__(self, *, label_weight: float, n_prefix: int, **options: Any) -> None:
        super().__init__(**options)
        self.label_weight, self.n_prefix = label_weight, n_prefix
        self.ends_label = find_quote_tokens(options["processing_class"])
        self._label_losses: list[Tensor] = []

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the sum of weighted token losses over the number of answer tokens (of all accumulated batches)."""
        labels = inputs["labels"][:, 1:]
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        losses = cross_entropy(outputs.logits[:, :-1].float().transpose(1, 2), labels, reduction="none")
        is_label = find_label_tokens(labels, self.n_prefix, self.ends_label.to(labels.device))
        if not model.training:
            told = (losses * is_label).sum(dim=1).detach()
            self._label_losses.append(self.accelerator.gather_for_metrics(told))
        weights = torch.where(is_label, self.label_weight, 1.0)
        count = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
        loss = (losses * weights).sum() / count
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The count is that of all processes, and their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Evaluate, and add ``eval_label_loss``: nats for the whole label, mean over rows."""
        self._label_losses = []
        metrics: dict[str, float] = super().evaluate(*args, **options)
        if self.accelerator.num_processes > 1:
            # accelerate marks what it evaluated as prepared; so marked, each process would train it for itself.
            self.model._is_accelerate_prepared = False
        metrics["eval_label_loss"] = torch.cat(self._label_losses).mean().item()
        return metrics

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Keep the trainer's log without its printing."""
        logs = {key: value for key, value in logs.items() if isinstance(value, int | float)}
        self.state.log_history.append(logs | {"step": self.state.global_step})


def find_quote_tokens(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return for each token whether its text begins with a double quote: the first of them after a label ends it.

    Returns
    -------
    Tensor of shape (vocab,), bool
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return torch.tensor([piece is not None and piece.startswith('"') for piece in pieces])


def find_label_tokens(labels: Tensor, n_prefix: int, ends_label: Tensor) -> Tensor:
    """Mark the tokens of the emotion's name.

    Parameters
    ----------
    labels : Tensor of shape (n, length), int64
        -100 outside the answer.
    n_prefix : int
        Tokens of the answer before its label.
    ends_label : Tensor of shape (vocab,), bool

    Returns
    -------
    Tensor of shape (n, length), bool
    """
    trained = labels != -100
    beyond_prefix = trained & (trained.cumsum(dim=1) > n_prefix)
    quotes = beyond_prefix & ends_label[labels.clamp_min(0)]
    return beyond_prefix & (quotes.cumsum(dim=1) == 0)
