"""Recovery: a short training on plain text, led by the unpruned model, before anything else is taught."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import Stage
from model_recipes.checkpoint import load_model, read_base_facts, save_checked
from model_recipes.device import pick_device, pick_precision
from model_recipes.perplexity import cut_windows, measure_perplexity
from model_recipes.pruning.vocabulary import read_kept_ids, write_kept_ids
from model_recipes.rows import load_rows, render_unlabelled
from model_recipes.text import Text, TextConfig, load_text
from model_recipes.training.distributed import (
    Processes,
    find_shared,
    is_sharded,
    join_processes,
    open_shared_stage,
    read_shared,
)
from model_recipes.training.loop import LoopConfig, draw_range, thin_curve, train_steps
from model_recipes.training.recover_losses import LossWeights, Teacher, check_vocabularies, recovery_loss


class RecoverRecipe(StrictModel):
    """How a pruned model gets its language back.

    Parameters
    ----------
    train : LoopConfig
    text_loss, teacher_loss : float
        Weights of the cross entropy with the text and of the divergence from the unpruned model's predictions.
        Measured on SmolLM2-135M at half the parameters: 0.3 and 0.7 kept a third more of a foreign domain than the
        text alone.
    temperature, hidden_loss, l1, l2 : float
        See `model_recipes.training.recover_losses.LossWeights`.
    rows_share : float
        Share of the windows that show training rows without their emotions; above 0 needs a corpus, 1 shows nothing
        else.
    held_out_fold : int or None
        Clips of this fold are not among those rows.
    precision : {"auto", "fp32", "bf16"}
        Of the forward pass; ``auto`` takes bf16 where the hardware multiplies it natively.
    seed : int
    text : TextConfig
    perplexity_windows : int
    """

    train: LoopConfig
    text_loss: float = Field(default=0.3, ge=0)
    teacher_loss: float = Field(default=0.7, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    hidden_loss: float = Field(default=0.0, ge=0)
    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.0, ge=0)
    rows_share: float = Field(default=0.0, ge=0, le=1)
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 17
    text: TextConfig = TextConfig()
    perplexity_windows: int = Field(default=24, ge=2)

    @model_validator(mode="after")
    def _check_losses(self) -> "RecoverRecipe":
        if self.text_loss + self.teacher_loss == 0:
            raise ValueError("text_loss and teacher_loss are both 0; at least one must be above")
        return self

    @property
    def weights(self) -> LossWeights:
        """Weights of the parts of the loss."""
        parts = (self.text_loss, self.teacher_loss, self.temperature, self.hidden_loss, self.l1, self.l2)
        return LossWeights(*parts)


def recover_model(
    recipe: RecoverRecipe,
    pruned_dir: str | Path,
    teacher_dir: str | Path,
    out_dir: str | Path,
    corpus_dir: str | Path | None = None,
    device: str = "auto",
) -> Manifest:
    """Train a pruned model on text, with the unpruned one as teacher (Hinton et al. 2015, arXiv:1503.02531).

    An interrupted run goes on from its last checkpoint. Started by ``accelerate launch``, several processes share every
    batch; the training is the same, and so are its checkpoints. A recovered model can be recovered again, so public and
    specific text may come in either order.

    Parameters
    ----------
    recipe : RecoverRecipe
    pruned_dir, teacher_dir : str or Path
        Folders of the pruned (or recovered) model and of the base that it was cut from. If the vocabulary was cut, the
        pruned folder tells which of the teacher's tokens are left.
    out_dir : str or Path
    corpus_dir : str or Path, optional
        Needed where ``rows_share`` is above 0.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: tokens seen, loss curve. Metric: perplexity after recovery, per token of the teacher.

    Raises
    ------
    InputError
        If the teacher's vocabulary is not what the pruned model's was cut from, or a corpus is needed and absent; or if
        the launcher asked for FSDP.
    """
    if is_sharded():
        raise InputError("recover: cannot be trained with FSDP; accepted: DDP")
    if recipe.rows_share > 0 and corpus_dir is None:
        raise InputError("recover: rows_share is above 0, which needs a corpus folder (--corpus)")
    processes = join_processes(device)
    text = load_text(recipe.text)
    rows_dir = corpus_dir if recipe.rows_share > 0 else None
    parents = [pruned_dir, teacher_dir, *([rows_dir] if rows_dir is not None else [])]
    known: dict[str, Any] = {"parents": parents, "inputs": [text.artifact]}
    if finished := find_shared(processes, "recover", out_dir, recipe, **known):
        return finished
    with open_shared_stage(processes, "recover", out_dir, recipe, **known, seed=recipe.seed) as stage:
        stage.facts["base"] = read_base_facts(pruned_dir)
        _recover(stage, recipe, text, Path(pruned_dir), Path(teacher_dir), rows_dir, pick_device(device), processes)
    return read_shared(processes, stage, out_dir)


def _recover(
    stage: Stage,
    recipe: RecoverRecipe,
    text: Text,
    pruned_dir: Path,
    teacher_dir: Path,
    rows_dir: str | Path | None,
    device: torch.device,
    processes: Processes,
) -> None:
    model, tokenizer = load_model(pruned_dir, device)
    unpruned, reference = load_model(teacher_dir, device)
    kept = read_kept_ids(pruned_dir)
    check_vocabularies(model, unpruned, kept, teacher_dir.name)
    if recipe.hidden_loss > 0 and unpruned.config.hidden_size != model.config.hidden_size:
        raise InputError("recover: hidden_loss is above 0, which needs a pruned model of its base's hidden width")
    pool, loop = _Pool(recipe, text, tokenizer, rows_dir), recipe.train
    needed = recipe.teacher_loss > 0 or recipe.hidden_loss > 0
    teacher = Teacher(unpruned, kept, repeats=loop.steps * loop.batch_size > pool.n_windows) if needed else None
    precision = pick_precision(recipe.precision, device)
    losses = train_steps(
        model,
        pool.make_batch,
        lambda batch: recovery_loss(model, teacher, batch, recipe.weights),
        loop,
        precision=precision,
        checkpoints=stage.folder / "checkpoints",
        title="recover",
        processes=processes,
    )
    if not processes.is_main:
        return
    tokens = loop.steps * loop.batch_size * loop.window
    stage.facts |= {"precision": precision, "tokens": tokens, "loss": thin_curve(losses)}
    if kept is not None:
        write_kept_ids(stage.folder, kept)
    stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
    measured = measure_perplexity(
        model, tokenizer, text, recipe.perplexity_windows, reference=None if kept is None else reference
    )
    stage.metrics.append(measured)


class _Pool:
    """The windows that recovery draws from: general text and, if wanted, rows without their emotions."""

    def __init__(
        self, recipe: RecoverRecipe, text: Text, tokenizer: PreTrainedTokenizerBase, corpus_dir: str | Path | None
    ) -> None:
        self.recipe, loop = recipe, recipe.train
        self.general = cut_windows(tokenizer, text.fit, loop.window, name=text.name)
        self.chats = self.general[:0]
        if corpus_dir is not None:
            rows = load_rows(corpus_dir, "train", recipe.held_out_fold)
            chats = "".join(render_unlabelled(corpus_dir, rows, tokenizer, recipe.seed))
            self.chats = cut_windows(tokenizer, chats, loop.window, name="corpus rows")

    @property
    def n_windows(self) -> int:
        """How many different windows there are."""
        return len(self.general) + len(self.chats)

    def make_batch(self, step: int) -> Tensor:
        """Return the token ids of one step, shape (batch_size, window), int64; rows get their share over the steps."""
        size, seed = self.recipe.train.batch_size, self.recipe.seed
        before, after = (int(self.recipe.rows_share * size * count + 1e-9) for count in (step, step + 1))
        general = draw_range(self.general, step * size - before, size * (step + 1) - after, seed, "recover general")
        chats = draw_range(self.chats, before, after, seed, "recover rows")
        return torch.cat([general, chats])
