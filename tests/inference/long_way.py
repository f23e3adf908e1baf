"""Label scores without any of the shortcuts that the readers take."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def ask_transformers(
    hf: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    messages: list[dict[str, str]],
    labels: Sequence[str],
    prefix: str,
) -> dict[str, float]:
    """Score labels the long way: one forward pass per prefix of every label, nothing cached."""
    model, tokenizer = hf
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + prefix
    sequences = {label: tokenizer.encode(f'{text}{label}"', add_special_tokens=False) for label in labels}
    scores = {}
    for label, ids in sequences.items():
        log_likelihood = 0.0
        for i, token in enumerate(ids):
            rivals = sorted({other[i] for other in sequences.values() if len(other) > i and other[:i] == ids[:i]})
            if len(rivals) > 1:
                with torch.no_grad():
                    logits = model(torch.tensor([ids[:i]])).logits[0, -1].double()
                log_likelihood += (logits[token] - logits[rivals].logsumexp(0)).item()
        scores[label] = float(torch.tensor(log_likelihood, dtype=torch.float64).exp())
    return scores
