"""The pass over the raw files: each is read once, and only what the codec keeps of it goes on.

One small file per subject lands in the open stage's folder, so that a run which is killed goes on with the next
subject, and several processes can work side by side. The results do not depend on how many there are.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tqdm import tqdm

from dataset_builder.cluster import run_on_cluster
from dataset_builder.codecs import Codec
from dataset_builder.codecs.base import Features
from dataset_builder.errors import InputError, ResourceError
from dataset_builder.manifest import Artifact, hash_file, write_bytes
from dataset_builder.recipe import StrictModel
from dataset_builder.segments import measure_seconds
from dataset_builder.sources.base import DroppedRecording, Source
from dataset_builder.types import RATINGS, Recording

#: Scratch folder of the stage; removed when the corpus is complete.
FEATURES = "features"


class TrialFacts(StrictModel):
    """What a row needs to know of a trial besides its code.

    Parameters
    ----------
    clip, rank : int or None
        Stimulus number and place in the order of presentation, both 1-based.
    emotion : str or None
    facial : dict of str to float
    ratings : list of (float or None)
        In the order of `RATINGS`.
    digest : str
        sha256 of the trial's data: equal trials are copies.
    start_s : float or None
        Where a segment begins within its stimulus window; None for a whole window.
    duration_s : float or None
    """

    clip: int | None
    rank: int | None
    emotion: str | None
    facial: dict[str, float]
    ratings: list[float | None]
    digest: str
    start_s: float | None = None
    duration_s: float | None = None


class SubjectFacts(StrictModel):
    """What was found of a subject: everything but the features.

    Parameters
    ----------
    subject : str
    state : str
        ``"used"``, ``"dropped"`` (known to be unusable) or ``"unreadable"`` (a file is damaged).
    reason : str
        Why it is not used; a count of these ends in the manifest.
    detail : str
        The full message, without any path of the machine.
    files : list of Artifact
        What was read, by content.
    age, sex, cohort, device_sfreq_hz, channels, synthetic, notes, left_out
        As in `Recording`.
    trials : list of TrialFacts
    digest_of : str
        Which array the trials' digests are of: ``"signal_uv"``, ``"de"`` or ``"psd"``.
    """

    subject: str
    state: str
    reason: str = ""
    detail: str = ""
    files: list[Artifact]
    age: int | None = None
    sex: str | None = None
    cohort: int | None = None
    device_sfreq_hz: float | None = None
    channels: list[str] = []
    synthetic: bool = False
    notes: list[str] = []
    left_out: dict[str, int] = {}
    trials: list[TrialFacts] = []
    digest_of: str = ""


@dataclass(frozen=True)
class Extraction:
    """The features of a subject on disk, and what is known of it.

    Parameters
    ----------
    facts : SubjectFacts
    path : Path
        safetensors file with the arrays.
    """

    facts: SubjectFacts
    path: Path

    def load(self) -> Features:
        """Return the arrays, each with one row per trial."""
        return load(self.path.read_bytes())


def extract_subjects(
    source: Source, codec: Codec, subjects: Sequence[str], folder: Path, workers: int = 1, cluster: str | None = None
) -> dict[str, Extraction]:
    """Read subjects and keep what the codec needs of them.

    Parameters
    ----------
    source : Source
    codec : Codec
        Unfitted.
    subjects : sequence of str
    folder : Path
        Where the features lie; those that are there already are not made again.
    workers : int
        Processes.
    cluster : str, optional
        Where to read instead of in processes of our own; see `dataset_builder.cluster.run_on_cluster`.

    Returns
    -------
    dict of str to Extraction
        In the order of `subjects`.

    Raises
    ------
    ResourceError
        If a process was killed, most often for memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {subject: _read_extraction(folder / f"{subject}.safetensors") for subject in subjects}
    missing = [subject for subject, extraction in found.items() if extraction is None]
    show = tqdm(total=len(subjects), initial=len(subjects) - len(missing), desc="read", unit="subject", disable=None)
    with show:
        for subject, path in _read_all(_Extractor(source, codec, folder), missing, workers, cluster):
            found[subject] = _read_extraction(path)
            show.update()
    return {subject: extraction for subject, extraction in found.items() if extraction is not None}


