"""Made-up participants: demographics, the order in which they saw the clips, and their self-ratings."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm

from dataset_builder.seeds import make_rng
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.statistics import RATING_MEAN, RATING_SD
from dataset_builder.types import EMOTIONS, RATINGS

#: Upper end of the rating scale.
_TOP = 7.0

#: Share of a rating's variance that is the person's way of using that item.
_STYLE = 0.25


@dataclass(frozen=True)
class Person:
    """One row of Recording_info.csv.

    Parameters
    ----------
    sex : str
        ``"F"`` or ``"M"``.
    age : int
        Years.
    cohort : int
        1 or 2: FACED was recorded in two runs of the laboratory.
    device_sfreq_hz : int
    unit : str
        ``"V"`` or ``"uV"``, as the release has it for the raw files.
    """

    sex: str
    age: int
    cohort: int
    device_sfreq_hz: int
    unit: str

    def row(self) -> str:
        """Return the columns Gender to Unit."""
        return f"{self.sex},{self.age},{self.cohort},{self.device_sfreq_hz},{self.unit}"


def draw_person(seed: int, subject: str) -> Person:
    """Draw demographics with FACED's proportions.

    There, 62 of 123 people are in cohort 2: all at 1000 Hz, 32 women and 30 men, 17 to 38 years old. Cohort 1 is 43
    women and 18 men of 19 to 23 years, mostly at 250 Hz. Age, cohort and device go together, here as there.
    """
    rng = make_rng(seed, "synthetic", subject, "person")
    if rng.random() < 62 / 123:
        age = int(np.clip(np.round(rng.normal(26.0, 5.0)), 17, 38))
        return Person("F" if rng.random() < 32 / 62 else "M", age, 2, 1000, "V")
    age = int(np.clip(np.round(rng.normal(20.3, 0.9)), 19, 23))
    sex = "F" if rng.random() < 43 / 61 else "M"
    rate, unit = [(1000, "V"), (250, "uV"), (250, "V")][rng.choice(3, p=[6 / 61, 33 / 61, 22 / 61])]
    return Person(sex, age, 1, rate, unit)


def draw_presentation(seed: int, subject: str) -> list[int]:
    """Draw the order of clips: seven blocks of four clips of one valence, all else at random."""
    rng = make_rng(seed, "synthetic", subject, "presentation")
    blocks = []
    for valence in ("Negative", "Neutral", "Positive"):
        clips = rng.permutation([clip.number for clip in CLIPS if clip.valence == valence])
        blocks += [clips[start : start + 4] for start in range(0, len(clips), 4)]
    return [int(clip) for index in rng.permutation(len(blocks)) for clip in blocks[index]]


def draw_ratings(seed: int, subject: str) -> np.ndarray:
    """Draw self-ratings with FACED's mean and spread per emotion and item.

    Returns
    -------
    ndarray of shape (28, 12), float64, 0 to 7
        Row 0 is clip 1; columns as in `RATINGS`.
    """
    rng = make_rng(seed, "synthetic", subject, "ratings")
    rows = [EMOTIONS.index(clip.label) for clip in CLIPS]
    mean, sd = RATING_MEAN[rows] / _TOP, RATING_SD[rows] / _TOP
    concentration = np.maximum(mean * (1 - mean) / sd**2 - 1, 0.1)
    style = rng.standard_normal(len(RATINGS))
    own = rng.standard_normal(mean.shape)
    rank = norm.cdf(np.sqrt(_STYLE) * style + np.sqrt(1 - _STYLE) * own)
    return np.clip(_TOP * beta.ppf(rank, mean * concentration, (1 - mean) * concentration), 0.0, _TOP)
