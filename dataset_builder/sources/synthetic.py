"""A made-up cohort in FACED's release layout: the stand-in for the data set where that cannot be had.

It is FACED's twin for demonstrations and tests, down to the quirks of the real files. Marked as synthetic in its root,
and everything made from it is marked as well.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from edfio import Edf, EdfSignal, Patient
from edfio import Recording as EdfRecording
from openpyxl import Workbook
from pydantic import Field, model_validator
from scipy.io import savemat
from tqdm import tqdm

from dataset_builder.bands import compute_de, compute_psd
from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, write_bytes, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.seeds import make_rng
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced_fake import FILM_S, lay_out_session, write_events, write_samples
from dataset_builder.sources.faced_tables import CLIP_TABLE, INFO_TABLE, SYNTHETIC_MARK
from dataset_builder.sources.people import Person, draw_person, draw_presentation, draw_ratings
from dataset_builder.sources.simulate import SFREQ_HZ, draw_course, draw_signal
from dataset_builder.stage import find_finished, open_stage
from dataset_builder.types import Recording

_MARK_TEXT = """# Synthetic cohort

Nobody was recorded: every subject here is made up by `eeg-copilot synth` in the file layout of FACED (Chen et al. 2023,
Scientific Data 10:740). Band power, ratings and demographics follow that data set's population statistics. Effects of
clips and emotions are planted, of the strength that people there have in common, so films are recognised about as well
as there. Results on these data say nothing about people. Research use only, not a medical device.
"""

_RAW_TEXT = f"""
Subjects with continuous recordings: {{raw}}. In these every film lasts {FILM_S:g} s, so that files stay small: the
spans in the triggers are not those of the clip table.
"""

#: Bytes of the release's header: a space after "Cohort", and lines end with CRLF.
_INFO_HEADER = "sub,Gender,Age,Cohort ,Sample_rate,Unit"

_CLIP_HEADER = ("Video index", "Duration（s）", "Source Film", "Source Database", "Valence", "Targeted Emotion")

#: The real table has notes below its rows, which a reader must not take for clips.
_CLIP_FOOTER = (
    (),
    (),
    ("Notes: synthetic cohort; the films are those of FACED, but nobody watched them.",),
    (None, "Databases: see Chen et al. (2023)."),
    (),
    ("Notes: every made-up subject saw the same version of each film.",),
)


class SynthRecipe(StrictModel):
    """What cohort is made.

    Parameters
    ----------
    subjects : int
        How many, from sub000 on.
    seed : int
        A subject's data depend on the seed and its own pseudonym only.
    signals : "all", int or list of str
        Who gets waveforms (54 MB each): everybody, the first so many, or the named subjects.
    features : bool
        Whether band features are written. They are computed from the waveforms where there are any.
    raw : int
        The first so many get continuous recordings in ``Data/`` (23 MB each at 250 Hz, 92 MB at 1000 Hz).
    effect : float
        Factor on what the films do to everybody: 1 as weak as on FACED, 0 nothing (a control that no reader may beat),
        up to 4 for a task that a few subjects suffice to learn.
    """

    subjects: int = Field(default=24, ge=1, le=1000)
    seed: int = 17
    signals: Literal["all"] | int | list[str] = 2
    features: bool = True
    raw: int = Field(default=0, ge=0)
    effect: float = Field(default=1.0, ge=0.0, le=4.0)

    @model_validator(mode="after")
    def _check_signals(self) -> "SynthRecipe":
        names = self.names()
        if isinstance(self.signals, int) and not 0 <= self.signals <= self.subjects:
            raise ValueError(f"signals is {self.signals}; accepted: all, 0 to {self.subjects}, or pseudonyms")
        if unknown := sorted(set(self.with_signal()) - set(names)):
            raise ValueError(f"signals names {', '.join(unknown)}; accepted: {names[0]} to {names[-1]}")
        if self.raw > self.subjects:
            raise ValueError(f"raw is {self.raw}; accepted: 0 to {self.subjects}")
        if not self.features and len(set(self.with_signal())) < self.subjects:
            raise ValueError("features: false leaves subjects without any data; accepted only with signals: all")
        return self

    def names(self) -> list[str]:
        """Return the pseudonyms of all subjects."""
        return [f"sub{number:03d}" for number in range(self.subjects)]

    def with_signal(self) -> list[str]:
        """Return the pseudonyms of the subjects with waveforms."""
        if self.signals == "all":
            return self.names()
        return self.names()[: self.signals] if isinstance(self.signals, int) else list(self.signals)


def write_cohort(recipe: SynthRecipe, out_dir: str | Path) -> Manifest:
    """Write a synthetic cohort.

    Parameters
    ----------
    recipe : SynthRecipe
    out_dir : str or Path
        Gets FACED's files (``Recording_info.csv``, ``Stimuli_info.xlsx``, ``Data/``, ``Processed_data/``,
        ``EEG_Features/``) and the mark ``SYNTHETIC.md``. A finished cohort of the same recipe is left as it is; an
        interrupted one is completed.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    if finished := find_finished("synth", out_dir, recipe):
        return finished
    with open_stage("synth", out_dir, recipe, seed=recipe.seed) as stage:
        stage.synthetic = True
        people = {name: draw_person(recipe.seed, name) for name in recipe.names()}
        told = _RAW_TEXT.format(raw=recipe.raw) if recipe.raw else ""
        write_text(stage.folder / SYNTHETIC_MARK, _MARK_TEXT + told)
        write_bytes(stage.folder / INFO_TABLE, render_people(people))
        write_bytes(stage.folder / CLIP_TABLE, render_clips())
        with_signal = set(recipe.with_signal())
        for name in tqdm(people, desc="synthetic subjects", unit="subject"):
            _write_subject(stage.folder, recipe, name, people[name], with_signal=name in with_signal)
        stage.facts |= {"subjects": recipe.subjects, "with_waveforms": len(with_signal), "clips": len(CLIPS)}
        stage.facts["with_raw"] = recipe.raw
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def write_recording_file(recording: Recording, path: str | Path, trials: Sequence[int] | None = None) -> Path:
    """Write trials of a recording as one continuous EDF file without any identifier.

    Parameters
    ----------
    recording : Recording
        With waveforms.
    path : str or Path
        Ends in ``.edf``.
    trials : sequence of int, optional
        Which trials, 0-based, in this order; all by default.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the recording has no waveforms, a trial does not exist or the suffix is another.
    """
    path = Path(path)
    chosen = list(range(len(recording))) if trials is None else list(trials)
    if path.suffix.lower() != ".edf":
        raise InputError(f"recording file: suffix {path.suffix!r}, accepted: .edf")
    if recording.signal_uv is None or recording.sfreq_hz is None:
        raise InputError(f"{recording.subject}: holds no waveforms to write")
    if not chosen or not all(0 <= index < len(recording) for index in chosen):
        raise InputError(f"trials: {chosen}, accepted: one or more of 0 to {len(recording) - 1}")
    joined = np.concatenate([recording.signal_uv[index] for index in chosen], axis=-1).astype(np.float64)
    signals = [
        EdfSignal(values, recording.sfreq_hz, label=f"EEG {name}", physical_dimension="uV")
        for name, values in zip(recording.channels, joined, strict=True)
    ]
    origin = EdfRecording(equipment_code="synthetic" if recording.synthetic else "X")
    file = Edf(signals, patient=Patient(sex=recording.sex), recording=origin)
    buffer = io.BytesIO()
    file.write(buffer)
    write_bytes(path, buffer.getvalue())
    return path


