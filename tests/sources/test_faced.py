import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import load_workbook
from scipy.io import savemat

from dataset_builder.errors import InputError
from dataset_builder.sources.base import DroppedRecording
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced import CHANNELS, DE_SHAPE, FacedSource
from dataset_builder.sources.ratings import read_ratings
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, VALENCE

READS = ("de", "psd", "signal_uv")
DE_FILE = "EEG_Features/DE/sub001.pkl.pkl"


@pytest.fixture
def small(cohort: Path, tmp_path: Path) -> Path:
    """A copy without waveforms that a test may damage."""
    root = tmp_path / "FACED"
    shutil.copytree(cohort, root, ignore=shutil.ignore_patterns("Processed_data", "manifest.json", "SYNTHETIC.md"))
    return root


def write_de(root: Path, value: Any, name: str = DE_FILE) -> None:
    (root / name).write_bytes(pickle.dumps(value, protocol=4))


def test_clips_are_those_of_the_paper() -> None:
    assert [clip.number for clip in CLIPS] == list(range(1, 29))
    counts = {name: sum(clip.label == name for clip in CLIPS) for name in EMOTIONS}
    assert counts == dict.fromkeys(EMOTIONS, 3) | {"neutral": 4}
    assert all(VALENCE[clip.label] == clip.valence.lower() for clip in CLIPS)


def test_features_have_shape_unit_and_order(small: Path) -> None:
    recording = FacedSource(small).read("sub001")
    assert recording.signal_uv is None
    assert recording.de is not None
    assert (recording.de.shape, recording.de.dtype) == (DE_SHAPE, np.float32)
    assert recording.channels == (*SCALP_CHANNELS, "A2", "A1") == CHANNELS
    assert recording.clips == tuple(range(1, 29))
    assert recording.emotions[0] == "anger"
    assert recording.emotions[12:16] == ("neutral",) * 4
    stored = pickle.loads((small / DE_FILE).read_bytes())
    np.testing.assert_allclose(recording.de, stored, rtol=1e-6)
    assert recording.sex in ("F", "M")
    assert 17 <= (recording.age or 0) <= 38
    assert recording.device_sfreq_hz in (250.0, 1000.0)


def test_waveforms_are_microvolts_at_250_hz(cohort: Path) -> None:
    source = FacedSource(cohort)
    recording = source.read("sub000", "signal_uv")
    assert recording.de is None
    assert recording.signal_uv is not None
    assert (recording.signal_uv.shape, recording.signal_uv.dtype) == ((28, 32, 7500), np.float32)
    assert recording.sfreq_hz == 250.0
    assert 1 < recording.signal_uv.std() < 50
    features = source.read("sub000", "de")
    assert features.signal_uv is None
    assert features.de is not None


def test_a_folder_with_one_kind_of_data_is_enough(cohort: Path, tmp_path: Path) -> None:
    shutil.copy(cohort / "Recording_info.csv", tmp_path)
    (tmp_path / "Processed_data").mkdir()
    (tmp_path / "Processed_data/sub000.pkl").symlink_to(cohort / "Processed_data/sub000.pkl")
    source = FacedSource(tmp_path)
    assert source.subjects() == ["sub000"]
    recording = source.read("sub000", "de")
    assert recording.de is None
    assert recording.signal_uv is not None
    assert recording.ratings is None
    assert recording.notes == ("no self-ratings on file",)
    assert source.files("sub000", "de") == [tmp_path / "Processed_data/sub000.pkl"]


def test_waveforms_that_are_not_there_are_named(small: Path) -> None:
    with pytest.raises(
        InputError,
        match="sub001: waveforms are needed, but Processed_data/sub001.pkl or Data/sub001/data.bdf is not there",
    ):
        FacedSource(small).read("sub001", "signal_uv")


def test_files_are_those_that_are_read(cohort: Path) -> None:
    source = FacedSource(cohort)
    names = {reads: [path.relative_to(cohort).as_posix() for path in source.files("sub000", reads)] for reads in READS}
    remarks = "Data/sub000/After_remarks.mat"
    assert names["de"] == ["EEG_Features/DE/sub000.pkl.pkl", remarks]
    assert names["psd"] == ["EEG_Features/PSD/sub000.pkl.pkl", remarks, "EEG_Features/DE/sub000.pkl.pkl"]
    assert names["signal_uv"] == ["Processed_data/sub000.pkl", remarks]
    assert [path.name for path in source.tables()] == ["Recording_info.csv", "Stimuli_info.xlsx"]


def test_the_synthetic_mark_is_carried(cohort: Path, small: Path) -> None:
    assert FacedSource(cohort).info.synthetic
    assert FacedSource(cohort).read("sub001").synthetic
    assert not FacedSource(small).info.synthetic
    shutil.copy(cohort / "manifest.json", small)  # either mark is enough
    assert FacedSource(small).read("sub001").synthetic


def test_the_damaged_recording_is_dropped_with_a_reason(small: Path) -> None:
    """As in sub023: one bad mastoid, spread over all channels by the average reference."""
    de = np.full(DE_SHAPE, 2.0)
    de[..., 4] = 9.7
    write_de(small, de)
    with pytest.raises(DroppedRecording, match=r"gamma DE 9\.7") as caught:
        FacedSource(small).read("sub001")
    assert caught.value.reason == "recording is not plausible as scalp EEG"


