"""Recipe of the adapter stage: the adapter's size, and how long and on whose rows it is trained."""

import dataclasses
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator
from trl import SFTConfig

from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel

#: Projections that an adapter may change. Never the embedding: it is tied to the output layer.
Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS: tuple[Target, ...] = get_args(Target)

#: Keys of TRL's config that this stage sets itself.
_RESERVED = frozenset(
    "output_dir report_to seed data_seed max_length max_steps per_device_train_batch_size learning_rate warmup_steps "
    "bf16 fp16 use_cpu packing completion_only_loss assistant_only_loss push_to_hub hub_model_id hub_token".split()
)


class LoraSettings(StrictModel):
    """Size of the adapter.

    Parameters
    ----------
    r, alpha : int
        Rank, and the factor ``alpha / r`` on its output.
    dropout : float
    targets : list of str
        Projections that get an adapter.
    """

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[Target] = Field(default_factory=lambda: list(TARGETS), min_length=1)


class Lesson(StrictModel):
    """One step of a schedule: whose rows are passed over, and how often.

    Parameters
    ----------
    device_sfreq_hz : float or None
        Only subjects whose device sampled at this rate; None takes everybody. On FACED that is the laboratory as well:
        250 and 1000 Hz are its two cohorts.
    epochs : int
        Passes over those rows.
    """

    device_sfreq_hz: float | None = Field(default=None, gt=0)
    epochs: int = Field(default=3, ge=1)


class AdapterRecipe(StrictModel):
    """How the adapter is trained.

    Parameters
    ----------
    lora : LoraSettings
    steps : int or None
        Updates, on all rows; or instead
    schedule : list of Lesson
        one training after the other on the same adapter. Each has its own warm-up and decay, and an optimiser that has
        forgotten the one before.
    batch_size : int
        Rows per update.
    learning_rate : float
    warmup_steps : int
        Updates, at the beginning of each lesson if there is a schedule.
    max_length : int
        Longest conversation in tokens; a longer one stops the stage, none is cut.
    label_weight : float
        Weight in the loss of the tokens that name the emotion; 1 treats them as the other 60 or so of an answer.
    held_out_fold : int or None
        Clips of this fold are not trained on, so that accuracy on unseen clips can be told.
    precision : {"auto", "fp32", "bf16"}
    checkpoint_every : int
        Steps between checkpoints.
    eval_rows : int
        At most so many validation rows are measured at the end, of each lesson if there is a schedule.
    trainer : dict
        Further keys of TRL's ``SFTConfig``.
    seed : int
    """

    lora: LoraSettings = LoraSettings()
    steps: int | None = Field(default=None, ge=1)
    schedule: list[Lesson] = Field(default_factory=list)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(gt=0, le=1)
    warmup_steps: int = Field(default=10, ge=0)
    max_length: int = Field(default=1024, ge=64)
    label_weight: float = Field(default=1.0, ge=0)
    held_out_fold: int | None = Field(default=0, ge=0, le=2)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every: int = Field(default=50, ge=1)
    eval_rows: int = Field(default=64, ge=1)
    trainer: dict[str, Any] = Field(default_factory=dict)
    seed: int = 17

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if (self.steps is None) == (not self.schedule):
            raise ValueError("expected either steps or schedule")
        return self


def check_trainer_keys(keys: dict[str, Any]) -> None:
    """Refuse keys that TRL's config does not have, and those that the recipe has its own names for.

    Raises
    ------
    RecipeError
    """
    known = {field.name for field in dataclasses.fields(SFTConfig) if field.init}
    if unknown := sorted(set(keys) - known):
        raise RecipeError(
            f"trainer: unknown key {', '.join(unknown)}; accepted: {', '.join(sorted(known - _RESERVED))}"
        )
    if reserved := sorted(set(keys) & _RESERVED):
        raise RecipeError(f"trainer: {', '.join(reserved)} is set by this stage; accepted: keys of SFTConfig besides")
