"""A plain training loop that can be interrupted: AdamW, warmup and cosine decay, clipped gradients."""

import math
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dataset_builder.errors import StageError
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from model_recipes.device import autocast
from model_recipes.memory import keep_freed_memory
from model_recipes.training.distributed import Processes, divide_batch

_CHECKPOINT = "last.pt"


class LoopConfig(StrictModel):
    """How long and how fast a model is trained on windows of text.

    Parameters
    ----------
    steps : int
        Updates; 0 trains nothing.
    batch_size : int
        Windows per update.
    window : int
        Tokens per window.
    learning_rate : float
        Highest rate, reached after the warmup; decays along a cosine to a tenth.
    warmup_steps : int
    weight_decay : float
    max_grad_norm : float
    checkpoint_every : int
        Steps between checkpoints.
    """

    steps: int = Field(ge=0)
    batch_size: int = Field(default=4, ge=1)
    window: int = Field(default=512, ge=16, le=4096)
    learning_rate: float = Field(default=4e-4, gt=0, le=1)
    warmup_steps: int = Field(default=10, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=100, ge=1)


def train_steps(
    model: PreTrainedModel,
    make_batch: Callable[[int], Tensor],
    make_loss: Callable[[Tensor], Tensor],
    config: LoopConfig,
    *,
    precision: str = "fp32",
    checkpoints: Path | None = None,
    title: str = "train",
    processes: Processes | None = None,
) -> list[float]:
    """Train a model in place.

    Parameters
    ----------
    model : PreTrainedModel
    make_batch : function of the step (0-based) -> Tensor of token ids
        Must depend on the step alone, so that an interrupted run goes on with the same batches.
    make_loss : function of a batch -> scalar Tensor
    config : LoopConfig
    precision : {"fp32", "bf16"}
        Autocast of the forward pass.
    checkpoints : Path, optional
        Folder for the last checkpoint; if it holds one, training goes on from there.
    title : str
        Label of the progress bar.
    processes : Processes, optional
        Who trains together: each takes its rows of every batch, gradients are averaged, the first writes checkpoints.
        `make_loss` must be a mean over rows. Default: this process alone.

    Returns
    -------
    list of float, length steps
        Loss of each step.

    Raises
    ------
    StageError
        If a loss is not finite.
    InputError
        If the processes cannot share a batch equally.
    """
    processes = processes or Processes()
    divide_batch(config.batch_size, processes, "train.batch_size")
    optimizer = torch.optim.AdamW(
        group_parameters(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.95), fused=True
    )
    losses = _resume(model, optimizer, checkpoints)
    model.train()
    with keep_freed_memory(), tqdm(total=config.steps, desc=title, unit="step", initial=len(losses)) as bar:
        for step in range(len(losses), config.steps):
            _set_rate(optimizer, config.learning_rate * rate_at(step, config))
            with autocast(model.device, precision):
                loss = make_loss(processes.take_part(make_batch(step)).to(model.device))
            loss.backward()
            told = loss.detach()
            processes.average([told, *_list_gradients(model)])
            losses.append(_read_loss(told, step, title))
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bar.update()
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            if checkpoints is not None and processes.is_main and (step + 1) % config.checkpoint_every == 0:
                _save(model, optimizer, losses, checkpoints)
    model.eval()
    return losses


def rate_at(step: int, config: LoopConfig) -> float:
    """Return the factor on the learning rate: linear warmup, then a cosine from 1 to 0.1."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def group_parameters(model: PreTrainedModel, weight_decay: float) -> list[dict[str, object]]:
    """Return AdamW's groups: matrices decay, biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def draw_windows(windows: Tensor, count: int, step: int, seed: int, stream: str) -> Tensor:
    """Return the windows of one step; each epoch passes over all of them in a new order.

    Parameters
    ----------
    windows : Tensor of shape (n_windows, length), int64
    count : int
        Windows per step.
    step : int
    seed, stream
        Name of the random stream.

    Returns
    -------
    Tensor of shape (count, length), int64
    """
    return draw_range(windows, step * count, (step + 1) * count, seed, stream)


def draw_range(windows: Tensor, start: int, stop: int, seed: int, stream: str) -> Tensor:
    """Return the windows ``start`` to ``stop - 1`` of the endless row of epochs, shape (stop - start, length)."""
    picks = []
    for position in range(start, stop):
        epoch, place = divmod(position, len(windows))
        picks.append(_order_epoch(len(windows), seed, stream, epoch)[place])
    return windows[torch.tensor(picks, dtype=torch.long)]


@lru_cache(maxsize=8)
def _order_epoch(n_windows: int, seed: int, stream: str, epoch: int) -> list[int]:
    return list(make_rng(seed, stream, "epoch", epoch).permutation(n_windows).tolist())


def thin_curve(losses: list[float], points: int = 100) -> list[list[float]]:
    """Return ``[step, mean loss since the point before]`` at no more than `points` steps, for a manifest."""
    stride = max(1, math.ceil(len(losses) / points))
    parts = [losses[start : start + stride] for start in range(0, len(losses), stride)]
    return [[min((i + 1) * stride, len(losses)), round(sum(part) / len(part), 4)] for i, part in enumerate(parts)]


def _read_loss(loss: Tensor, step: int, title: str) -> float:
    """Return the loss of a step, and stop where it is no number any more: all that follows would be lost time."""
    value = loss.item()
    if not math.isfinite(value):
        raise StageError(f"{title}: the loss of step {step + 1} is {value}; give a lower train.learning_rate")
    return value


def _list_gradients(model: PreTrainedModel) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _save(model: PreTrainedModel, optimizer: torch.optim.Optimizer, losses: list[float], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_CHECKPOINT}.tmp"
    with temporary.open("wb") as file:  # given a path, torch reports a full disk as an error of its own
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}, file)
    os.replace(temporary, folder / _CHECKPOINT)


def _resume(model: PreTrainedModel, optimizer: torch.optim.Optimizer, folder: Path | None) -> list[float]:
    if folder is None or not (folder / _CHECKPOINT).is_file():
        return []
    state = torch.load(folder / _CHECKPOINT, map_location=model.device, weights_only=True)
    model.load_state_dict(state["model"])
    model.tie_weights()
    optimizer.load_state_dict(state["optimizer"])
    return list(state["losses"])
