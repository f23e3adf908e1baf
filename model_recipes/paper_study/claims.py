"""What the paper reports (arXiv:2410.00166, version 3), as numbers with their places, and arithmetic on them."""

from dataclasses import dataclass

from dataset_builder.types import EMOTIONS, VALENCE

#: Where the numbers below stand.
PAPER = "Chen et al. 2025, EEG Emotion Copilot, Neural Networks 192:107848 (arXiv:2410.00166v3)"

#: Table 2, method W: F1 over nine emotions and over three valences after each of the five steps.
STEPS_F1: tuple[tuple[float, float], ...] = (
    (0.118, 0.432),
    (0.346, 0.980),
    (0.339, 0.960),
    (0.346, 0.990),
    (0.351, 0.991),
)

#: The same for method W->S.
SEGMENT_STEPS_F1: tuple[tuple[float, float], ...] = (
    (0.080, 0.216),
    (0.096, 0.324),
    (0.100, 0.376),
    (0.093, 0.359),
    (0.103, 0.340),
)


@dataclass(frozen=True)
class PublishedModel:
    """One line of Tables 2 and 3, method W.

    Parameters
    ----------
    name : str
    parameters : float
        Billions.
    nine_f1, three_f1 : float
        Over nine emotions and three valences.
    """

    name: str
    parameters: float
    nine_f1: float
    three_f1: float


#: Models of other sizes beside the pruned one.
SIZES: tuple[PublishedModel, ...] = (
    PublishedModel("pruned, step 5", 0.15, 0.351, 0.991),
    PublishedModel("Qwen2-0.5B, unpruned", 0.5, 0.120, 0.970),
    PublishedModel("Qwen3-0.6B", 0.6, 0.111, 0.980),
    PublishedModel("Qwen2-1.5B", 1.5, 0.117, 0.993),
    PublishedModel("InternLM2.5-1.8B", 1.8, 0.110, 0.970),
    PublishedModel("Qwen2.5-3B", 3.0, 0.201, 0.932),
    PublishedModel("Qwen2.5-7B", 7.0, 0.179, 0.990),
)

#: Table 1: parameters before and after a pruning ratio of 0.5, and the widths it leaves.
FULL_PARAMETERS, HALF_PARAMETERS = 498_431_872, 159_284_000
HALF_WIDTHS = "hidden 448, queries 444, keys and values 148"

#: The claims in a sentence each, by section of the report.
CLAIMS: dict[str, str] = {
    "lengths": (
        "Answers to 50 wavelet points a channel (W) and to segments of 500 (W->S) are about equally near the baseline, "
        "the true answer; W is preferred because W->S named another emotion (section 4.2 and figure 10, one question). "
        "Models trained on W reach F1 0.351, on W->S 0.103 (table 2)."
    ),
    "orders": (
        "Training on the specific data alone (strategy 1) beats public text first, specific data second (strategy 2; "
        "section 4.6, figure 13). The opposite order is not reported."
    ),
    "steps": (
        "Five steps of three passes, four on 250 Hz people and the fifth on 1000 Hz people: F1 over nine emotions "
        "rises from 0.118 to 0.346 in the second step and stays; over three valences from 0.432 to 0.980. Step 3 "
        "answers more richly than step 4 at the same loss (figure 6, table 2)."
    ),
    "sizes": (
        "The pruned model of 0.15 billion parameters (F1 0.351) beats the unpruned one (0.120) and models of 1.5 to 7 "
        "billion (0.110 to 0.201; tables 2 and 3)."
    ),
    "ratio": (
        f"A pruning ratio of 0.5 leaves {HALF_PARAMETERS:,} of {FULL_PARAMETERS:,} parameters ({HALF_WIDTHS}; table 1)."
    ),
    "record": "One answer, converted into the fields of an assisted record (figure 15, one example).",
}


def guess_within_valence() -> tuple[float, float]:
    """Return macro F1 over nine emotions and over three valences of a guesser who knows the valence and nothing else.

    All emotions occur equally often; among those of the known valence one is named at random. Precision and recall of
    an emotion are then both one over the number of emotions of its valence.
    """
    sizes = [sum(VALENCE[other] == VALENCE[emotion] for other in EMOTIONS) for emotion in EMOTIONS]
    return sum(1 / size for size in sizes) / len(sizes), 1.0
