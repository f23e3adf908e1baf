"""What is demanded of every source: each is written as its fake twin and read back."""

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.quality import assess_quality
from dataset_builder.recipe import StrictModel
from dataset_builder.sources import SOURCES
from dataset_builder.sources.base import Source, SourceConfig
from dataset_builder.types import BANDS, EMOTIONS, RATINGS, SCALP_CHANNELS, Recording

READS = ("de", "psd", "signal_uv")
QUICK = PreprocessingConfig(ica="none")

#: Files that a program could hide in.
PROGRAMS = (".pkl", ".mat", ".npy")


@pytest.fixture(scope="module", params=SOURCES)
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The source on its fake twin, without the slow part of preprocessing."""
    kind = SOURCES[request.param]
    made = kind.write_fake(tmp_path_factory.mktemp("twin") / "data", n_subjects=2, seed=3)
    return kind(made.root, made.config, QUICK)


@pytest.fixture(scope="module")
def recordings(twin: Source) -> dict[tuple[str, str], Recording]:
    subject = twin.subjects()[0]
    return {(subject, reads): twin.read(subject, reads) for reads in distinct_reads(twin, subject)}


def test_the_name_is_the_registered_one(twin: Source) -> None:
    assert SOURCES[twin.info.name] is type(twin)
    assert twin.config.name == twin.info.name
    assert issubclass(type(twin).Config, SourceConfig)
    assert issubclass(type(twin).Config, StrictModel)
    assert type(twin)(twin.root).config.subjects == "all"  # works without any setting


def test_origin_is_stated(twin: Source) -> None:
    info = twin.info
    assert all((info.title, info.licence_id, info.licence_name, info.citation, info.population))
    assert info.synthetic
    assert info.url.startswith("https://") or info.url == "not stated"


def test_subjects_are_pseudonyms_in_order(twin: Source) -> None:
    subjects = twin.subjects()
    assert subjects == sorted(set(subjects))
    assert len(subjects) == 2
    assert all(name.isascii() and name.isalnum() and any(c.isdigit() for c in name) for name in subjects)


def test_arrays_have_their_shapes(recordings: dict[tuple[str, str], Recording]) -> None:
    for (_, reads), recording in recordings.items():
        n_trials, n_channels = len(recording), len(recording.channels)
        assert n_trials > 0
        arrays = [getattr(recording, name) for name in READS]
        assert any(array is not None for array in arrays)
        for array in (array for array in arrays if array is not None):
            assert array.shape[:2] == (n_trials, n_channels)
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
        for array in (array for array in (recording.de, recording.psd) if array is not None):
            assert array.shape[3:] == (len(BANDS),)
        if reads == "signal_uv" or getattr(recording, reads) is None:
            assert recording.signal_uv is not None
            assert recording.sfreq_hz is not None
            assert recording.signal_uv.shape[2] >= recording.sfreq_hz


def test_waveforms_are_microvolts(recordings: dict[tuple[str, str], Recording]) -> None:
    for (_, reads), recording in recordings.items():
        if reads == "signal_uv":
            assert recording.signal_uv is not None
            spread = np.median(recording.signal_uv.std(axis=-1))
            assert 1 < spread < 100
            assert assess_quality(recording).usable_fraction > 0.9


def test_channels_are_10_10_names(recordings: dict[tuple[str, str], Recording]) -> None:
    for recording in recordings.values():
        assert len(set(recording.channels)) == len(recording.channels)
        assert len(set(recording.channels) & set(SCALP_CHANNELS)) >= 8
        assert not {"T3", "T4", "T5", "T6", "HEOR", "HEOL", "FP1", "FZ"} & set(recording.channels)


def test_labels_are_known_by_name(recordings: dict[tuple[str, str], Recording]) -> None:
    for recording in recordings.values():
        assert len(recording.clips) == len(recording.emotions) == len(recording)
        assert set(recording.emotions) <= {*EMOTIONS, None}
        assert any(recording.emotions)
        assert all(clip is None or clip >= 1 for clip in recording.clips)


def test_what_is_known_of_trials_has_one_entry_each(recordings: dict[tuple[str, str], Recording]) -> None:
    for recording in recordings.values():
        assert len(recording.ranks) in (0, len(recording))
        assert len(recording.facial) in (0, len(recording))
        known = [rank for rank in recording.ranks if rank is not None]
        assert len(set(known)) == len(known)
        assert all(rank >= 1 for rank in known)
        if recording.ratings is not None:
            assert recording.ratings.shape == (len(recording), len(RATINGS))
            given = recording.ratings[np.isfinite(recording.ratings)]
            assert ((given >= 0) & (given <= 7)).all()


def test_people_are_described_in_the_common_words(recordings: dict[tuple[str, str], Recording]) -> None:
    for (subject, _), recording in recordings.items():
        assert recording.subject == subject
        assert recording.sex in ("F", "M", None)
        assert recording.age is None or 0 <= recording.age <= 120
        assert recording.synthetic


def test_notes_hold_no_path(twin: Source, recordings: dict[tuple[str, str], Recording]) -> None:
    for recording in recordings.values():
        assert all(note and "\n" not in note for note in recording.notes)
        assert not any(str(twin.root) in note or os.sep in note for note in recording.notes)


def test_reading_again_gives_the_same(twin: Source, recordings: dict[tuple[str, str], Recording]) -> None:
    (subject, reads), before = next(iter(recordings.items()))
    after = twin.read(subject, reads)
    for name in READS:
        first, second = getattr(before, name), getattr(after, name)
        assert (first is None) == (second is None)
        assert first is None or np.array_equal(first, second)
    assert before.notes == after.notes


def test_files_lie_in_the_data_set(twin: Source) -> None:
    shared = twin.tables()
    for place, subject in enumerate(twin.subjects()):
        for reads in READS if place == 0 else READS[:1]:  # the first has every form there is
            files = twin.files(subject, reads)
            assert files
            assert all(path.is_file() and path.is_relative_to(twin.root) for path in [*files, *shared])
            assert len({*files, *shared}) == len(files) + len(shared)


def test_somebody_unknown_is_refused(twin: Source) -> None:
    for ask in (twin.read, twin.files):
        with pytest.raises(InputError, match="nobody99"):
            ask("nobody99")


def test_a_folder_without_data_is_refused(twin: Source, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        type(twin)(tmp_path / "nowhere", twin.config).subjects()
    assert_one_line(caught.value, tmp_path)


def test_any_damaged_file_is_named_or_harmless(twin: Source, tmp_path: Path) -> None:
    """Every file of a subject cut short, emptied or overwritten: one line that names it, or whole trials remain."""
    subject = twin.subjects()[0]
    asked = {name: find_reads(twin, subject, name) for name in list_names(twin, subject)}
    for root, name in copy_with_each_file(twin, subject, tmp_path):
        path = root / name
        whole = path.read_bytes()
        outcomes = []
        for damaged in (b"", whole[: len(whole) // 3], b"\x00" * 512, b"not what it was\n" * 40):
            path.unlink()
            path.write_bytes(damaged)
            outcomes += [read_or_refuse(twin, root, subject, name, reads) for reads in asked[name]]
        assert "refused" in outcomes, name


def test_nothing_is_executed(twin: Source, tmp_path: Path) -> None:
    subject = twin.subjects()[0]
    victim = tmp_path / "executed"
    for root, name in copy_with_each_file(twin, subject, tmp_path / "copies"):
        if Path(name).suffix in PROGRAMS:
            path = root / name
            path.unlink()
            path.write_bytes(pickle.dumps(_Program(str(victim)), protocol=4))
            for reads in find_reads(twin, subject, name):
                assert read_or_refuse(twin, root, subject, name, reads) == "refused"
    assert not victim.exists()


def distinct_reads(source: Source, subject: str) -> list[str]:
    """Return what can be asked for, once for each set of files that answer it."""
    return list({tuple(source.files(subject, reads)): reads for reads in READS}.values())


class _Program:
    """A pickle of this creates a file when it is loaded by `pickle`."""

    def __init__(self, victim: str) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.victim, "w")


def copy_with_each_file(twin: Source, subject: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield, for each file of a subject, a copy of the data set (of links) in which that one may be written to."""
    for number, name in enumerate(list_names(twin, subject)):
        root = folder / str(number) / "data"
        shutil.copytree(twin.root, root, copy_function=os.symlink)
        (root / name).unlink()
        shutil.copy(twin.root / name, root / name)
        yield root, name


def list_names(twin: Source, subject: str) -> list[str]:
    """Return a subject's files, relative to the root."""
    paths = {path for reads in READS for path in twin.files(subject, reads)}
    return sorted(path.relative_to(twin.root).as_posix() for path in paths)


def find_reads(twin: Source, subject: str, name: str) -> list[str]:
    """Return what can be asked for such that this file is read."""
    asked = distinct_reads(twin, subject)
    return [reads for reads in asked if twin.root / name in twin.files(subject, reads)][:1]


def read_or_refuse(twin: Source, root: Path, subject: str, name: str, reads: str) -> str:
    """Read a subject; return "refused" if that ended in a proper message, else "read"."""
    try:
        recording = type(twin)(root, twin.config, QUICK).read(subject, reads)
    except InputError as error:
        assert_one_line(error, root)
        told = str(error)
        assert name in told or any(path.name in told for path in twin.tables()), told
        return "refused"
    assert len(recording) > 0
    return "read"


def assert_one_line(error: InputError, folder: Path) -> None:
    message = str(error)
    assert message
    assert "\n" not in message
    assert str(folder) not in message
