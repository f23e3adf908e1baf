"""What may be answered and what may be shown: bounds on the signal, the person and the model's own words."""

import re

from dataset_builder.prompts.deny import check_denied
from dataset_builder.prompts.wordings import load_terms
from dataset_builder.quality import Quality
from dataset_builder.types import EMOTIONS, Recording

#: What guessing gives to each of the nine labels.
CHANCE = 1 / len(EMOTIONS)

#: Below twice chance even the best label is called low confidence. A convention: the scores are not calibrated.
LOW_PROBABILITY = 2 * CHANCE

#: A lead over the second label of less than half of chance is called a tie. A convention as well.
LOW_MARGIN = CHANCE / 2

#: FACED's participants (Chen et al. 2023, Sci Data 10:740): the model has seen nobody outside this range of years.
TRAINED_AGES = (17, 38)

#: With fewer windows the person's own average, which codes are scaled to, is mostly the training subjects' average.
FEW_WINDOWS = 4

#: Below this usable share most of what the model would read is not brain activity.
MIN_USABLE_SHARE = 0.5

#: Above this share of bad channels their noise has spread into the others through the average reference.
MAX_MARKED_SHARE = 1 / 3

#: The band-power code reads nine scalp regions; with more than a third missing it no longer resembles training data.
MAX_MISSING_REGIONS = 3

#: Signs that a model is babbling: a word longer than any of the language, or one word, or a few Chinese characters,
#: four times in a row.
_BABBLE = re.compile(r"[A-Za-z]{40}|\b(\w+)(?:\W+\1\b){3}|([\u4e00-\u9fff]{1,6})\2{3}")


def find_reason_to_abstain(quality: Quality) -> str:
    """Return why the signal is too bad for an estimate; empty when it is good enough."""
    marked = {*quality.flat_channels, *quality.noisy_channels}
    if quality.usable_fraction < MIN_USABLE_SHARE:
        return f"Only {quality.usable_fraction:.0%} of the signal is usable; at least {MIN_USABLE_SHARE:.0%} is needed."
    if len(marked) > MAX_MARKED_SHARE * quality.n_channels:
        return f"{len(marked)} of {quality.n_channels} channels are flat or noisy; at most a third may be."
    if len(quality.missing_regions) > MAX_MISSING_REGIONS:
        found = f"{len(quality.missing_regions)} of 9 scalp regions have no good channel"
        return f"{found}; at most {MAX_MISSING_REGIONS} may."
    return ""


def find_cautions(recording: Recording, quality: Quality) -> tuple[str, ...]:
    """Return what a reader must know of the person or the recording before using an estimate."""
    cautions = []
    youngest, oldest = TRAINED_AGES
    if recording.age is not None and not youngest <= recording.age <= oldest:
        cautions.append(f"The person's age lies outside the {youngest} to {oldest} years of the training population.")
    if len(recording) < FEW_WINDOWS:
        cautions.append(
            f"Few windows ({len(recording)}): the person's own average, to which the signal is compared, is uncertain."
        )
    if quality.missing_regions:
        cautions.append(
            f"No good channel over {', '.join(quality.missing_regions)}; no training recording had such a gap."
        )
    return tuple(cautions)


def check_text(text: str, emotion: str, language: str = "en") -> str:
    """Return why generated sentences must not enter a record; empty when they may.

    Parameters
    ----------
    text : str
        The model's assessment.
    emotion : str
        The headline, one of `EMOTIONS`.
    language : {"en", "zh"}
        In which it is written.
    """
    if _BABBLE.search(text):
        return "they are not readable text"
    if hit := check_denied(text, language):
        return f"they hold words that a record must not take from a model: {hit}"
    others = [name for name in EMOTIONS if name not in (emotion, "neutral") and _names(text, name, language)]
    if others:
        return f"they name another emotion ({others[0]}) than the estimate"
    return ""


def _names(text: str, emotion: str, language: str) -> bool:
    """Tell whether a text names an emotion, by its label or by its word in the language."""
    if re.search(rf"(?<![a-z]){emotion}(?![a-z])", text, re.IGNORECASE):
        return True
    return language != "en" and load_terms(language).emotions[emotion] in text


def cap_age(age: int) -> int:
    """Return 90 for every age above 89, one group in 45 CFR 164.514(b)(2); the prompt is shown, so it obeys too."""
    return min(age, 90)
