"""A made-up data set in the layout of FACED's BIDS copy, with its quirks: byte-order marks, missing units, titles."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dataset_builder.manifest import write_text
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced_fake import COHORT_1_NAMES, COHORT_2_NAMES, Session, lay_out_session, write_samples
from dataset_builder.sources.faced_tables import SYNTHETIC_MARK
from dataset_builder.sources.people import Person, draw_ratings
from dataset_builder.sources.simulate import draw_course, draw_signal
from dataset_builder.types import RATINGS

#: Both orders of channels, both rates and both unit fields; subjects take them in turn.
_PEOPLE = (Person("F", 21, 1, 250, "uV"), Person("M", 27, 2, 1000, "V"), Person("F", 20, 1, 250, "V"))

#: Shown to each made-up subject, in this order: one of each emotion would take nine times as long to write.
_SHOWN = (26, 13, 1)

_BOM = "\ufeff"
_EVENT_COLUMNS = ("onset", "duration", "trial_type", "value", "sample", "emotion_label", "binary_label", "video_index")
_CHANNEL_COLUMNS = (
    *("name", "type", "units", "low_cutoff", "high_cutoff", "description", "sampling_frequency", "status"),
    "status_description",
)


def write_bids(root: Path, n_subjects: int, seed: int) -> None:
    """Write a made-up data set of a few clips per subject.

    Parameters
    ----------
    root : Path
    n_subjects : int
    seed : int
    """
    people = {f"sub{number:03d}": _PEOPLE[number % len(_PEOPLE)] for number in range(n_subjects)}
    write_text(root / SYNTHETIC_MARK, "# Synthetic data\n\nNobody was recorded: every subject here is made up.\n")
    write_text(root / "dataset_description.json", json.dumps({"Name": "Synthetic", "BIDSVersion": "1.8.0"}) + "\n")
    rows = [(_label(name), person.age, person.sex) for name, person in people.items()]
    write_text(root / "participants.tsv", _render(("participant_id", "age", "sex"), rows))
    for name, person in people.items():
        session = lay_out_session(seed, name, person, _SHOWN)
        stem = root / _label(name) / "eeg" / f"{_label(name)}_task-watchingVideoClips"
        write_samples(Path(f"{stem}_eeg.bdf"), session, draw_signal(seed, name, draw_course(seed, name)))
        write_text(Path(f"{stem}_events.tsv"), _BOM + _render_events(session))
        write_text(Path(f"{stem}_channels.tsv"), _BOM + _render_channels(session))


def _label(subject: str) -> str:
    return f"sub-{subject[3:]}"


def _render(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in (header, *rows))


def _render_events(session: Session) -> str:
    """Return the clips as rows, and the trigger that opens the experiment as a row without anything."""
    ratings = draw_ratings(session.seed, session.subject)
    rate = session.person.device_sfreq_hz
    unknown = ["n/a"] * (3 + len(RATINGS))
    rows: list[list[object]] = [[5.0, 0.0, "Experiment start", 2, round(5.0 * rate), *unknown]]
    for span in session.spans:
        clip = CLIPS[span.clip - 1]
        scores = np.round(ratings[span.clip - 1], 6).tolist()
        rows.append(
            [span.start_s, span.length_s, clip.film.strip(), 7, round(span.start_s * rate)]
            + [clip.emotion, clip.valence.lower(), clip.number, *scores]
        )
    return _render((*_EVENT_COLUMNS, *(name.capitalize() for name in RATINGS)), rows)


def _render_channels(session: Session) -> str:
    person = session.person
    names = COHORT_1_NAMES if person.cohort == 1 else COHORT_2_NAMES
    unit = "n/a" if person.unit == "uV" else "µV"
    rows = [(name, "EEG", unit, 0, 62, "n/a", person.device_sfreq_hz, "good", "n/a") for name in names]
    return _render(_CHANNEL_COLUMNS, rows)
