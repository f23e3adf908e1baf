"""What may stay of a channel's name: an allow-list, for a header can hold any text there, also somebody's name."""

import re
from collections.abc import Sequence

from dataset_builder.sources.montage import MASTOIDS, TEN_TEN

#: What stands between the parts of a name.
SEPARATORS = re.compile(r"[\s\-_/.:,+()]+")

#: What recorders call things that are no place of the 10-10 system.
_CHANNEL_WORDS = frozenset(
    """eeg ref le re ar av avg car org lm link linked nose gnd ground bip a12 m1 m2 m1m2 a1a2 t3 t4 t5 t6 nz o9 o10
    ecg ekg ecgl ecgr eog heog veog heo heol heor veo veol veor veou cb1 cb2
    loc roc emg chin leg arm left right upper lower l r eye eyes horizontal vertical
    edf bdf annotations annotation status trigger trig trg stim sti event events marker markers photic sync code
    resp respiration thorax abdomen nasal flow snore spo2 sao2 pulse pleth pr hr hrv gsr eda ppg bvp temp temperature
    acc accel gyro mag x y z dc ac aux exg ext misc counter packet sample timestamp time battery sound audio light
    ch chan channel input pos position body erg1""".split()
) | {name.lower() for name in (*TEN_TEN, *MASTOIDS)}

#: Letters and a short number: inputs of an amplifier (A1, B32), nets (E128), numbered channels (CH7, EXG1, STI014).
_NUMBERED = re.compile(r"(?:[a-h]|ch|chan|exg|ext|aux|dc|sti|e|eeg|misc|bip|x|input|emg|eog|ecg)?\d{1,3}")


def clean_label(label: str, index: int) -> str:
    """Return a channel's name if every part of it is known, else a numbered one.

    Parameters
    ----------
    label : str
        From the header.
    index : int
        0-based.
    """
    label = " ".join(label.split())
    tokens = [token for token in SEPARATORS.split(label.lower()) if token]
    known = all(token in _CHANNEL_WORDS or _NUMBERED.fullmatch(token) for token in tokens)
    # One number at most: several could be somebody's.
    numbers = sum(token.isdigit() for token in tokens)
    return label if tokens and known and numbers <= 1 and label.isascii() else f"ch{index + 1}"


def clean_labels(labels: Sequence[str]) -> list[str]:
    """Return the names of all channels, those that are not known numbered, and no number given twice."""
    found = [clean_label(label, index) for index, label in enumerate(labels)]
    taken = {name for name, label in zip(found, labels, strict=True) if name == " ".join(label.split())}
    return [
        f"{name}x" if name in taken and name != " ".join(label.split()) else name
        for name, label in zip(found, labels, strict=True)
    ]
