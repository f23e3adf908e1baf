"""Choose the shape of a pruned model: half the parameters is a number, an admissible shape is a decision.

Every admissible shape within the budget has a predicted damage; the least damaged is taken. `predict_damage` tells how
it is predicted, `docs/pruning.md` how well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal

from pydantic import Field

from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel
from model_recipes.bases.qwen2 import Shape
from model_recipes.pruning.budget import Limit, limit_share
from model_recipes.pruning.costs import count_flops, measure_file

Preference = Literal["quality", "quantisation"]

#: Rows in multiples of 256 keep llama.cpp's K-quants; in multiples of 32, its simple block formats.
_FINE, _COARSE = 32, 256

#: Predicted damage that a feed-forward width off 256 must save to be worth its larger down projection.
_FINE_CHARGE = 0.03

#: A vocabulary of this size is offered beside the whole one where that is much larger.
_SMALL_VOCAB = 32_768

#: How many candidates of each width are told, and how much worse than the best a width may be to be told at all.
_TOLD, _WORSE = 3, 2.5


class ShapeConfig(StrictModel):
    """An explicit target shape; what is left out stays as it is.

    Parameters
    ----------
    hidden, heads, ffn, layers, vocab : int, optional
    """

    hidden: int | None = Field(default=None, ge=32)
    heads: int | None = Field(default=None, ge=1)
    ffn: int | None = Field(default=None, ge=32)
    layers: int | None = Field(default=None, ge=1)
    vocab: int | None = Field(default=None, ge=512)

    @property
    def given(self) -> dict[str, int]:
        """The numbers that are given, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """A chosen shape, what else was possible, and the reason in words.

    Parameters
    ----------
    shape : Shape
    ratio : float
        Share of the parameters that is kept.
    candidates : list of dict
        Shapes that were possible, the chosen one first, with what they cost; see `describe_candidate`.
    reason : str
        What was asked, what is kept, and why they differ.
    """

    shape: Shape
    ratio: float
    candidates: list[dict[str, Any]]
    reason: str


def plan_shape(
    base: Shape,
    limit: Limit | float,
    explicit: ShapeConfig | None = None,
    prefer: Preference = "quality",
    vocab: int | None = None,
) -> Plan:
    """Choose the least damaged shape within a limit.

    Parameters
    ----------
    base : Shape
        Shape of the model to prune.
    limit : Limit or float
        What the shape may cost; a number is the share of the parameters that is kept at most.
    explicit : ShapeConfig, optional
        A shape to use instead.
    prefer : {"quality", "quantisation"}
        ``quantisation`` takes only widths in multiples of 256 where the model has any, so that no tensor of a Q4_K_M
        file falls back to a larger type.
    vocab : int, optional
        Tokens to keep. Default: all.

    Returns
    -------
    Plan

    Raises
    ------
    RecipeError
        If the explicit shape is not admissible or larger than the base, or no admissible shape is within the limit.
    """
    if vocab is not None and vocab > base.vocab:
        raise RecipeError(f"vocabulary: {vocab:,} tokens wanted, the base has {base.vocab:,}")
    if explicit is not None and explicit.given:
        return _plan_explicit(base, explicit, vocab)
    limit = limit_share(base, limit) if isinstance(limit, float) else limit
    start = base if vocab is None else base.with_(vocab=vocab)
    if limit.allows(start):
        reason = f"asked: at most {limit.text}; the model has {base.parameters:,} parameters"
        done = "nothing to prune" if vocab is None else f"a vocabulary of {vocab:,} tokens is enough"
        return Plan(start, start.parameters / base.parameters, [], f"{reason}: {done}")
    candidates = list_candidates(base, limit, prefer, start.vocab)
    if not candidates:
        raise RecipeError(_explain_failure(base, limit, prefer, start.vocab))
    best = candidates[0]
    hints = [] if vocab is not None else list_candidates(base, limit, prefer, _SMALL_VOCAB)[:1]
    told = [describe_candidate(shape, base) for shape in [*pick_told(candidates, base), *hints]]
    return Plan(best, best.parameters / base.parameters, told, _explain(best, base, limit, prefer, hints))


