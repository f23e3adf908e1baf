"""What may be answered and what may be shown: bounds on the signal, the person and the model's own words."""

import re
from collections.abc import Sequence

from dataset_builder.prompts.deny import check_denied
from dataset_builder.prompts.library import Language
from dataset_builder.prompts.vocabulary import find_foreign_words
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

#: Outside this range of years no estimate is given; between it and `TRAINED_AGES` there is a caution. A convention: ten
#: years above, where the resting EEG changes slowly, but only four below, where it still matures from year to year.
ANSWERED_AGES = (13, 48)

#: With fewer windows the person's own average, which codes are scaled to, is mostly the training subjects' average.
FEW_WINDOWS = 4

#: Below this usable share most of what the model would read is not brain activity.
MIN_USABLE_SHARE = 0.5

#: Above this share of bad channels their noise has spread into the others through the average reference.
MAX_MARKED_SHARE = 1 / 3

#: The band-power code reads nine scalp regions; with more than a third missing it no longer resembles training data.
MAX_MISSING_REGIONS = 3

#: Longest text that may be a model's assessment, in characters; the longest that models are trained on has some 200.
MAX_SENTENCES = 400

#: Names of channels as amplifiers give them; a longer or stranger one is not repeated.
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 '_./+-]{0,15}")

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
    if (missing := len(quality.missing_regions)) > MAX_MISSING_REGIONS:
        return f"{missing} of 9 scalp regions have no good channel; at most {MAX_MISSING_REGIONS} may."
    return ""


def check_age(age: int | None) -> str:
    """Return why a person's age (years) admits no estimate; empty when it does or is not stated."""
    youngest, oldest = ANSWERED_AGES
    if age is None or youngest <= age <= oldest:
        return ""
    first, last = TRAINED_AGES
    return (
        f"The person's age is too far from the {first} to {last} years of the training population; an estimate is "
        f"given from {youngest} to {oldest} years."
    )


def check_confidence(scores: Sequence[float]) -> str:
    """Return why nine scores name no emotion; empty when they favour one.

    Parameters
    ----------
    scores : sequence of float
        Mean probabilities, sum 1.
    """
    first, second = sorted(scores, reverse=True)[:2]
    if first >= LOW_PROBABILITY and first - second >= LOW_MARGIN:
        return ""
    return (
        f"Low confidence: the scores hardly favour one label (the best has {first:.0%}, the second {second:.0%}, "
        f"guessing gives {CHANCE:.0%})."
    )


def find_cautions(recording: Recording, quality: Quality) -> tuple[str, ...]:
    """Return what a reader must know of the person or the recording before using an estimate."""
    cautions = []
    youngest, oldest = TRAINED_AGES
    if recording.age is None:
        cautions.append("The age is not stated, so nobody knows whether the training population resembles the person.")
    elif not youngest <= recording.age <= oldest:
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


def check_text(text: str, emotion: str, language: Language = "en") -> str:
    """Return why generated sentences must not enter a record; empty when they may.

    First what must never be said (`dataset_builder.prompts.deny`), then whether all words are of the cited library
    or of what codecs say of a code (`dataset_builder.prompts.vocabulary`).

    Parameters
    ----------
    text : str
        The model's assessment.
    emotion : str
        The headline, one of `EMOTIONS`.
    language : {"en", "zh"}
        In which it is written.
    """
    letters = sum(letter.isalnum() for letter in text)
    if 2 * letters <= len("".join(text.split())) or len(text) > MAX_SENTENCES or _BABBLE.search(text):
        return "they are not readable text"
    if hit := check_denied(text, language):
        return f"they hold words that a record must not take from a model: {hit}"
    others = [name for name in EMOTIONS if name not in (emotion, "neutral") and _names(text, name, language)]
    if others:
        return f"they name another emotion ({others[0]}) than the estimate"
    if foreign := find_foreign_words(text, language):
        return f"{len(foreign)} of their words are not in the cited library"
    return ""


def clean_channels(names: Sequence[str]) -> list[str]:
    """Return channel names as a record may repeat them: what no amplifier would call a channel is left unnamed."""
    return [name if _CHANNEL.fullmatch(name) and not check_denied(name, "en") else "unnamed" for name in names]


def clean_note(note: str) -> str:
    """Return a note of the reader; words from the file that a record must not take over make it a general one."""
    hit = check_denied(note, "en")
    return note if hit is None else "A note of the reader is left out: the file's own words in it are on the deny list."


def _names(text: str, emotion: str, language: Language) -> bool:
    """Tell whether a text names an emotion, by its label or by its word in the language."""
    if re.search(rf"(?<![a-z]){emotion}(?![a-z])", text, re.IGNORECASE):
        return True
    return language != "en" and load_terms(language).emotions[emotion] in text


def cap_age(age: int) -> int:
    """Return 90 for every age above 89, one group in 45 CFR 164.514(b)(2); the prompt is shown, so it obeys too."""
    return min(age, 90)
