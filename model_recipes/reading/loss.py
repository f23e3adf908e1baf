"""The three losses of a reader, and its nine probabilities, from hidden states that are computed once."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import DynamicCache, Qwen2ForCausalLM

from model_recipes.reading.batches import Batch


@dataclass(frozen=True)
class Losses:
    """Losses of a batch, nats.

    Parameters
    ----------
    label : Tensor
        Cross-entropy of the label against its target, mean over rows. It is taken over the whole vocabulary: among nine
        tokens alone, nothing would keep the model from writing a tenth.
    running : Tensor
        Mean cross-entropy at the code's letters against the target as far as it is known there; 0 without letters.
    text : Tensor
        Mean cross-entropy of the answer's other tokens; 0 for rows without an answer.
    """

    label: Tensor
    running: Tensor
    text: Tensor


def compute_losses(model: Qwen2ForCausalLM, batch: Batch) -> Losses:
    """Return the losses of a batch."""
    hidden = read_hidden(model, batch)
    head = model.get_output_embeddings()
    label = _measure_labels(head, hidden, batch).mean()
    return Losses(label, _measure_running(head, hidden, batch), _measure_text(head, hidden, batch))


@torch.no_grad()
def measure_labels(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Return the label loss of each row, shape (n,), nats."""
    return _measure_labels(model.get_output_embeddings(), read_hidden(model, batch), batch)


def read_hidden(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Return the last hidden states of `Batch.ids`, shape (n, length, hidden).

    What all rows share goes through the model once, with its gradient; its keys and values then stand before each row.
    Rows are filled up on the right, where causal attention never looks, so the result is that of reading whole rows.
    """
    if not batch.shared.shape[1]:
        return model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    cache = DynamicCache(config=model.config)
    model.model(input_ids=batch.shared, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(batch.ids))
    return model.model(input_ids=batch.ids, past_key_values=cache, use_cache=True).last_hidden_state


@torch.no_grad()
def score_first_tokens(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Return the log probability, among those listed, of each emotion's first token, shape (n, 9), float32."""
    logits = model.get_output_embeddings()(_pick(read_hidden(model, batch), batch.label_at[:, :1])).float()
    return logits.gather(-1, batch.label_tokens[:, :1]).log_softmax(dim=-1)[:, 0]


def _measure_labels(head: torch.nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    found = head(_pick(hidden, batch.label_at)).float().log_softmax(dim=-1).gather(-1, batch.label_tokens)
    return -(batch.label_weights * found).sum(dim=(1, 2))


def _measure_running(head: torch.nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    if not batch.letters_at.shape[1]:
        return hidden.new_zeros(())
    logits = head(_pick(hidden, batch.letters_at)).float()
    # Names that begin with one token get one score; its log probability then stands for all of them.
    tokens, slots = batch.label_tokens[0, 0].unique(return_inverse=True)
    found = logits[..., tokens].log_softmax(dim=-1)[..., slots]
    return -(batch.running * found).sum(dim=-1).mean()


def _measure_text(head: torch.nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    wanted = batch.text[:, 1:]
    trained = wanted != -100
    if not trained.any():
        return hidden.new_zeros(())
    return cross_entropy(head(hidden[:, :-1][trained]).float(), wanted[trained])


def _pick(hidden: Tensor, places: Tensor) -> Tensor:
    """Return the states at `places` of each row, shape (n, n_places, hidden)."""
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
