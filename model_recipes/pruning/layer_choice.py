"""Which layers may go: all at once by how little each turns the stream, or one at a time by what the output loses."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div, log_softmax
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from model_recipes.pruning.stream import Context, run_layers, start_stream

LayerChoice = Literal["influence", "greedy"]


@torch.no_grad()
def measure_block_influence(model: Qwen2ForCausalLM, windows: Tensor) -> list[float]:
    """Measure how much each layer turns the residual stream.

    ``1 - cos(input, output)`` averaged over tokens (Men et al. 2024, "ShortGPT", arXiv:2403.03853).

    Parameters
    ----------
    model : Qwen2ForCausalLM
    windows : Tensor of shape (n_windows, length), int64

    Returns
    -------
    list of float, one per layer
    """
    totals = torch.zeros(len(model.model.layers))

    def watch(layer: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            after = output[0] if isinstance(output, tuple) else output
            totals[layer] += (1 - cosine_similarity(args[0].float(), after.float(), dim=-1)).mean().cpu()

        return hook

    handles = [layer.register_forward_hook(watch(i)) for i, layer in enumerate(model.model.layers)]
    try:
        for window in tqdm(windows, desc="block influence", unit="window", leave=False):
            model.model(window[None].to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return (totals / len(windows)).tolist()


def choose_layers(influence: list[float], keep: int) -> list[int]:
    """Return the layers to keep, in order: the first two and the last always, then those of highest influence."""
    n_layers = len(influence)
    protected = protect_layers(n_layers, keep)
    others = sorted((i for i in range(n_layers) if i not in protected), key=lambda i: (-influence[i], i))
    return sorted([*protected, *others[: keep - len(protected)]])


def protect_layers(n_layers: int, keep: int) -> set[int]:
    """Return the layers that are never dropped: the first two and the last, fewer where fewer are kept."""
    return {0, 1, n_layers - 1} if keep >= 3 else {0, n_layers - 1} if keep == 2 else {0}


@torch.no_grad()
def choose_layers_greedily(
    model: Qwen2ForCausalLM, windows: Tensor, keep: int
) -> tuple[list[int], list[dict[str, float]]]:
    """Drop one layer after the other, each time the one whose loss changes the predictions least.

    What a layer is worth depends on which others are gone, so all that are left are tried anew before each drop. The
    change is the divergence of the whole model's next-token probabilities from those without the layers. The stream
    before a tried layer is computed once for all trials.

    Parameters
    ----------
    model : Qwen2ForCausalLM
        Is left as it is.
    windows : Tensor of shape (n_windows, length), int64
        A thousand tokens rank layers well enough.
    keep : int

    Returns
    -------
    kept : list of int
        Positions of the kept layers.
    steps : list of dict
        ``dropped`` (position) and ``divergence`` (nats per token, of all drops so far), in the order of dropping.
    """
    n_layers = len(model.model.layers)
    kept, protected = list(range(n_layers)), protect_layers(n_layers, keep)
    stream, context = start_stream(model, windows)
    steps: list[dict[str, float]] = []
    with tqdm(total=_count_trials(n_layers, keep), desc="drop layers", unit="trial", leave=False) as bar:
        whole = _predict(model, run_layers(model.model.layers, stream, context)).half()
        while len(kept) > keep:
            trials = _try_each(model, kept, protected, stream, context, whole, bar)
            divergence, dropped = min(trials)
            kept.remove(dropped)
            steps.append({"dropped": dropped, "divergence": round(divergence, 4)})
    return kept, steps


def _try_each(
    model: Qwen2ForCausalLM,
    kept: list[int],
    protected: set[int],
    stream: Tensor,
    context: Context,
    whole: Tensor,
    bar: Any,
) -> list[tuple[float, int]]:
    """Return (divergence without the layer, layer) for every layer that may go."""
    layers, trials = model.model.layers, []
    for place, index in enumerate(kept):
        if index not in protected:
            rest = run_layers([layers[i] for i in kept[place + 1 :]], stream, context)
            trials.append((_diverge(whole, _predict(model, rest)), index))
            bar.update()
        stream = run_layers([layers[index]], stream, context)
    return trials


def _predict(model: Qwen2ForCausalLM, stream: Tensor) -> Tensor:
    """Return log probabilities of the next token, shape (n_windows, length, vocab)."""
    return torch.stack([log_softmax(model.lm_head(model.model.norm(window)).float(), dim=-1) for window in stream])


def _diverge(whole: Tensor, other: Tensor) -> float:
    """Return the mean divergence of `other` from `whole`, nats per token; window by window to spare memory."""
    pairs = zip(whole, other, strict=True)
    total = sum(kl_div(b, a.float(), log_target=True, reduction="sum").item() for a, b in pairs)
    return total / whole[..., 0].numel()


def _count_trials(n_layers: int, keep: int) -> int:
    protected = len(protect_layers(n_layers, keep))
    return sum(left - protected for left in range(keep + 1, n_layers + 1))
