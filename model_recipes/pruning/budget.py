"""What a pruned model may cost, in the unit that the user has: parameters, bytes of a file, or tokens per second."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from dataset_builder.recipe import StrictModel
from model_recipes.bases.qwen2 import Shape
from model_recipes.exporting.types import FileType
from model_recipes.pruning.costs import measure_file

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class BudgetConfig(StrictModel):
    """A limit. Give exactly one of `params`, `bytes` and `tokens_per_second`.

    Parameters
    ----------
    params : float, optional
        Parameters to keep: up to 1 a share of the unpruned model's, above 1 a count.
    bytes : int or str, optional
        Size of the GGUF file, for example ``"150MB"``.
    tokens_per_second : float, optional
        Tokens to generate per second. Generation on a processor waits for memory: each token reads every weight once,
        so the limit is on the bytes of the tensors. Needs one of `bandwidth` and `base_tokens_per_second`.
    bandwidth : int or str, optional
        Bytes that the machine reads per second, for example ``"20GB"``.
    base_tokens_per_second : float, optional
        Tokens per second of the unpruned model, measured on that machine with the same `type`.
    type : str
        GGUF type that bytes and tokens per second are meant for.
    """

    params: float | None = Field(default=None, gt=0)
    bytes: int | str | None = None
    tokens_per_second: float | None = Field(default=None, gt=0)
    bandwidth: int | str | None = None
    base_tokens_per_second: float | None = Field(default=None, gt=0)
    type: FileType = "Q4_K_M"

    @field_validator("bytes", "bandwidth")
    @classmethod
    def _check_size(cls, value: int | str | None) -> int | str | None:
        if value is not None:
            read_size(value)
        return value

    @model_validator(mode="after")
    def _check_one(self) -> "BudgetConfig":
        if sum(value is not None for value in (self.params, self.bytes, self.tokens_per_second)) != 1:
            raise ValueError("give exactly one of params, bytes and tokens_per_second")
        speeds = sum(value is not None for value in (self.bandwidth, self.base_tokens_per_second))
        if speeds != (self.tokens_per_second is not None):
            raise ValueError(
                "tokens_per_second needs exactly one of bandwidth and base_tokens_per_second, and only it uses them"
            )
        return self


@dataclass(frozen=True)
class Limit:
    """A budget for one base model.

    Parameters
    ----------
    measure : callable
        What a shape costs.
    most : float
        The most that it may cost.
    text : str
        The same in words.
    """

    measure: Callable[[Shape], float]
    most: float
    text: str

    def allows(self, shape: Shape) -> bool:
        """Tell whether a shape stays within the limit."""
        return self.measure(shape) <= self.most


def limit_share(base: Shape, keep: float) -> Limit:
    """Return the limit that keeps at most a share of a model's parameters."""
    return Limit(_count, keep * base.parameters, f"{100 * keep:.4g} % of {base.parameters:,} parameters")


def limit_cost(base: Shape, budget: BudgetConfig) -> Limit:
    """Return a budget as a limit for one base model."""
    kind = budget.type
    if budget.params is not None:
        if budget.params <= 1:
            return limit_share(base, budget.params)
        return Limit(_count, budget.params, f"{budget.params:,.0f} parameters")
    if budget.bytes is not None:
        size = read_size(budget.bytes)
        return Limit(lambda shape: measure_file(shape, kind).total, size, f"{size / 1e6:,.1f} MB as {kind}")
    assert budget.tokens_per_second is not None  # the config demands one of the three
    per_second = (
        read_size(budget.bandwidth)
        if budget.bandwidth is not None
        else (budget.base_tokens_per_second or 0) * measure_file(base, kind).per_token
    )
    most = per_second / budget.tokens_per_second
    text = f"{budget.tokens_per_second:g} tokens/s as {kind}, that is {most / 1e6:,.1f} MB read per token"
    return Limit(lambda shape: measure_file(shape, kind).per_token, most, text)


def read_size(size: int | str) -> int:
    """Return a size in bytes: a number, or text such as ``"150MB"`` or ``"1.5 GiB"``.

    Raises
    ------
    ValueError
        If the text is no size. (A config turns it into a `RecipeError`.)
    """
    if isinstance(size, int):
        found = float(size)
    else:
        match = re.fullmatch(r"\s*([0-9.]+)\s*([kmg]?i?)b?\s*", size.lower())
        if match is None or match[2] not in _UNITS or match[1].count(".") > 1 or match[1] == ".":
            raise ValueError("is no size; accepted for example: 150MB, 1.5GB, 140MiB")
        found = float(match[1]) * _UNITS[match[2]]
    if found < 1:
        raise ValueError("must be at least one byte")
    return int(found)


def _count(shape: Shape) -> int:
    return shape.parameters
