"""Perplexity on held-out text: how much language a model keeps."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dataset_builder.errors import InputError
from dataset_builder.manifest import Metric
from dataset_builder.seeds import make_rng
from model_recipes.device import autocast
from model_recipes.text import Text

#: Tokens per window.
WINDOW = 512

#: Repetitions of the bootstrap.
_BOOTSTRAPS = 1000


def measure_perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Text,
    max_windows: int = 24,
    precision: str = "fp32",
    reference: PreTrainedTokenizerBase | None = None,
) -> Metric:
    """Measure perplexity on the measured part of a text, over windows that do not overlap.

    Windows are spread evenly over the text and cut between words. A model with a pruned vocabulary writes the same
    words in more tokens, each easier to foresee, so its perplexity per token of its own says nothing beside its base's.
    Given the base's tokenizer as `reference`, both are read over the same words and the sum of nats is divided by the
    number of tokens that the reference needs: numbers with one reference and one text can be compared.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
        The model's own.
    text : Text
    max_windows : int
        At most this many windows of up to 512 tokens of the reference are read.
    precision : {"fp32", "bf16"}
    reference : PreTrainedTokenizerBase, optional
        Default: the model's own tokenizer.

    Returns
    -------
    Metric
        ``exp(sum of negative log likelihoods / tokens of the reference)``; the interval is a bootstrap over windows.

    Raises
    ------
    InputError
        If the text is shorter than two windows.
    """
    reference = reference or tokenizer
    passages = cut_passages(reference, text.measure, WINDOW, name=text.name)
    chosen = np.unique(np.linspace(0, len(passages) - 1, min(max_windows, len(passages))).round().astype(int))
    read = [passages[i] for i in chosen]
    counts = np.array([len(_encode(reference, passage)) - 1 for passage in read])
    nll = _sum_nll(model, tokenizer, read, precision)
    picks = make_rng(0, "perplexity").integers(len(nll), size=(_BOOTSTRAPS, len(nll)))
    low, high = np.exp(np.quantile(nll[picks].sum(axis=1) / counts[picks].sum(axis=1), [0.025, 0.975]))
    per = "" if reference is tokenizer else ", per token of the unpruned vocabulary"
    return Metric(
        name="perplexity",
        value=float(np.exp(nll.sum() / counts.sum())),
        n=int(counts.sum()),
        unit="tokens",
        split=f"{text.name}, last fifth",
        interval=[float(low), float(high)],
        reader="language model",
        method=f"{len(nll)} windows of up to {WINDOW} tokens without overlap{per}; 95 % bootstrap over windows",
    )


def cut_passages(tokenizer: PreTrainedTokenizerBase, text: str, length: int, name: str = "text") -> list[str]:
    """Cut a text between words into passages of at most `length` tokens that follow on one another.

    A tokenizer never joins what white space parts, so a passage has the same tokens alone as within its text. A run of
    tokens without white space that is longer than a passage is cut where it must be.

    Raises
    ------
    InputError
        If the text does not fill two passages.
    """
    encoded = tokenizer(text, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
    starts = [start for start, _ in encoded["offset_mapping"]]
    if len(starts) < 2 * length:
        raise InputError(f"text {name}: {len(starts)} tokens found; at least {2 * length} are needed")
    passages, first = [], 0
    while first + length <= len(starts):
        after = first + length
        border = _find_border(text, starts, first, after)
        passages.append(text[starts[first] : starts[border] if border < len(starts) else len(text)])
        first = border
    return passages


def cut_windows(tokenizer: PreTrainedTokenizerBase, text: str, length: int, name: str = "text") -> torch.Tensor:
    """Tokenise a text and cut it into windows without overlap.

    Returns
    -------
    Tensor of shape (n_windows, length), int64

    Raises
    ------
    InputError
        If the text does not fill two windows.
    """
    ids = torch.tensor(_encode(tokenizer, text))
    n_windows = len(ids) // length
    if n_windows < 2:
        raise InputError(f"text {name}: {len(ids)} tokens found; at least {2 * length} are needed")
    return ids[: n_windows * length].view(n_windows, length)


def _find_border(text: str, starts: list[int], first: int, after: int) -> int:
    """Return the last token in (first, after] at which a word begins, or the text ends; `after` if there is none."""
    if after >= len(starts):
        return len(starts)
    words = (token for token in range(after, first, -1) if text[starts[token]].isspace())
    return next((token for token in words if not text[starts[token] - 1].isspace()), after)


@torch.no_grad()
def _sum_nll(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, passages: list[str], precision: str
) -> np.ndarray:
    """Return the sum of the negative log likelihoods over each passage but its first token, shape (n,), nats."""
    was_training = model.training
    model.eval()
    nll = []
    for passage in tqdm(passages, desc="perplexity", unit="window", leave=False):
        ids = torch.tensor([_encode(tokenizer, passage)], device=model.device)
        with autocast(model.device, precision):
            logits = model(ids, use_cache=False).logits
        nll.append(cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="sum").item())
    model.train(was_training)
    return np.array(nll)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
