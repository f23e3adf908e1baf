"""Choose the shape of a pruned model: half the parameters is a number, an admissible shape is a decision."""

from dataclasses import dataclass

from pydantic import Field

from dataset_builder.errors import RecipeError
from dataset_builder.recipe import StrictModel
from model_recipes.bases.qwen2 import Shape

#: At most this share of the layers is dropped by default. Measured on SmolLM2-135M at half the parameters: dropping a
#: third and cutting the feed-forward blocks kept more than dropping half, a fifth or none.
_MAX_DEPTH_CUT = 1 / 3

#: Below this share of the feed-forward width, hidden width and heads are cut as well.
_MIN_FFN_SHARE = 1 / 4

#: How far the parameter count may miss the target before a shape is thought a poor fit.
_TOLERANCE = 0.04

#: Rows in multiples of 256 keep llama.cpp's K-quants; in multiples of 32, its simple block formats.
_FINE, _COARSE = 32, 256


class ShapeConfig(StrictModel):
    """An explicit target shape; what is left out stays as it is.

    Parameters
    ----------
    hidden, heads, ffn, layers : int, optional
    """

    hidden: int | None = Field(default=None, ge=32)
    heads: int | None = Field(default=None, ge=1)
    ffn: int | None = Field(default=None, ge=32)
    layers: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class Plan:
    """A chosen shape, what else was possible, and the reason in words."""

    shape: Shape
    ratio: float
    candidates: list[dict[str, float]]
    reason: str


def plan_shape(base: Shape, keep: float, explicit: ShapeConfig | None = None) -> Plan:
    """Choose the shape that keeps a share of a model's parameters.

    Parameters
    ----------
    base : Shape
        Shape of the model to prune.
    keep : float
        Share of all parameters to keep, in (0, 1].
    explicit : ShapeConfig, optional
        A shape to use instead.

    Returns
    -------
    Plan

    Raises
    ------
    RecipeError
        If the explicit shape is not admissible or larger than the base, or no admissible shape comes near `keep`.
    """
    if explicit is not None and any(value is not None for value in explicit.model_dump().values()):
        return _plan_explicit(base, explicit)
    if keep == 1:
        return Plan(base, 1.0, [], "nothing to prune")
    for widths in list_widths(base):
        candidates = list_candidates(base, keep, *widths)
        if candidates:
            best = min(candidates, key=lambda shape: _rate(shape, base, keep))
            width = "hidden width and heads kept" if widths[0] == base.hidden else "hidden width and heads cut as well"
            reason = f"{width}; {base.layers - best.layers} of {base.layers} layers dropped; feed-forward blocks cut"
            return Plan(best, best.parameters / base.parameters, _tell(candidates, base, keep), reason)
    lowest = Shape(base.kv_heads * base.head_dim, base.kv_heads, base.kv_heads, base.head_dim, _FINE, 1, base.vocab)
    raise RecipeError(
        f"keep: no admissible shape within {_TOLERANCE:.0%} of {keep:g} x {base.parameters:,} parameters; the "
        f"embedding alone holds {base.vocab * base.hidden / base.parameters:.0%}, the smallest shape "
        f"{lowest.parameters / base.parameters:.0%}; give a larger keep or an explicit shape"
    )


def list_widths(base: Shape) -> list[tuple[int, int]]:
    """Return the admissible (hidden, heads), widest first; a head keeps its width, so hidden falls in whole heads."""
    widths = [(heads * base.head_dim, heads) for heads in range(base.heads, base.kv_heads - 1, -base.kv_heads)]
    return [(hidden, heads) for hidden, heads in widths if hidden % _FINE == 0]


def list_candidates(base: Shape, keep: float, hidden: int, heads: int) -> list[Shape]:
    """Return admissible shapes of one width near the target: each depth with its best feed-forward widths."""
    target = keep * base.parameters
    narrower = base.with_(hidden=hidden, heads=heads)
    least_layers = max(1, base.layers - round(_MAX_DEPTH_CUT * base.layers) - 1)
    found = set()
    for layers in range(least_layers, base.layers + 1):
        empty = narrower.with_(layers=layers, ffn=0).parameters
        wanted = (target - empty) / (3 * hidden * layers)
        for step in (_FINE, _COARSE):
            for ffn in (int(wanted // step) * step, (int(wanted // step) + 1) * step):
                shape = narrower.with_(layers=layers, ffn=ffn)
                fits = abs(shape.parameters / target - 1) <= _TOLERANCE
                if _MIN_FFN_SHARE * base.ffn <= ffn <= base.ffn and fits and not shape.find_faults():
                    found.add(shape)
    return sorted(found, key=lambda shape: _rate(shape, base, keep))


def _rate(shape: Shape, base: Shape, keep: float) -> tuple[float, int]:
    """Return a cost: distance from the target, from the wanted depth, and a small charge for widths off 256."""
    wanted_depth = 1 - min(_MAX_DEPTH_CUT, (1 - keep) * 2 / 3)
    miss = abs(shape.parameters / base.parameters / keep - 1)
    depth = abs(shape.layers / base.layers - wanted_depth)
    fine = 0.02 if shape.ffn % _COARSE else 0.0
    return miss + 0.3 * depth + fine, shape.layers


def _tell(candidates: list[Shape], base: Shape, keep: float) -> list[dict[str, float]]:
    return [
        {"hidden": s.hidden, "heads": s.heads, "ffn": s.ffn, "layers": s.layers, "parameters": s.parameters}
        | {"ratio": round(s.parameters / base.parameters, 4), "cost": round(_rate(s, base, keep)[0], 4)}
        for s in candidates[:8]
    ]


def _plan_explicit(base: Shape, explicit: ShapeConfig) -> Plan:
    changes = {name: value for name, value in explicit.model_dump().items() if value is not None}
    if "heads" in changes and "hidden" not in changes:
        changes["hidden"] = changes["heads"] * base.head_dim
    if "hidden" in changes and "heads" not in changes:
        changes["heads"] = changes["hidden"] // base.head_dim
    shape = base.with_(**changes)
    faults = shape.find_faults()
    faults += [f"{n} must not exceed {getattr(base, n)}" for n, v in changes.items() if v > getattr(base, n)]
    if faults:
        accepted = ", ".join(f"{hidden}/{heads}" for hidden, heads in list_widths(base))
        raise RecipeError(f"shape: {'; '.join(faults)}; accepted hidden/heads: {accepted}")
    return Plan(shape, shape.parameters / base.parameters, [], "shape given in the recipe")
