"""When each of FACED's clips was shown: the triggers in evt.bdf.

A clip is its number (1 to 28), then 101 where the film begins and 102 where it ends. The session opens with a burst of
five 100; 201 and 202 frame rests. Five recordings also hold the codes of another task, among them 101 without 102.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import mne
import numpy as np

from dataset_builder.errors import InputError
from dataset_builder.sources.clips import CLIPS

START, CLIP_START, CLIP_END = 100, 101, 102

#: How many times `START` is sent before the first clip. The authors' own code counts from the fifth as well.
N_STARTS = 5

#: A span further from the clip table than this is told, seconds. Measured medians lie within 0.5 s of the table.
SPAN_TOLERANCE_S = 1.0

#: 25 subjects saw a version of clip 22 with more seconds at its start; its end is the same.
LONG_CLIP, LONG_CLIP_S = 22, 83.9

_MAX_LISTED = 8

_DURATION_S = {clip.number: clip.duration_s for clip in CLIPS}


@dataclass(frozen=True)
class Span:
    """When one clip was shown.

    Parameters
    ----------
    clip : int
        1 to 28.
    rank : int
        1-based place in the order of presentation.
    start_s, end_s : float
        Seconds from the beginning of the recording.
    """

    clip: int
    rank: int
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.start_s


def read_spans(path: Path, name: str) -> tuple[list[Span], list[str]]:
    """Read the spans of all clips from a file of triggers.

    Parameters
    ----------
    path : Path
        ``evt.bdf``: BDF+ with annotations.
    name : str
        How messages call the file: relative to the data root.

    Returns
    -------
    tuple of (list of Span, list of str)
        In the order of clip numbers, and notes.

    Raises
    ------
    InputError
        If the file cannot be read or holds no clip.
    """
    try:
        with path.open("rb") as file:
            if file.read(8) != b"\xffBIOSEMI":  # MNE finds triggers in anything
                raise InputError(f"{name}: not a BDF file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = mne.read_annotations(path)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{name}: cannot be read as BDF+ annotations ({type(error).__name__})") from None
    texts = [str(text).strip() for text in found.description]
    events = [(float(onset), int(text)) for onset, text in zip(found.onset, texts, strict=True) if text.isdecimal()]
    spans, notes = find_spans(sorted(events, key=itemgetter(0)))
    if not spans:
        raise InputError(f"{name}: {len(events)} triggers, but no clip with its begin (101) and end (102)")
    other = len(texts) - len(events)
    return spans, [*notes, *[f"{other} annotations that are no triggers were ignored"] * bool(other)]


def find_spans(events: Sequence[tuple[float, int]]) -> tuple[list[Span], list[str]]:
    """Find the clips among triggers.

    Parameters
    ----------
    events : sequence of (float, int)
        Onset in seconds and code, in order of time.

    Returns
    -------
    tuple of (list of Span, list of str)
        In the order of clip numbers, and notes about what else was found.
    """
    events, notes = _cut_before_start(events)
    chosen: dict[int, tuple[float, float]] = {}
    stray = 0
    for clip, begins, ends in _list_segments(events):
        pairs = [(begin, end) for begin in begins for end in ends if begin < end]
        stray += max(len(begins) - 1, 0) + max(len(ends) - 1, 0)
        for pair in pairs:  # of a clip that was begun twice, the showing that is as long as the film
            if clip not in chosen or abs(_excess_s(clip, *pair)) < abs(_excess_s(clip, *chosen[clip])):
                chosen[clip] = pair
    if stray:
        notes.append(f"{stray} triggers 101 or 102 without a partner were ignored")
    order = sorted(chosen, key=lambda clip: chosen[clip][0])
    spans = [Span(clip, order.index(clip) + 1, *chosen[clip]) for clip in sorted(chosen)]
    return spans, notes


def describe_spans(spans: Sequence[Span]) -> list[str]:
    """Return notes on clips that were not shown as the clip table says."""
    notes = []
    long = [span for span in spans if span.clip == LONG_CLIP and abs(span.length_s - LONG_CLIP_S) <= SPAN_TOLERANCE_S]
    if long:
        notes.append(f"clip {LONG_CLIP} is the version of {LONG_CLIP_S:g} s; its last seconds are those of the other")
    odd = [span for span in spans if span not in long and _differs(span)]
    if odd:
        worst = max(odd, key=lambda span: abs(_excess_s(span.clip, span.start_s, span.end_s)))
        notes.append(
            f"spans differ from the clip table: {list_clips([span.clip for span in odd])}; most in clip {worst.clip}, "
            f"{worst.length_s:.1f} s instead of {_DURATION_S[worst.clip]} s"
        )
    if missing := [clip for clip in _DURATION_S if clip not in {span.clip for span in spans}]:
        notes.append(f"{list_clips(missing)} left out, no begin and end on file")
    return notes


def list_clips(clips: Sequence[int]) -> str:
    """Return clip numbers for a note: "clip 3, 7", or how many there are."""
    return f"clip {', '.join(map(str, clips))}" if len(clips) <= _MAX_LISTED else f"{len(clips)} clips"


def _cut_before_start(events: Sequence[tuple[float, int]]) -> tuple[Sequence[tuple[float, int]], list[str]]:
    """Leave out what came before the experiment: other tasks, and starts that were broken off."""
    starts = [index for index, (_, code) in enumerate(events) if code == START]
    if len(starts) < N_STARTS:
        return events, [f"{len(starts)} triggers 100 at the start of the experiment, expected {N_STARTS}"]
    first = starts[N_STARTS - 1]
    before = sum(code != START for _, code in events[:first])
    return events[first:], [f"{before} triggers before the start of the experiment were ignored"] * bool(before)


def _list_segments(events: Sequence[tuple[float, int]]) -> Iterator[tuple[int, list[float], list[float]]]:
    """Yield each clip's number with the onsets of 101 and of 102 until the next clip's number."""
    at = [index for index, (_, code) in enumerate(events) if code in _DURATION_S]
    for here, following in pairwise([*at, len(events)]):
        inside = events[here:following]
        begins = [onset for onset, code in inside if code == CLIP_START]
        yield events[here][1], begins, [onset for onset, code in inside if code == CLIP_END]


def _excess_s(clip: int, start_s: float, end_s: float) -> float:
    return end_s - start_s - _DURATION_S[clip]


def _differs(span: Span) -> bool:
    return bool(np.abs(_excess_s(span.clip, span.start_s, span.end_s)) > SPAN_TOLERANCE_S)
