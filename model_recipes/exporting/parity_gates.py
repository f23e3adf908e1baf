"""How far a GGUF file may be from the model it was made from; over a gate nothing is published."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationInfo, field_validator

from dataset_builder.errors import StageError
from dataset_builder.manifest import Metric
from dataset_builder.recipe import StrictModel
from model_recipes.exporting.types import FileType

#: Prompts below which a share of prompts is told but is no gate: one prompt of fewer would decide.
MIN_PROMPTS = 100

Limits = dict[FileType, float | None]


class ParityGates(StrictModel):
    """Limits by file type; a recipe gives those that it changes, null takes one away.

    F32, F16 and BF16 are held to what their arithmetic allows. The others have at least twice the worst of five sound
    exports, with and without importance matrix: SmolLM2, whose weights come from a four-bit file (divergence 0.116 as
    Q5_K_M, 0.074 as Q4_K_M, 0.394 as Q4_0, there with perplexity +26 %), a trained reader, to which plain text is
    foreign (perplexity -13 %, +12 %, -25 %; Q8_0 -0.9 %), two demos' and a random model. An embedding with scales twice
    too large is over them. The largest difference of a log-probability is no gate for quantised files: one unlikely
    token decides it. Weights are held to what rounding can cost at all: of a dozen distributions, each with and without
    an importance matrix, the worst had one weight per block that outweighs the others (Q8_0 0.013, Q5_K 0.067, Q4_K
    0.16, Q4_0 0.25; normal ones 0.005, 0.04, 0.08, 0.09).

    Parameters
    ----------
    weight_error : dict
        Root mean square of what a tensor's weights lose, over that of the weights; of every tensor.
    logit_difference : dict
        Largest accepted difference of a log-probability, nats, over all tokens of the vocabulary. Log-probabilities
        are logits less a constant per position, which no answer depends on.
    kl_divergence : dict
        Mean over positions, nats.
    perplexity_change : dict
        Relative, either way, on the recipe's text.
    label_score_difference : dict
        Largest difference of one of nine label probabilities.
    label_agreement : dict
        Smallest accepted share of prompts with the same best label; a gate from 100 prompts on.
    label_agreement_f16 : dict
        The same, with the F16 file's label where one is exported.
    greedy_agreement : dict
        Smallest accepted share of prompts with the same greedy text.
    """

    weight_error: Limits = {
        **{"F32": 1e-7, "F16": 1e-3, "BF16": 3e-3},
        **{"Q8_0": 0.02, "Q5_K_M": 0.1, "Q4_K_M": 0.2, "Q4_0": 0.3},
    }
    logit_difference: Limits = {"F32": 1e-3}
    kl_divergence: Limits = {
        **{"F32": 1e-6, "F16": 1e-4, "BF16": 1e-2},
        **{"Q8_0": 0.02, "Q5_K_M": 0.25, "Q4_K_M": 0.25, "Q4_0": 0.8},
    }
    perplexity_change: Limits = {
        **{"F32": 1e-4, "F16": 1e-3, "BF16": 0.02},
        **{"Q8_0": 0.05, "Q5_K_M": 0.3, "Q4_K_M": 0.3, "Q4_0": 0.6},
    }
    label_score_difference: Limits = {"F32": 1e-3, "F16": 0.02}
    label_agreement: Limits = {"Q8_0": 0.97, "Q5_K_M": 0.97, "Q4_K_M": 0.97}
    label_agreement_f16: Limits = {"Q8_0": 0.97, "Q5_K_M": 0.97, "Q4_K_M": 0.97}
    greedy_agreement: Limits = {"F32": 1.0, "F16": 1.0}

    @field_validator("*", mode="before")
    @classmethod
    def _complete(cls, value: Any, info: ValidationInfo) -> Any:
        """Keep the limits of the types that a recipe does not name."""
        default = cls.model_fields[str(info.field_name)].default
        return {**default, **value} if isinstance(value, dict) else value


#: Measures that are shares of prompts: more is better.
_LABELS = ("label_agreement", "label_agreement_f16")
_SHARES = (*_LABELS, "greedy_agreement")


def check_gates(name: str, file_type: str, metrics: Iterable[Metric], gates: ParityGates) -> None:
    """Refuse a file that is over a gate.

    Parameters
    ----------
    name : str
        File name for the message.
    file_type : str
    metrics : iterable of Metric
        Named as the fields of `ParityGates`.
    gates : ParityGates

    Raises
    ------
    StageError
        Names the first gate, what was found and what is accepted.
    """
    limits: dict[str, dict[str, float | None]] = gates.model_dump()
    for metric in metrics:
        limit = limits.get(metric.name, {}).get(file_type)
        if limit is None or (metric.name in _LABELS and metric.n < MIN_PROMPTS):
            continue
        share = metric.name in _SHARES
        passed = metric.value >= limit if share else abs(metric.value) <= limit
        if not passed:  # NaN does not pass either
            what = metric.name.replace("_", " ")
            bound = "at least" if share else "at most"
            raise StageError(f"{name}: {what} is {metric.value:.3g}; accepted: {bound} {limit:g}")
