"""What may stay of a header besides channel names: units, filters and annotations, by allow-lists.

A list of what identifies is never complete; a list of what an EEG needs is short. Tokens that are not on it are
replaced or dropped, whatever they are.
"""

import re
from collections.abc import Collection

from dataset_builder.sources.channel_labels import SEPARATORS, clean_label
from dataset_builder.types import EMOTIONS

_UNITS = {
    name.lower(): name
    for name in """uV mV V nV ?V % bpm degC C F Hz kHz S uS Ohm kOhm MOhm g m/s2 l/min mmHg cmH2O Boolean a.u. mg s ms
    deg/s rad nA uA mA A T pH""".split()
}

_FILTER = re.compile(r"(?i)(?:(?:HP|LP|BP|N|DC|notch)[:=]?\s*(?:\d{0,4}\.?\d{1,4}\s*(?:Hz|s)?)?[\s,;]*){1,4}")

#: Words of events; the nine emotions and their kin are what this project's stimuli are called.
_EVENT_WORDS = frozenset(
    """eyes eye open opened closed close start stop begin end of on off to the and new segment boundary edge bad break
    pause rest resting baseline stimulus stimuli stim response trigger marker event comment code sync clip video film
    movie trial block session run task condition cue target standard deviant oddball fixation cross left right hand
    foot button press rt square circle s r t n m photic stimulation flash hz hyperventilation hv post
    sleep stage w n1 n2 n3 n4 rem wake arousal artifact artefact blink blinks movement muscle chewing saccade
    calibration impedance check recording onset offset practice feedback instruction rating
    happy sad afraid fearful angry disgusted amused inspired joyful tender calm surprise surprised positive negative
    valence high low acq skip""".split()
) | set(EMOTIONS)

#: What stands before the number of a trigger, which may then be a longer one.
_TRIGGER_WORDS = frozenset("s r t stimulus stim response trigger sync code".split())


def clean_unit(unit: str) -> str:
    """Return a known unit in ASCII, else an empty text."""
    text = unit.strip().replace("µ", "u").replace("μ", "u").replace("\ufffd", "?")
    return _UNITS.get(text.lower(), "") if text != "v" else "V"


def clean_filter(text: str) -> str:
    """Return a description of filters if it holds nothing but kinds, numbers and units, else an empty text."""
    text = " ".join(text.split())
    return text if _FILTER.fullmatch(text) and text.isascii() else ""


def clean_annotation(text: str, keep: Collection[str] = ()) -> str | None:
    """Return the text of an annotation if it names an event, else None.

    Parameters
    ----------
    text : str
    keep : collection of str
        Further texts that may stay, exactly as they are but for spaces around them.

    Returns
    -------
    str or None
        An event's words may hold one number of at most three digits, a trigger's five: nothing that is a date, a
        telephone or a record number.
    """
    text = text.strip()
    if text in keep:
        return text
    tokens = [token for token in SEPARATORS.split(re.sub(r"(?<=[a-z])(?=\d)", " ", text.lower())) if token]
    digits = [token for token in tokens if token.isdigit()]
    words = [token for token in tokens if not token.isdigit()]
    joined = {word + "".join(digits) for word in words}  # "n2" was split from its digit
    longest = 5 if words and set(words) <= _TRIGGER_WORDS else 3
    known = all(word in _EVENT_WORDS for word in words) or bool(joined & _EVENT_WORDS and len(words) == 1)
    fits = len(digits) <= 1 and all(len(number) <= longest for number in digits)
    # Spaces stay as they are: BrainVision's "S  1" is not "S 1".
    return re.sub(r"[\x00-\x1f]", " ", text) if tokens and known and fits and text.isascii() else None


def is_known(text: str) -> bool:
    """Tell whether a text may stand in what is written: a channel's name, a unit, filters, or an event's words."""
    known = clean_label(text, 0) == text or clean_unit(text) or clean_filter(text)
    return bool(known) or clean_annotation(text) is not None