def render_people(people: dict[str, Person]) -> bytes:
    """Return Recording_info.csv with the release's own header bytes."""
    lines = [_INFO_HEADER, *(f"{name},{person.row()}" for name, person in people.items())]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def render_clips() -> bytes:
    """Return Stimuli_info.xlsx: the release's sheet, header and rows, and notes below them."""
    book = Workbook()
    sheet = book.active
    sheet.title = "Sheet1"
    rows = [(c.number, c.duration_s, c.film, c.database, c.valence, c.emotion) for c in CLIPS]
    for row in (_CLIP_HEADER, *rows, *_CLIP_FOOTER):
        sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return _freeze_times(buffer.getvalue())


def render_remarks(seed: int, subject: str) -> bytes:
    """Return After_remarks.mat: a 28 x 1 struct array in presentation order, arithmetic results after each block."""
    rng = make_rng(seed, "synthetic", subject, "remarks")
    ratings, order = draw_ratings(seed, subject), draw_presentation(seed, subject)
    fields = [(name, object) for name in ("score", "trial", "vid", "Accuracy", "ResponseTime")]
    remarks = np.empty((len(order), 1), dtype=fields)
    for rank, clip in enumerate(order, start=1):
        asked = rank % 4 == 0 and rank < len(order)
        accuracy = np.array([[rng.binomial(20, 0.7) / 20]]) if asked else np.zeros((1, 0))
        seconds = np.minimum(rng.gamma(9.0, 0.3, (1, 20)), 4.0) if asked else np.zeros((1, 0))
        position = np.array([[rank]], dtype=np.uint8), np.array([[clip]], dtype=np.uint8)
        remarks[rank - 1, 0] = (ratings[clip - 1][None].astype(np.float64), *position, accuracy, seconds)
    buffer = io.BytesIO()
    savemat(buffer, {"After_remark": remarks})
    return b"MATLAB 5.0 MAT-file, synthetic".ljust(116) + buffer.getvalue()[116:]  # the text would hold the time


