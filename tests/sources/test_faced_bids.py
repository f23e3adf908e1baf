"""FACED's BIDS copy: tables with marks and gaps around the same recordings."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.bands import compute_de
from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.sources.faced_bids import AGE_NOTE, FacedBidsSource
from dataset_builder.sources.people import draw_ratings
from dataset_builder.sources.simulate import draw_course, draw_signal
from dataset_builder.types import Recording

SEED = 17
PLAIN = PreprocessingConfig(ica="none")
STEM = "sub-000/eeg/sub-000_task-watchingVideoClips"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bids") / "nm000112"
    FacedBidsSource.write_fake(root, 2, SEED)
    return root


@pytest.fixture(scope="module")
def person(copy: Path) -> Recording:
    return FacedBidsSource(copy, None, PLAIN).read("sub000", "signal_uv")


@pytest.fixture
def small(copy: Path, tmp_path: Path) -> Path:
    """A copy of one subject that a test may damage; the recording is linked."""
    root = tmp_path / "nm000112"
    shutil.copytree(copy, root, ignore=shutil.ignore_patterns("sub-001", "*.bdf"))
    (root / f"{STEM}_eeg.bdf").symlink_to(copy / f"{STEM}_eeg.bdf")
    return root


def read(root: Path) -> Recording:
    return FacedBidsSource(root, None, PLAIN).read("sub000")


def test_clips_come_from_the_events(person: Recording) -> None:
    assert person.clips == (1, 13, 26)
    assert person.emotions == ("anger", "neutral", "tenderness")
    assert person.ranks == (3, 2, 1)
    assert person.ratings is not None
    np.testing.assert_allclose(person.ratings, draw_ratings(SEED, "sub000")[[0, 12, 25]], atol=1e-5)


def test_waveforms_are_those_of_the_recording(person: Recording) -> None:
    assert person.signal_uv is not None
    planted = draw_signal(SEED, "sub000", draw_course(SEED, "sub000"))[[0, 12, 25]]
    assert np.abs(compute_de(person.signal_uv, 250.0) - compute_de(planted, 250.0)).mean() < 0.02


def test_people_and_devices(copy: Path, person: Recording) -> None:
    other = FacedBidsSource(copy, None, PLAIN).read("sub001")
    assert (person.age, person.sex, person.cohort, person.device_sfreq_hz) == (21, "F", 1, 250.0)
    assert (other.age, other.sex, other.cohort, other.device_sfreq_hz) == (27, "M", 2, 1000.0)


def test_notes_tell_what_this_copy_lost(person: Recording) -> None:
    assert AGE_NOTE in person.notes
    assert "unit field '?V' in the header corrected to uV" in person.notes
    assert any(note.startswith("25 clips left out") for note in person.notes)


def test_authors_and_licence_are_stated(small: Path) -> None:
    (small / "SYNTHETIC.md").unlink()
    info = FacedBidsSource(small).info
    assert not info.synthetic
    assert info.citation.startswith("Chen J, Wang X, Huang C, Hu X, Shen X, Zhang D (2023)")
    assert "names other authors, by mistake" in info.citation
    assert info.licence_id == "cc-by-4.0"


def test_tables_begin_with_marks_and_hold_gaps(copy: Path) -> None:
    assert (copy / f"{STEM}_events.tsv").read_bytes().startswith(b"\xef\xbb\xbfonset\tduration\t")
    assert (copy / f"{STEM}_channels.tsv").read_bytes().startswith(b"\xef\xbb\xbfname\ttype\tunits\t")
    assert not (copy / "participants.tsv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert "\tn/a\t" in (copy / f"{STEM}_channels.tsv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("onset", "start", "column onset is missing"),
        ("Tenderness\tpositive", "Joy\tpositive", "clip 26 is 'Joy', expected Tenderness"),
        ("\t26\t", "\t29\t", "video_index '29', accepted: 1 to 28 or n/a"),
        ("\t13\t", "\t26\t", "clip 26 is 'n/a', expected Tenderness"),
        ("12.0\t31.0", "soon\t31.0", "onset is 'soon', expected a number"),
        ("12.0\t31.0", "12.0\tn/a", "duration is 'n/a', expected a number"),
    ],
)
def test_damaged_events(small: Path, old: str, new: str, expected: str) -> None:
    path = small / f"{STEM}_events.tsv"
    text = path.read_text(encoding="utf-8").replace("\\", "n/a")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=f"^{STEM}_events.tsv: {expected}"):
        read(small)


def test_ratings_that_were_not_given_are_nan(small: Path) -> None:
    path = small / f"{STEM}_events.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split("\t")
    lines[2] = "\t".join([*cells[:8], *["n/a"] * 12])
    path.write_text("\n".join(lines), encoding="utf-8")
    recording = read(small)
    assert recording.ratings is not None
    assert np.isnan(recording.ratings[2]).all()  # clip 26 was shown first
    assert np.isfinite(recording.ratings[:2]).all()
    path.write_text("\n".join([*lines[:2], lines[2].replace("n/a", "9"), *lines[3:]]), encoding="utf-8")
    with pytest.raises(InputError, match="expected 0 to 7"):
        read(small)


def test_demographics_may_be_missing_but_not_wrong(small: Path) -> None:
    path = small / "participants.tsv"
    rows = path.read_text()
    path.write_text(rows.replace("sub-000\t21\tF", "sub-000\tn/a\tn/a"))
    recording = read(small)
    assert (recording.age, recording.sex) == (None, None)
    path.write_text(rows.replace("sub-000\t21\tF", "sub-000\told\tF"))
    with pytest.raises(InputError, match="age of sub000 is 'old', expected whole years or n/a"):
        read(small)
    path.write_text(rows.replace("sub-000\t21\tF", "sub-000\t21\tfemale"))
    with pytest.raises(InputError, match="sex of sub000 is 'female', expected F, M or n/a"):
        read(small)


def test_channels_marked_bad_are_told(small: Path) -> None:
    path = small / f"{STEM}_channels.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("good", "bad", 2), encoding="utf-8")
    assert "2 channels are marked bad in channels.tsv" in read(small).notes


def test_data_that_were_not_fetched_are_named(small: Path) -> None:
    path = small / f"{STEM}_eeg.bdf"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/nothing")
    with pytest.raises(InputError, match=f"^{STEM}_eeg.bdf: is a link to data that were not fetched"):
        read(small)
    path.unlink()
    with pytest.raises(InputError, match=r"^nm000112: holds no sub-\*/eeg/\*_eeg.bdf"):
        FacedBidsSource(small).subjects()


def test_folder_errors(tmp_path: Path, small: Path) -> None:
    with pytest.raises(InputError, match="^nowhere: no such folder"):
        FacedBidsSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"^participants.tsv: is not there; expected FACED's BIDS layout"):
        FacedBidsSource(tmp_path)
    with pytest.raises(InputError, match="no row for 'sub777'"):
        FacedBidsSource(small).read("sub777")
    (small / "participants.tsv").write_text("participant_id\tage\tsex\nsub-009\t20\tF\n")
    with pytest.raises(InputError, match="participants.tsv: has no row for sub000, who has data"):
        FacedBidsSource(small).subjects()