def list_widths(base: Shape) -> list[tuple[int, int]]:
    """Return the admissible (hidden, heads), widest first; a head keeps its width, so hidden falls in whole heads."""
    widths = [(heads * base.head_dim, heads) for heads in range(base.heads, base.kv_heads - 1, -base.kv_heads)]
    return [(hidden, heads) for hidden, heads in widths if hidden % _FINE == 0]


def list_candidates(base: Shape, limit: Limit, prefer: Preference = "quality", vocab: int | None = None) -> list[Shape]:
    """Return admissible shapes within a limit, least damage first: each width and depth with its widest feed-forward.

    Empty where even the smallest shape costs more, or `vocab` is larger than the base's.
    """
    vocab = base.vocab if vocab is None else vocab
    if vocab > base.vocab:
        return []
    steps = (_COARSE,) if prefer == "quantisation" and base.ffn >= _COARSE else (_COARSE, _FINE)
    found: set[Shape] = set()
    for hidden, heads in _prefer_widths(base, prefer):
        for layers in range(1, base.layers + 1):
            shape = base.with_(hidden=hidden, heads=heads, layers=layers, vocab=vocab)
            found.update(shape.with_(ffn=ffn) for step in steps if (ffn := _widen(shape, limit, step)))
    admissible = [shape for shape in found if not shape.find_faults()]
    return sorted(admissible, key=lambda shape: (predict_damage(shape, base), -shape.layers, -shape.ffn))


def predict_damage(shape: Shape, base: Shape) -> float:
    """Predict by how much pruning raises the logarithm of perplexity, before any recovery.

    With ``x = ln(before / after)`` of each number: ``3.1 x + 2 x^3`` for the layers, ``1.9 x^1.7`` for the
    feed-forward width, ``10 x`` for the hidden width with its heads, ``0.3 x`` for the vocabulary. Measured on
    SmolLM2-135M, layers dropped one at a time and channels scored by activity: the divergence of 14 depths from 29 to
    16 of 30 layers (met within 0.15), three feed-forward widths, one hidden width, one vocabulary. The first layer to
    go is already missed, while of the feed-forward channels many are hardly. Good for ranking shapes, not for telling
    a perplexity.
    """
    hidden, layers, ffn, vocab = (
        log(getattr(base, name) / getattr(shape, name)) for name in ("hidden", "layers", "ffn", "vocab")
    )
    fine = _FINE_CHARGE if shape.ffn % _COARSE and shape.ffn != base.ffn else 0.0
    return 10 * hidden + 3.1 * layers + 2 * layers**3 + 1.9 * ffn**1.7 + 0.3 * vocab + fine


def pick_told(candidates: Sequence[Shape], base: Shape) -> list[Shape]:
    """Return the best few of each width that comes near the best, the best first."""
    most, told = predict_damage(candidates[0], base) + _WORSE, list[Shape]()
    for shape in candidates:
        near = predict_damage(shape, base) <= most
        if near and sum(other.hidden == shape.hidden for other in told) < _TOLD:
            told.append(shape)
    return told


def describe_candidate(shape: Shape, base: Shape) -> dict[str, Any]:
    """Return a shape with what it costs, as a row of the table.

    Returns
    -------
    dict
        ``hidden, heads, kv_heads, ffn, layers, vocab, parameters``, ``ratio`` (kept), ``f16_bytes_per_token`` and
        ``q4_k_m_bytes_per_token`` (tensors read), ``q4_k_m_fallbacks``, ``flops_per_token``, ``damage``.
    """
    f16, q4 = measure_file(shape, "F16"), measure_file(shape, "Q4_K_M")
    numbers = shape.as_dict()
    return {name: numbers[name] for name in ("hidden", "heads", "kv_heads", "ffn", "layers", "vocab")} | {
        "parameters": shape.parameters,
        "ratio": round(shape.parameters / base.parameters, 4),
        "f16_bytes_per_token": f16.per_token,
        "q4_k_m_bytes_per_token": q4.per_token,
        "q4_k_m_fallbacks": q4.fallbacks,
        "flops_per_token": count_flops(shape),
        "damage": round(predict_damage(shape, base), 3),
    }


