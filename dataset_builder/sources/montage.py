"""Channel names of recording files -> names of the 10-10 system."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: The 10-10 system (American Clinical Neurophysiology Society 2016, guideline 2), by rows from front to back,
#: without Nz, O9 and O10, which no standard montage places.
TEN_TEN: tuple[str, ...] = tuple(
    """Fp1 Fpz Fp2 AF9 AF7 AF5 AF3 AF1 AFz AF2 AF4 AF6 AF8 AF10 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10
    FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T9 T7 C5 C3 C1 Cz C2 C4 C6 T8 T10
    TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P9 P7 P5 P3 P1 Pz P2 P4 P6 P8 P10
    PO9 PO7 PO5 PO3 PO1 POz PO2 PO4 PO6 PO8 PO10 O1 Oz O2 Iz""".split()
)

#: Mastoids and earlobes; kept because FACED's average reference includes them.
MASTOIDS: tuple[str, ...] = ("A1", "A2")

_OLD_NAMES = {"t3": "T7", "t4": "T8", "t5": "P7", "t6": "P8", "m1": "A1", "m2": "A2"}
_NAMES = {name.lower(): name for name in (*TEN_TEN, *MASTOIDS)} | _OLD_NAMES

#: What may stand behind a channel's name to say what it was recorded against.
_REFERENCES = set("ref le re ar av avg car org a1 a2 m1 m2 a1a2 a12 a1+a2 m1m2 m1+m2 lm link nose".split())

#: A channel that has a number and no place.
_NUMBERED = re.compile(r"(?:e|eeg|ch|chan|channel|exg|input|electrode)?[ ._-]*\d+")

#: With fewer scalp channels the average over them is no neutral reference, and most regions are empty.
MIN_SCALP_CHANNELS = 8


@dataclass(frozen=True)
class Montage:
    """Which channels of a file are used and under which name.

    Parameters
    ----------
    used : dict of str to str
        Name in the file -> 10-10 name, in the file's order.
    left_out : tuple of str
        Names in the file without a 10-10 name, or a second time the same.
    bipolar : tuple of str
        Names in the file that stand for the difference of two scalp channels.
    """

    used: dict[str, str]
    left_out: tuple[str, ...]
    bipolar: tuple[str, ...]


def match_channels(names: Sequence[str]) -> Montage:
    """Match channel names such as ``"EEG Fp1-REF"``, ``"FP1"`` or ``"T3"`` (T7 today) with the 10-10 system.

    ``"Fp1-Cz"`` is read as Fp1 when every channel is recorded against Cz, else as a bipolar channel.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    Montage
    """
    split = [_split_name(name) for name in names]
    if _names_amplifier_inputs([place for place, _ in split]):
        return Montage({}, tuple(names), ())
    references = {reference for place, reference in split if place in _NAMES and reference}
    common = references if len(references) == 1 else set()
    used: dict[str, str] = {}
    left_out: list[str] = []
    bipolar: list[str] = []
    for name, (place, reference) in zip(names, split, strict=True):
        standard = _NAMES.get(place)
        if standard is None or standard in used.values():
            left_out.append(name)
        elif reference and reference not in _REFERENCES | common:
            (bipolar if reference in _NAMES else left_out).append(name)
        else:
            used[name] = standard
    return Montage(used, tuple(left_out), tuple(bipolar))


def counts_inputs(names: Sequence[str]) -> bool:
    """Tell whether names count the inputs of an amplifier or the sensors of a net, as ``A1``, ``E1``, ``EEG 001`` do.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    bool
        True for BioSemi's inputs, and for eight or more numbered channels: such names need the cap's own map.
    """
    numbered = [name for name in names if _NUMBERED.fullmatch(name.strip().lower())]
    return _names_amplifier_inputs([_split_name(name)[0] for name in names]) or len(numbered) >= MIN_SCALP_CHANNELS


def _split_name(name: str) -> tuple[str, str]:
    """Return place and reference in lower case; the reference is empty where none is given."""
    text = re.sub(r"^eeg[\s_:.-]*(?=\w)", "", name.strip().lower()).strip(" .")
    place, _, reference = re.sub(r"\s*[-_/]\s*|\s+", "-", text, count=1).partition("-")
    return place, reference.replace(" ", "").replace("-", "")


def _names_amplifier_inputs(places: Sequence[str]) -> bool:
    """Tell whether names count inputs (A1, A2, A3 ... B32) as BioSemi caps do, so that A1 is no earlobe."""
    return "a3" in places and "a4" in places