def _write_subject(folder: Path, recipe: SynthRecipe, subject: str, person: Person, *, with_signal: bool) -> None:
    """Write one subject's files; those that an interrupted run left are complete and stay."""
    session = folder / "Data" / subject
    signal_file = folder / "Processed_data" / f"{subject}.pkl"
    de_file, psd_file = (folder / "EEG_Features" / kind / f"{subject}.pkl.pkl" for kind in ("DE", "PSD"))
    raw_files = [session / "data.bdf", session / "evt.bdf"] if subject in recipe.names()[: recipe.raw] else []
    wanted = [session / "After_remarks.mat", *raw_files, *[signal_file] * with_signal]
    wanted += [de_file, *[psd_file] * with_signal] if recipe.features else []
    if all(path.is_file() for path in wanted):
        return
    write_bytes(session / "After_remarks.mat", render_remarks(recipe.seed, subject))
    de = draw_course(recipe.seed, subject, recipe.effect)
    if with_signal or raw_files:
        signal = draw_signal(recipe.seed, subject, de)
        de = compute_de(signal, SFREQ_HZ)
    if with_signal:
        write_bytes(signal_file, _pickle(signal))
    if with_signal and recipe.features:
        write_bytes(psd_file, _pickle(compute_psd(signal, SFREQ_HZ)))
    if recipe.features:
        write_bytes(de_file, _pickle(de))
    if raw_files:
        plan = lay_out_session(recipe.seed, subject, person)
        write_samples(raw_files[0], plan, signal)
        write_events(raw_files[1], plan)


def _pickle(values: np.ndarray) -> bytes:
    return pickle.dumps(values.astype(np.float64), protocol=4)


def _freeze_times(data: bytes) -> bytes:
    """Rewrite an xlsx without the time of writing, so that the same table has the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for item in sorted(source.infolist(), key=lambda entry: entry.filename):
            content = source.read(item)
            if item.filename == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2023-01-01T00:00:00Z", content)
            target.writestr(zipfile.ZipInfo(item.filename, (2023, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
