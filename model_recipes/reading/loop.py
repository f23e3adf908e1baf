"""The reader's training loop: interruptible like `training.loop`, and it keeps the weights that validated best."""

import copy
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import Qwen2ForCausalLM

from model_recipes.device import autocast
from model_recipes.training.loop import LoopConfig, group_parameters, rate_at

_CHECKPOINT = "last.pt"

#: Loss of a step -> what goes into the curve: total, and each part in nats.
Parts = dict[str, torch.Tensor]


@dataclass
class Progress:
    """How far training is; all of it goes into checkpoints.

    Parameters
    ----------
    losses : dict of str to list of float
        Per step, in nats: ``label``, ``running``, ``text``.
    checks : list of [int, float]
        Steps done, and label loss on validation rows.
    best : list of [int, float], or empty
        The check whose weights are kept.
    seconds : float
        Time of the steps, checks not counted.
    tokens : int
        Tokens of the rows trained on.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    checks: list[list[float]] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.losses.get("label", []))


@dataclass(frozen=True)
class Watch:
    """When training is checked and when it ends early.

    Parameters
    ----------
    measure : function of nothing -> float
        Loss to watch; lower is better.
    every : int
        Steps between checks.
    start : int
        Weights are kept, and patience is counted, from this step on.
    patience : int or None
        End after so many checks in a row without a new best; None trains all steps and keeps the last weights.
    """

    measure: Callable[[], float]
    every: int
    start: int
    patience: int | None


def train_reader_steps(
    model: Qwen2ForCausalLM,
    make_parts: Callable[[int], tuple[torch.Tensor, Parts, int]],
    config: LoopConfig,
    watch: Watch | None,
    *,
    precision: str,
    checkpoints: Path,
) -> Progress:
    """Train a model in place with AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), warm-up, cosine and clipping.

    Parameters
    ----------
    model : Qwen2ForCausalLM
    make_parts : function of the step (0-based) -> (loss, its parts, tokens)
        Must depend on the step alone, so that an interrupted run goes on with the same batches.
    config : LoopConfig
    watch : Watch, optional
        Nothing is checked without it.
    precision : {"fp32", "bf16"}
        Autocast of the forward pass.
    checkpoints : Path
        Folder for the last checkpoint; if it holds one, training goes on from there.

    Returns
    -------
    Progress
        The model then has the best weights if `watch` has a patience, else the last.
    """
    optimizer = torch.optim.AdamW(
        group_parameters(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.95)
    )
    progress, best = _resume(model, optimizer, checkpoints)
    model.train()
    with tqdm(total=config.steps, desc="train reader", unit="step", initial=progress.steps) as bar:
        while progress.steps < config.steps and not _is_over(progress, watch):
            started = time.monotonic()
            _update(model, optimizer, make_parts, config, progress, precision)
            progress.seconds += time.monotonic() - started
            bar.update()
            bar.set_postfix(label=f"{progress.losses['label'][-1]:.3f}", refresh=False)
            if watch is not None and (progress.steps % watch.every == 0 or progress.steps == config.steps):
                best = _check(model, watch, progress, best)
            if progress.steps % config.checkpoint_every == 0:
                _save(model, optimizer, progress, best, checkpoints)
    if best:
        model.load_state_dict(best)
        model.tie_weights()
    model.eval()
    return progress


def _update(
    model: Qwen2ForCausalLM,
    optimizer: torch.optim.Optimizer,
    make_parts: Callable[[int], tuple[torch.Tensor, Parts, int]],
    config: LoopConfig,
    progress: Progress,
    precision: str,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * rate_at(progress.steps, config)
    with autocast(model.device, precision):
        loss, parts, tokens = make_parts(progress.steps)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for name, part in parts.items():
        progress.losses.setdefault(name, []).append(part.item())
    progress.tokens += tokens


def _check(model: Qwen2ForCausalLM, watch: Watch, progress: Progress, best: dict[str, Any]) -> dict[str, Any]:
    """Measure, and return the weights to keep."""
    model.eval()
    check = [progress.steps, watch.measure()]
    model.train()
    progress.checks.append(check)
    if watch.patience is None or progress.steps < watch.start:
        return best
    if progress.best and check[1] >= progress.best[1]:
        return best
    progress.best = check
    return copy.deepcopy(model.state_dict())


def _is_over(progress: Progress, watch: Watch | None) -> bool:
    if watch is None or watch.patience is None or not progress.best:
        return False
    return sum(step > progress.best[0] for step, _ in progress.checks) >= watch.patience


def _save(
    model: Qwen2ForCausalLM,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, Any],
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_CHECKPOINT}.tmp"
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
    torch.save(state | {"progress": asdict(progress)}, temporary)
    os.replace(temporary, folder / _CHECKPOINT)


def _resume(model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer, folder: Path) -> tuple[Progress, dict[str, Any]]:
    if not (folder / _CHECKPOINT).is_file():
        return Progress(), {}
    state = torch.load(folder / _CHECKPOINT, map_location=model.device, weights_only=True)
    model.load_state_dict(state["model"])
    model.tie_weights()
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"]), dict(state["best"])
