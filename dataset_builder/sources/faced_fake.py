"""Made-up continuous recordings with everything that is odd about FACED's: orders, rates, headers and triggers.

The last 30 s of each film hold a made-up trial; what surrounds them is the same trial mirrored in time, so that filters
find ordinary EEG there. All channels share what a distant reference picks up and each has an offset of its own; nothing
of either is left after preprocessing.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edfio import Bdf, BdfSignal, EdfAnnotation, Patient
from edfio import Recording as EdfRecording
from scipy.signal import resample_poly

from dataset_builder.seeds import make_rng
from dataset_builder.sources.faced_events import LONG_CLIP, LONG_CLIP_S, Span
from dataset_builder.sources.faced_tables import CHANNELS
from dataset_builder.sources.people import Person, draw_presentation
from dataset_builder.sources.simulate import N_SECONDS, SFREQ_HZ

#: How long every made-up film lasts; real ones take 34 to 129 s.
FILM_S = 31.0

#: Pause between two films, seconds; the real ones are 64 s or more.
_GAP_S = 4.0

#: When the first film begins, seconds.
_FIRST_S = 12.0

#: Order and names of the channels in cohort 1's files. Cohort 2 has the processed order with HEOR and HEOL at the end.
COHORT_1_NAMES = tuple(
    """Fp1 Fp2 Fz F3 F4 F7 F8 FC1 FC2 FC5 FC6 Cz C3 C4 T3 T4 A1 A2 CP1 CP2 CP5 CP6 Pz P3 P4 T5 T6 PO3 PO4
    Oz O1 O2""".split()
)
COHORT_2_NAMES = (*CHANNELS[:30], "HEOR", "HEOL")
_ROWS = {name: row for row, name in enumerate(CHANNELS)}
_ROWS |= {"T3": _ROWS["T7"], "T4": _ROWS["T8"], "T5": _ROWS["P7"], "T6": _ROWS["P8"]}
_ROWS |= {"HEOR": _ROWS["A2"], "HEOL": _ROWS["A1"]}

#: Physical range of the amplifier, µV: 0.0447 µV per count at 24 bit.
_RANGE_UV = (-375000.0, 375000.0)

#: What another task left at the beginning of five recordings: its own codes, among them ours without their meaning.
_OTHER_TASK = (76, 91, 100, 101, 102, 100, 101, 100, 232, 101)


@dataclass(frozen=True)
class Session:
    """What happens when in one made-up recording.

    Parameters
    ----------
    subject : str
    seed : int
    person : Person
    spans : tuple of Span
        In the order of presentation.
    events : tuple of (float, str)
        Onset in seconds and text of every annotation.
    """

    subject: str
    seed: int
    person: Person
    spans: tuple[Span, ...]
    events: tuple[tuple[float, str], ...]

    @property
    def length_s(self) -> int:
        """Duration, whole seconds."""
        return int(np.ceil(self.spans[-1].end_s + _GAP_S))


def lay_out_session(
    seed: int,
    subject: str,
    person: Person,
    clips: Sequence[int] | None = None,
    *,
    stray: bool | None = None,
    long_clip: bool | None = None,
) -> Session:
    """Decide when every film is shown.

    Parameters
    ----------
    seed : int
    subject : str
    person : Person
    clips : sequence of int, optional
        Which clips, in the order of presentation; all, as `draw_presentation` has them, by default.
    stray : bool, optional
        Whether triggers of another task are there; in one of 25 by default.
    long_clip : bool, optional
        Whether clip 22 is the longer version; in two of five of cohort 1 by default.

    Returns
    -------
    Session
    """
    rng = make_rng(seed, "synthetic", subject, "session")
    odds = rng.random(2)
    stray = bool(odds[0] < 5 / 123) if stray is None else stray
    long_clip = bool(person.cohort == 1 and odds[1] < 25 / 61) if long_clip is None else long_clip
    spans = []
    start_s = _FIRST_S
    for rank, clip in enumerate(draw_presentation(seed, subject) if clips is None else clips, start=1):
        film_s = LONG_CLIP_S if clip == LONG_CLIP and long_clip else FILM_S
        spans.append(Span(clip, rank, start_s, start_s + film_s))
        start_s += film_s + _GAP_S
    return Session(subject, seed, person, tuple(spans), tuple(_list_events(spans, stray=stray)))


def write_samples(path: Path, session: Session, signal_uv: np.ndarray) -> None:
    """Write ``data.bdf``: 32 signals of 24 bit in records of one second.

    Parameters
    ----------
    path : Path
    session : Session
    signal_uv : ndarray of shape (28, 32, 7500), float32, µV
        At 250 Hz; row 0 is clip 1, channels in processed order.
    """
    person = session.person
    names = COHORT_1_NAMES if person.cohort == 1 else COHORT_2_NAMES
    source = _index_source(session)
    shared = _draw_shared(session)
    offsets = make_rng(session.seed, "synthetic", session.subject, "offsets").normal(0, 2000, len(CHANNELS))
    signals = []
    for name in names:
        flat = signal_uv[:, _ROWS[name]].ravel()
        values = flat[source].astype(np.float64) + shared
        if person.device_sfreq_hz != SFREQ_HZ:
            values = resample_poly(values, person.device_sfreq_hz, SFREQ_HZ)
        signals.append(
            BdfSignal(
                values + offsets[_ROWS[name]],
                person.device_sfreq_hz,
                label=name,
                physical_dimension="?V" if person.unit == "uV" else "uV",  # what readers make of it, see faced_raw
                physical_range=_RANGE_UV,
                prefiltering="HP: DC, LP: 62" if person.device_sfreq_hz == 250 else "HP: DC, LP: 250",
            )
        )
    _write(Bdf(signals, **_origin(), data_record_duration=1), path)


def write_events(path: Path, session: Session) -> None:
    """Write ``evt.bdf``: an empty signal and the triggers as annotations."""
    empty = BdfSignal(np.zeros(session.length_s), 1, label="Empty Event Data", physical_range=(-1, 1))
    marks = [EdfAnnotation(round(onset_s, 3), None, text) for onset_s, text in session.events]
    _write(Bdf([empty], **_origin(), data_record_duration=1, annotations=marks), path)


def _list_events(spans: Sequence[Span], *, stray: bool) -> Iterator[tuple[float, str]]:
    """Yield onset in seconds and text of the annotations, in order of time."""
    if stray:
        yield 0.1, "Start Impedance"
        yield from ((0.5 + 0.4 * index, str(code)) for index, code in enumerate(_OTHER_TASK))
    yield from ((5.0 + 0.5 * index, "100") for index in range(5))
    yield 8.0, "201"
    yield 11.0, "202"
    for span in spans:
        yield span.start_s - 0.1, str(span.clip)
        yield span.start_s, "101"
        yield span.end_s, "102"
    yield spans[-1].end_s + 1.0, "201"
    yield spans[-1].end_s + 3.0, "202"


def _index_source(session: Session) -> np.ndarray:
    """Return for every sample at 250 Hz which one of the 28 * 7500 it repeats."""
    n_trial = N_SECONDS * SFREQ_HZ
    source = np.empty(session.length_s * SFREQ_HZ, dtype=np.intp)
    borders = [0.0, *(span.end_s + _GAP_S / 2 for span in session.spans[:-1]), float(session.length_s)]
    for span, start_s, stop_s in zip(session.spans, borders[:-1], borders[1:], strict=True):
        start, stop = round(start_s * SFREQ_HZ), round(stop_s * SFREQ_HZ)
        place = (np.arange(start, stop) - round((span.end_s - N_SECONDS) * SFREQ_HZ)) % (2 * n_trial)
        source[start:stop] = (span.clip - 1) * n_trial + np.minimum(place, 2 * n_trial - 1 - place)
    return source


def _draw_shared(session: Session) -> np.ndarray:
    """Draw what all channels share, µV at 250 Hz: a wandering reference and mains hum."""
    rng = make_rng(session.seed, "synthetic", session.subject, "reference")
    n_times = session.length_s * SFREQ_HZ
    seconds = np.arange(n_times) / SFREQ_HZ
    knots = rng.normal(0, 20, session.length_s + 1)
    wander = np.interp(seconds, np.arange(session.length_s + 1), knots)
    return np.asarray(wander + rng.normal(0, 3, n_times) + 5 * np.sin(2 * np.pi * 50 * seconds))


def _origin() -> dict[str, object]:
    """Return header fields that name nobody."""
    return {"patient": Patient(), "recording": EdfRecording(equipment_code="synthetic")}


def _write(file: Bdf, path: Path) -> None:
    """Write a file so that it is there whole or not at all, without a copy of it in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    file.write(partial)
    os.replace(partial, path)
