"""What a pruned model learns from: text, the unpruned model's predictions and states, a pull towards small weights."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Qwen2ForCausalLM

from dataset_builder.errors import InputError

#: How many bytes of the teacher's states are kept for the next pass over the same windows.
_MEMORY_BYTES = 2**30


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss; a part with weight 0 is not computed.

    Parameters
    ----------
    text : float
        Cross entropy with the text, nats per token.
    teacher : float
        ``KL(teacher || model)``, nats per token.
    temperature : float
        Both predictions are flattened by it in the teacher's part, which is multiplied by its square (Hinton et al.
        2015, arXiv:1503.02531, section 2).
    hidden : float
        Squared distance of the last hidden states, as a share of the teacher's mean square.
    l1, l2 : float
        Sum of the absolute values and of the squares of all matrices, the embedding included; norms and biases are left
        alone.
    """

    text: float = 0.3
    teacher: float = 0.7
    temperature: float = 1.0
    hidden: float = 0.0
    l1: float = 0.0
    l2: float = 0.0


class Teacher:
    """The unpruned model, read through the vocabulary of the pruned one.

    A pruned tokenizer writes rare words in pieces that the whole vocabulary has as well, so the teacher can read them;
    its predictions are restricted to the tokens that both have and sum to 1 again. What it computes of a window is its
    last hidden states, from which predictions are one matrix product away; they are kept while there is room, so that a
    second pass over a text hardly costs anything.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    kept : list of int, optional
        The teacher's id of each of the pruned model's tokens. Default: both have the same vocabulary.
    repeats : bool
        Whether windows are expected again, so that keeping their states is worth the memory.
    """

    def __init__(self, model: Qwen2ForCausalLM, kept: list[int] | None = None, repeats: bool = True) -> None:
        self.model = model.eval().requires_grad_(False)
        self._ids = None if kept is None else torch.tensor(kept, device=model.device)
        output = model.get_output_embeddings().weight.detach()
        self._output = output if self._ids is None else output[self._ids]
        self._room = _MEMORY_BYTES if repeats else 0
        self._states: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def read(self, batch: Tensor) -> Tensor:
        """Return the last hidden states of a batch.

        Parameters
        ----------
        batch : Tensor of shape (n, length), int64
            Ids of the pruned model.

        Returns
        -------
        Tensor of shape (n, length, hidden), bf16 under autocast to it, else float32
        """
        if self._room == 0 and not self._states:
            return self._run(batch)
        return torch.stack([self._recall(window) for window in batch]).to(batch.device)

    @torch.no_grad()
    def predict(self, states: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the probabilities of the pruned model's tokens, shape (..., vocab), float32."""
        return (torch.nn.functional.linear(states, self._output).float() / temperature).softmax(dim=-1)

    def _recall(self, window: Tensor) -> Tensor:
        key = window.cpu().numpy().tobytes()
        if key in self._states:
            return self._states[key]
        states = self._run(window[None])[0]  # alone: what is remembered must not depend on the rest of a batch
        if (size := states.numel() * states.element_size()) <= self._room:
            self._room -= size
            self._states[key] = states.cpu()
        return states.cpu()

    def _run(self, batch: Tensor) -> Tensor:
        ids = batch if self._ids is None else self._ids[batch]
        states = self.model.model(ids, use_cache=False).last_hidden_state
        device = batch.device.type
        return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states


def check_vocabularies(student: Qwen2ForCausalLM, teacher: Qwen2ForCausalLM, kept: list[int] | None, name: str) -> None:
    """Stop if the teacher called `name` cannot be read through the pruned model's vocabulary.

    Raises
    ------
    InputError
    """
    own, known = student.config.vocab_size, teacher.config.vocab_size
    if kept is None and own != known:
        raise InputError(f"{name}: has a vocabulary of {known} tokens, the pruned model of {own}; give its own base")
    if kept is not None and (len(kept) != own or max(kept) >= known):
        raise InputError(f"{name}: has not the tokens that the pruned model kept ({own} of {max(kept) + 1} or more)")


def recovery_loss(model: Qwen2ForCausalLM, teacher: Teacher | None, batch: Tensor, weights: LossWeights) -> Tensor:
    """Return the loss of a batch, nats per token and, if wanted, what `LossWeights` adds.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    teacher : Teacher or None
        Needed where `weights` asks for its part or for hidden states.
    batch : Tensor of shape (n, length), int64
    weights : LossWeights

    Returns
    -------
    Tensor, scalar
    """
    states = model.model(batch, use_cache=False).last_hidden_state
    logits = model.lm_head(states[:, :-1].flatten(0, 1)).float()
    wanted = teacher.read(batch) if teacher is not None else None
    loss = _match_tokens(logits, batch[:, 1:].flatten(), teacher, wanted, weights)
    if weights.hidden > 0 and wanted is not None:
        distance = (states.float() - wanted.float()).square().mean()
        loss = loss + weights.hidden * distance / wanted.float().square().mean()
    return loss + penalise_weights(model, weights.l1, weights.l2) if weights.l1 or weights.l2 else loss


def penalise_weights(model: Qwen2ForCausalLM, l1: float, l2: float) -> Tensor:
    """Return ``l1 * sum |w| + l2 * sum w^2`` over all matrices, a tied pair once; scalar."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    total = matrices[0].new_zeros(())
    if l1 > 0:
        total = total + l1 * sum(matrix.abs().sum() for matrix in matrices)
    if l2 > 0:
        total = total + l2 * sum(matrix.square().sum() for matrix in matrices)
    return total


def _match_tokens(
    logits: Tensor, following: Tensor, teacher: Teacher | None, wanted: Tensor | None, weights: LossWeights
) -> Tensor:
    """Return the parts of the loss that predictions have, for logits of shape (tokens, vocab)."""
    if teacher is None or wanted is None or weights.teacher == 0:
        return weights.text * cross_entropy(logits, following)
    likely = teacher.predict(wanted[:, :-1].flatten(0, 1), weights.temperature)
    surprise = -torch.special.entr(likely).sum(dim=-1).mean()
    if weights.temperature == 1:  # one pass over the logits instead of two: cross entropy is linear in its target
        targets = likely.mul_(weights.teacher)
        targets.scatter_add_(1, following[:, None], targets.new_full((len(following), 1), weights.text))
        return cross_entropy(logits, targets) + weights.teacher * surprise
    divergence = cross_entropy(logits / weights.temperature, likely) + surprise
    text = weights.text * cross_entropy(logits, following) if weights.text > 0 else 0.0
    return text + weights.teacher * weights.temperature**2 * divergence
