"""Number-aware embeddings: symbols that stand for ordered steps begin as neighbours on one smooth curve.

In a language model's embedding ``3`` is no nearer to ``4`` than to ``9``, and ``c`` means nothing between ``b`` and
``d``; that levels have an order must be learned from few rows. Here it is there from the start.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from dataset_builder.seeds import derive_seed

#: Cosines and sines of so many frequencies make the curve.
_FREQUENCIES = 8


def order_symbols(model: Qwen2ForCausalLM, token_ids: Sequence[int], seed: int) -> None:
    """Move the embeddings of ordered symbols onto a smooth curve, in place.

    The mean of the symbols stays, and so does each one's distance from it: only directions change. What the embedding
    knew of a symbol besides its place in the order is given up.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    token_ids : sequence of int
        One token per symbol, from the lowest level to the highest; at least two, all different.
    seed : int
        Decides the curve's directions.

    Raises
    ------
    ValueError
        If fewer than two different tokens are given.
    """
    if len(set(token_ids)) < max(2, len(token_ids)):
        raise ValueError(
            f"{len(set(token_ids))} different tokens for {len(token_ids)} symbols; at least 2, all different"
        )
    weight = model.get_input_embeddings().weight
    places = torch.tensor(token_ids, device=weight.device)
    with torch.no_grad():
        old = weight[places]
        mean = old.mean(dim=0)
        length = (old - mean).norm(dim=1, keepdim=True)
        curve = make_curve(len(token_ids), weight.shape[1], seed).to(old)
        weight[places] = mean + length * curve


def make_curve(n_symbols: int, n_dimensions: int, seed: int) -> Tensor:
    """Return one unit vector per symbol, whose likeness falls with every step between two symbols.

    Symbol i of n stands at x = i / (n - 1) and gets cos(pi k x) / k and sin(pi k x) / k for k = 1 ... 8, along
    orthogonal directions. The first cosine is the value itself, bent a little; the others keep near levels apart. The
    inner product of two symbols is the sum of cos(pi k d) / k^2, d their distance; its slope is minus pi times the sum
    of sin(pi k d) / k, which is above zero between 0 and pi whatever the number of terms (Fejer-Jackson inequality;
    Jackson 1911, Rend Circ Mat Palermo 32:257). So it falls all the way, and all vectors are equally long.

    Parameters
    ----------
    n_symbols : int
        At least 2.
    n_dimensions : int
        Width of the embedding; below 16 there are fewer frequencies.
    seed : int

    Returns
    -------
    Tensor of shape (n_symbols, n_dimensions), float32
    """
    n_frequencies = min(_FREQUENCIES, n_dimensions // 2)
    x = torch.linspace(0, 1, n_symbols, dtype=torch.float64)[:, None]
    k = torch.arange(1, n_frequencies + 1, dtype=torch.float64)
    waves = torch.cat([(math.pi * k * x).cos() / k, (math.pi * k * x).sin() / k], dim=1)
    generator = torch.Generator().manual_seed(derive_seed(seed, "symbols"))
    directions = torch.randn(n_dimensions, 2 * n_frequencies, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(directions).Q
    return torch.nn.functional.normalize(waves @ directions.T, dim=1).float()