def _prefer_widths(base: Shape, prefer: Preference) -> list[tuple[int, int]]:
    widths = list_widths(base)
    friendly = [pair for pair in widths if pair[0] % _COARSE == 0]
    return friendly if prefer == "quantisation" and friendly else widths


def _widen(shape: Shape, limit: Limit, step: int) -> int:
    """Return the widest feed-forward block within the limit, a multiple of `step`; 0 if there is none."""
    low, high = 0, shape.ffn // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if limit.allows(shape.with_(ffn=middle * step)) else (low, middle - 1)
    return low * step


def _explain(best: Shape, base: Shape, limit: Limit, prefer: Preference, hints: list[Shape]) -> str:
    parts = [f"asked: at most {limit.text}", f"kept: {best.parameters:,} ({best.parameters / base.parameters:.2%})"]
    step = _COARSE if best.ffn % _COARSE == 0 else _FINE
    if best.ffn < base.ffn:
        missed = 3 * best.hidden * step * best.layers
        parts.append(f"feed-forward widths move in steps of {step}, {missed:,} parameters each at this depth")
    same = "hidden width and heads kept"
    narrower = f"hidden width {base.hidden} -> {best.hidden}, heads {base.heads} -> {best.heads}"
    parts.append(same if best.hidden == base.hidden else narrower)
    parts.append(f"{base.layers - best.layers} of {base.layers} layers dropped, feed-forward {base.ffn} -> {best.ffn}")
    if prefer == "quantisation" and best.hidden % _COARSE:
        parts.append("no width of this model is a multiple of 256, so its quantised rows fall back")
    for hint in hints:
        gain = f"damage {predict_damage(hint, base):.2f} instead of {predict_damage(best, base):.2f}"
        parts.append(f"with a vocabulary of {hint.vocab:,} tokens (last row): {gain}")
    return "; ".join(parts)


def _explain_failure(base: Shape, limit: Limit, prefer: Preference, vocab: int) -> str:
    hidden, heads = _prefer_widths(base, prefer)[-1]
    step = _COARSE if prefer == "quantisation" and base.ffn >= _COARSE else _FINE
    least = base.with_(hidden=hidden, heads=heads, ffn=step, layers=1, vocab=vocab)
    return (
        f"budget: no admissible shape within {limit.text}; the embedding alone holds "
        f"{vocab * base.hidden / base.parameters:.0%} of the parameters, the smallest shape "
        f"({least.hidden}/{least.heads}, 1 layer) {least.parameters / base.parameters:.1%}; accepted: a larger budget, "
        "a smaller vocabulary (vocabulary.size) or an explicit shape"
    )


def _plan_explicit(base: Shape, explicit: ShapeConfig, vocab: int | None) -> Plan:
    changes = explicit.given
    if "heads" in changes and "hidden" not in changes:
        changes["hidden"] = changes["heads"] * base.head_dim
    if "hidden" in changes and "heads" not in changes:
        changes["heads"] = changes["hidden"] // base.head_dim
    if vocab is not None:
        changes.setdefault("vocab", vocab)
    shape = base.with_(**changes)
    faults = shape.find_faults()
    faults += [f"{n} must not exceed {getattr(base, n)}" for n, v in changes.items() if v > getattr(base, n)]
    if vocab is not None and shape.vocab != vocab:
        faults.append(f"vocab must be the vocabulary.size of {vocab}")
    if faults:
        accepted = ", ".join(f"{hidden}/{heads}" for hidden, heads in list_widths(base))
        raise RecipeError(f"shape: {'; '.join(faults)}; accepted hidden/heads: {accepted}")
    ratio = shape.parameters / base.parameters
    reason = f"shape given in the recipe; kept: {shape.parameters:,} ({ratio:.1%}) of {base.parameters:,} parameters"
    return Plan(shape, ratio, [describe_candidate(shape, base)], reason)