def test_damaged_waveforms_are_dropped(cohort: Path, tmp_path: Path) -> None:
    shutil.copy(cohort / "Recording_info.csv", tmp_path)
    (tmp_path / "Processed_data").mkdir()
    noise = np.random.default_rng(0).standard_normal((28, 32, 7500)) * 26_000
    write_de(tmp_path, noise, "Processed_data/sub001.pkl")
    with pytest.raises(DroppedRecording, match="in the median channel"):
        FacedSource(tmp_path).read("sub001")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.ones((28, 32, 30)), r"EEG_Features/DE/sub001\.pkl\.pkl: shape \(28, 32, 30\), expected \(28, 32, 30, 5\)"),
        (np.full(DE_SHAPE, np.nan), "not finite"),
        ("text", "holds str, expected one float array"),
    ],
)
def test_bad_arrays_name_file_and_finding(small: Path, value: Any, expected: str) -> None:
    write_de(small, value)
    with pytest.raises(InputError, match=expected):
        FacedSource(small).read("sub001")


def test_renamed_features_are_found(small: Path) -> None:
    (small / DE_FILE).rename(small / "EEG_Features/DE/sub001.pkl")
    assert FacedSource(small).subjects() == ["sub000", "sub001", "sub002"]
    assert FacedSource(small).read("sub001").de is not None


def test_folder_errors(tmp_path: Path, small: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FacedSource(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no Recording_info.csv"):
        FacedSource(tmp_path / "empty")
    shutil.rmtree(small / "EEG_Features")
    with pytest.raises(InputError, match=r"^FACED: holds no EEG_Features/DE/sub\*.pkl and no .*/data.bdf$"):
        FacedSource(small).subjects()
    with pytest.raises(InputError, match="no row for 'sub777'"):
        FacedSource(small).read("sub777")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"Cohort ,", b"Cohort,", None),
        (b"Gender", b"Sex", "column Gender is missing"),
        (b"sub001,", b"sub009,", "has no row for sub001, who has data"),
        (b"sub001,", b"Jane,", "line 3: sub is 'Jane', expected sub000 to sub999"),
        (b"sub", b"\xff", "cannot be read"),
    ],
)
def test_information_table(small: Path, old: bytes, new: bytes, expected: str | None) -> None:
    path = small / "Recording_info.csv"
    path.write_bytes(path.read_bytes().replace(old, new))
    if expected is None:
        assert FacedSource(small).subjects()
        return
    with pytest.raises(InputError, match=expected):
        FacedSource(small).subjects()


def test_clip_table_must_agree_with_the_labels(small: Path) -> None:
    path = small / "Stimuli_info.xlsx"
    book = load_workbook(path)
    book.active["F6"] = "Joy"
    book.save(path)
    with pytest.raises(InputError, match="clip 5 is 'Negative Joy', expected Negative Disgust"):
        FacedSource(small)
    book.active.delete_rows(20)
    book.active["F6"] = "Disgust"
    book.save(path)
    with pytest.raises(InputError, match="no complete row for clip 19"):
        FacedSource(small)
    path.write_bytes(b"not a workbook")
    with pytest.raises(InputError, match="Stimuli_info.xlsx: cannot be read"):
        FacedSource(small)
    path.unlink()
    assert FacedSource(small).read("sub001").emotions[4] == "disgust"


def make_remarks(order: list[int], score: float = 3.0, n_scores: int = 12) -> np.ndarray:
    remarks = np.empty((len(order), 1), dtype=[("score", object), ("trial", object), ("vid", object)])
    for rank, clip in enumerate(order):
        remarks[rank, 0] = (np.full((1, n_scores), score + clip / 100), np.array([[rank + 1]]), np.array([[clip]]))
    return remarks


def test_ratings_are_sorted_from_presentation_to_clip_order(tmp_path: Path) -> None:
    path = tmp_path / "After_remarks.mat"
    savemat(path, {"After_remark": make_remarks(list(range(28, 0, -1)))})
    remarks = read_ratings(path, 28, "Data/sub001/After_remarks.mat")
    assert remarks.ranks == tuple(range(28, 0, -1))
    ratings = remarks.ratings
    assert (ratings.shape, ratings.dtype) == ((28, 12), np.float32)
    np.testing.assert_allclose(ratings[:, 0], 3 + np.arange(1, 29) / 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"other": 1}, "holds no variable After_remark"),
        ({"After_remark": 3.0}, "expected a 28 x 1 struct array"),
        ({"After_remark": make_remarks(list(range(1, 28)))}, "expected a 28 x 1 struct array"),
        ({"After_remark": make_remarks([1] * 28)}, "field vid is not each number from 1 to 28 once"),
        ({"After_remark": make_remarks(list(range(1, 29)), 9.0)}, "expected 0 to 7"),
        ({"After_remark": make_remarks(list(range(1, 29)), np.nan)}, "expected 0 to 7"),
        ({"After_remark": make_remarks(list(range(1, 29)), n_scores=11)}, r"shape \(28, 11\), expected \(28, 12\)"),
    ],
)
def test_bad_ratings_are_one_clear_line(tmp_path: Path, content: dict[str, Any], expected: str) -> None:
    path = tmp_path / "x.mat"
    savemat(path, content)
    with pytest.raises(InputError, match=f"^After_remarks.mat: .*{expected}"):
        read_ratings(path, 28, "After_remarks.mat")


def test_damaged_ratings_files(tmp_path: Path, cohort: Path) -> None:
    path = tmp_path / "x.mat"
    for data, expected in (
        (b"", "not a MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(200), "not a MATLAB 5 file"),
        (bytes(2_000_000), "at most 1000000 expected"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=expected):
            read_ratings(path, 28, "x.mat")
    whole = (cohort / "Data/sub001/After_remarks.mat").read_bytes()
    for length in range(100, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="^x.mat: "):
            read_ratings(path, 28, "x.mat")
    with pytest.raises(InputError, match="cannot be read"):
        read_ratings(tmp_path / "none.mat", 28, "none.mat")
