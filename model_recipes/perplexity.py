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
) -> Metric:
    """Measure perplexity on the measured part of a text, over windows that do not overlap.

    Windows are spread evenly over the text. Only numbers of the same tokenizer and text can be compared.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    text : Text
    max_windows : int
        At most this many windows of 512 tokens are read.
    precision : {"fp32", "bf16"}

    Returns
    -------
    Metric
        ``exp(mean negative log likelihood per predicted token)``; the interval is a bootstrap over windows.

    Raises
    ------
    InputError
        If the text is shorter than two windows.
    """
    windows = cut_windows(tokenizer, text.measure, WINDOW, name=text.name)
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(max_windows, len(windows))).round().astype(int))
    nll = _window_nll(model, windows[torch.from_numpy(chosen)], precision)
    picks = make_rng(0, "perplexity").integers(len(nll), size=(_BOOTSTRAPS, len(nll)))
    low, high = np.exp(np.quantile(nll[picks].mean(axis=1), [0.025, 0.975]))
    return Metric(
        name="perplexity",
        value=float(np.exp(nll.mean())),
        n=len(nll) * (WINDOW - 1),
        unit="tokens",
        split=f"{text.name}, last fifth",
        interval=[float(low), float(high)],
        reader="language model",
        method=f"{len(nll)} windows of {WINDOW} tokens without overlap; 95 % bootstrap over windows",
    )


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
    ids = torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    n_windows = len(ids) // length
    if n_windows < 2:
        raise InputError(f"text {name}: {len(ids)} tokens found; at least {2 * length} are needed")
    return ids[: n_windows * length].view(n_windows, length)


@torch.no_grad()
def _window_nll(model: PreTrainedModel, windows: torch.Tensor, precision: str) -> np.ndarray:
    """Return the mean negative log likelihood of each window, shape (n_windows,), nats per token."""
    was_training = model.training
    model.eval()
    nll = []
    for window in tqdm(windows, desc="perplexity", unit="window", leave=False):
        ids = window[None].to(model.device)
        with autocast(model.device, precision):
            logits = model(ids, use_cache=False).logits
        nll.append(cross_entropy(logits[0, :-1].float(), ids[0, 1:]).item())
    model.train(was_training)
    return np.array(nll)
