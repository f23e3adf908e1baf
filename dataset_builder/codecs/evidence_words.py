"""What prompts and answers say of the evidence code."""

from dataset_builder.codecs.views import TargetKind
from dataset_builder.types import EMOTIONS

#: Probability of the leading emotion from which on evidence is called clear, and leaning.
_CLEAR, _LEANING = 0.8, 0.5

_GRADES = {
    "en": (
        "The code speaks clearly for one emotion.",
        "The code leans towards one emotion.",
        "The code is divided between several emotions.",
    ),
    "zh": ("编码明显偏向一种情绪。", "编码较偏向一种情绪。", "编码在多种情绪之间分散。"),
}


def explain_evidence(low: str, high: str, target: TargetKind, *, bare: bool, language: str) -> str:
    """Return the legend: what the symbols mean and, in every prompt, that films are what is recognised.

    Parameters
    ----------
    low, high : str
        Lowest and highest symbol.
    target : {"clip", "emotion"}
    bare : bool
        Whether the text names no emotions, so that the legend must.
    language : {"en", "zh"}
    """
    films = target == "clip"
    if language == "zh":
        order = f"，依次为{'、'.join(EMOTIONS)}" if bare else ""
        basis = "主要是识别训练数据中的影片片段，而非情绪本身" if films else "力求适用于任何影片，证据很弱"
        return f"脑电编码：线性模型由频段功率得出的九种情绪的可能性{order}；{low}最低，{high}最高；{basis}。"
    order = f" ({', '.join(EMOTIONS)})" if bare else ""
    basis = (
        "Most of it is recognition of the film clips of the training data, not of feeling."
        if films
        else "It is meant to hold for any film and is weak."
    )
    return (
        f"EEG code: how likely a linear reader of band power finds each of nine emotions{order}, from {low} (least) to "
        f"{high} (most). {basis}"
    )


def describe_evidence(leading: float, language: str) -> str:
    """Say how far a code speaks for one emotion alone.

    Parameters
    ----------
    leading : float
        Probability of the likeliest emotion.
    language : {"en", "zh"}
    """
    return _GRADES[language][0 if leading >= _CLEAR else 1 if leading >= _LEANING else 2]
