"""Recovery: a short training on plain text, led by the unpruned model, before anything else is taught."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import find_finished, open_stage
from model_recipes.checkpoint import load_model, read_base_facts, save_checked
from model_recipes.device import pick_device, pick_precision
from model_recipes.loop import LoopConfig, draw_windows, thin_curve, train_steps
from model_recipes.perplexity import cut_windows, measure_perplexity
from model_recipes.rows import load_rows, render_unlabelled
from model_recipes.text import Text, TextConfig, load_text


class RecoverRecipe(StrictModel):
    """How a pruned model gets its language back.

    Parameters
    ----------
    train : LoopConfig
    text_loss, teacher_loss : float
        Weights of the cross entropy with the text and of the divergence from the unpruned model's predictions.
        Measured on SmolLM2-135M at half the parameters: 0.3 and 0.7 kept a third more of a foreign domain than the
        text alone.
    rows_share : float
        Share of each batch that shows training rows without their emotions; needs a corpus.
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


def recover_model(
    recipe: RecoverRecipe,
    pruned_dir: str | Path,
    teacher_dir: str | Path,
    out_dir: str | Path,
    corpus_dir: str | Path | None = None,
    device: str = "auto",
) -> Manifest:
    """Train a pruned model on text, with the unpruned one as teacher (Hinton et al. 2015, arXiv:1503.02531).

    An interrupted run goes on from its last checkpoint.

    Parameters
    ----------
    recipe : RecoverRecipe
    pruned_dir, teacher_dir : str or Path
        Folders of the pruned model and of its base.
    out_dir : str or Path
    corpus_dir : str or Path, optional
        Needed where ``rows_share`` is above 0.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Manifest
        Facts: tokens seen, loss curve. Metric: perplexity after recovery.

    Raises
    ------
    InputError
        If teacher and pruned model have different vocabularies, or a corpus is needed and absent.
    """
    if recipe.rows_share > 0 and corpus_dir is None:
        raise InputError("recover: rows_share is above 0, which needs a corpus folder (--corpus)")
    text = load_text(recipe.text)
    rows_dir = corpus_dir if recipe.rows_share > 0 else None
    parents = [pruned_dir, teacher_dir, *([rows_dir] if rows_dir is not None else [])]
    known: dict[str, Any] = {"parents": parents, "inputs": [text.artifact]}
    if finished := find_finished("recover", out_dir, recipe, **known):
        return finished
    with open_stage("recover", out_dir, recipe, **known, seed=recipe.seed) as stage:
        where = pick_device(device)
        model, tokenizer = load_model(pruned_dir, where)
        teacher, _ = load_model(teacher_dir, where)
        if teacher.config.vocab_size != model.config.vocab_size:
            raise InputError(
                f"{Path(teacher_dir).name}: has another vocabulary than the pruned model; give its own base"
            )
        pool = _Pool(recipe, text, tokenizer, rows_dir)
        precision = pick_precision(recipe.precision, where)
        losses = train_steps(
            model,
            pool.make_batch,
            lambda batch: distillation_loss(model, teacher, batch, recipe.text_loss, recipe.teacher_loss),
            recipe.train,
            precision=precision,
            checkpoints=stage.folder / "checkpoints",
            title="recover",
        )
        stage.facts |= {
            "base": read_base_facts(pruned_dir),
            "precision": precision,
            "tokens": recipe.train.steps * recipe.train.batch_size * recipe.train.window,
            "loss": thin_curve(losses),
        }
        stage.facts["model"] = save_checked(model, tokenizer, stage.folder)
        stage.metrics.append(measure_perplexity(model, tokenizer, text, recipe.perplexity_windows))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def distillation_loss(
    model: Qwen2ForCausalLM, teacher: Qwen2ForCausalLM, batch: Tensor, text_loss: float, teacher_loss: float
) -> Tensor:
    """Return ``text_loss * cross entropy + teacher_loss * KL(teacher || model)``, nats per token.

    Parameters
    ----------
    model, teacher : Qwen2ForCausalLM
    batch : Tensor of shape (n, length), int64
    text_loss, teacher_loss : float
        A part with weight 0 is not computed.
    """
    logits = model(batch, use_cache=False).logits[:, :-1].flatten(0, 1).float()
    loss = logits.new_zeros(())
    if text_loss > 0:
        loss = loss + text_loss * cross_entropy(logits, batch[:, 1:].flatten())
    if teacher_loss > 0:
        with torch.no_grad():
            wanted = teacher(batch, use_cache=False).logits[:, :-1].flatten(0, 1).float().log_softmax(dim=-1)
        divergence = kl_div(log_softmax(logits, dim=-1), wanted, reduction="batchmean", log_target=True)
        loss = loss + teacher_loss * divergence
    return loss


class _Pool:
    """The windows that recovery draws from: general text and, if wanted, rows without their emotions."""

    def __init__(
        self, recipe: RecoverRecipe, text: Text, tokenizer: PreTrainedTokenizerBase, corpus_dir: str | Path | None
    ) -> None:
        self.recipe, loop = recipe, recipe.train
        self.n_rows = round(recipe.rows_share * loop.batch_size)
        self.general = cut_windows(tokenizer, text.fit, loop.window, name=text.name)
        self.chats = self.general[:0]
        if corpus_dir is not None:
            rows = load_rows(corpus_dir, "train", recipe.held_out_fold)
            chats = "".join(render_unlabelled(corpus_dir, rows, tokenizer, recipe.seed))
            self.chats = cut_windows(tokenizer, chats, loop.window, name="corpus rows")

    def make_batch(self, step: int) -> Tensor:
        """Return the token ids of one step, shape (batch_size, window), int64."""
        seed, n_text = self.recipe.seed, self.recipe.train.batch_size - self.n_rows
        return torch.cat(
            [
                draw_windows(self.general, n_text, step, seed, "recover general"),
                draw_windows(self.chats, self.n_rows, step, seed, "recover rows"),
            ]
        )