def read_subject(source: Source, codec: Codec, subject: str) -> tuple[SubjectFacts, Features]:
    """Read one subject. What cannot be used is told in the facts and does not stop the others.

    Returns
    -------
    tuple of (SubjectFacts, dict of str to ndarray)
        Without any arrays if the subject is not used.
    """
    files: list[Artifact] = []
    try:
        files = [
            Artifact(name=source.name_file(path), bytes=path.stat().st_size, sha256=hash_file(path))
            for path in source.files(subject, codec.reads)
        ]
        recording = codec.cut(source.read(subject, codec.reads))
        features = codec.extract(recording)
        return _describe_recording(recording, files), features
    except DroppedRecording as error:
        return SubjectFacts(subject=subject, state="dropped", reason=error.reason, detail=str(error), files=files), {}
    except InputError as error:
        reason = "recording cannot be read"
        return SubjectFacts(subject=subject, state="unreadable", reason=reason, detail=str(error), files=files), {}


@dataclass(frozen=True)
class _Extractor:
    """The work of one process: picklable, so it can be sent to others."""

    source: Source
    codec: Codec
    folder: Path

    def __call__(self, subject: str) -> Path:
        return self.keep(subject, self.render(subject))

    def render(self, subject: str) -> bytes:
        """Return a subject's file."""
        facts, features = read_subject(self.source, self.codec, subject)
        arrays = {name: np.ascontiguousarray(array) for name, array in features.items()}
        return bytes(save(arrays, metadata={"facts": facts.model_dump_json()}))

    def keep(self, subject: str, data: bytes) -> Path:
        """Write a subject's file."""
        path = self.folder / f"{subject}.safetensors"
        write_bytes(path, data)
        return path


def _read_all(
    extractor: _Extractor, subjects: list[str], workers: int, cluster: str | None
) -> Iterator[tuple[str, Path]]:
    """Yield each subject with its file. Workers of a cluster send theirs: only this process need see the folder."""
    if cluster is None:
        yield from _run(extractor, subjects, workers)
        return
    for subject, data in run_on_cluster(cluster, extractor.render, subjects, workers):
        yield subject, extractor.keep(subject, data)


def _run(work: Callable[[str], Path], subjects: list[str], workers: int) -> Iterator[tuple[str, Path]]:
    """Yield each subject with its result as soon as it is done."""
    if workers <= 1 or len(subjects) <= 1:
        yield from ((subject, work(subject)) for subject in subjects)
        return
    # Spawned: a forked process could inherit locks of threads that are not there any more.
    with ProcessPoolExecutor(min(workers, len(subjects)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(work, subject): subject for subject in subjects}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise ResourceError(
                "a worker process was killed, perhaps for memory; what is done is kept, run again with fewer workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read_extraction(path: Path) -> Extraction | None:
    """Return a subject's features if they are there and whole."""
    try:
        data = path.read_bytes()
        load(data)
    except (FileNotFoundError, SafetensorError):
        return None
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return Extraction(SubjectFacts.model_validate_json(header["__metadata__"]["facts"]), path)


def _describe_recording(recording: Recording, files: list[Artifact]) -> SubjectFacts:
    return SubjectFacts(
        subject=recording.subject,
        state="used",
        files=files,
        age=recording.age,
        sex=recording.sex,
        cohort=recording.cohort,
        device_sfreq_hz=recording.device_sfreq_hz,
        channels=list(recording.channels),
        synthetic=recording.synthetic,
        notes=list(recording.notes),
        left_out=recording.left_out,
        trials=[_describe_trial(recording, index) for index in range(len(recording))],
        digest_of=_choose_array(recording),
    )


def _choose_array(recording: Recording) -> str:
    """Return the name of the array by which trials are told apart."""
    return next(name for name in ("signal_uv", "de", "psd") if getattr(recording, name) is not None)


def _describe_trial(recording: Recording, index: int) -> TrialFacts:
    ratings = [None] * len(RATINGS) if recording.ratings is None else recording.ratings[index].tolist()
    data = getattr(recording, _choose_array(recording))
    return TrialFacts(
        clip=recording.clips[index],
        rank=recording.ranks[index] if recording.ranks else None,
        emotion=recording.emotions[index],
        facial=dict(recording.facial[index]) if recording.facial else {},
        ratings=[None if value is None or np.isnan(value) else float(value) for value in ratings],
        digest=hashlib.sha256(np.ascontiguousarray(data[index]).data).hexdigest(),
        start_s=recording.starts_s[index] if recording.starts_s else None,
        duration_s=measure_seconds(recording),
    )
