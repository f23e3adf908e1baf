from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook
from scipy.io import savemat

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.recipe import validate
from dataset_builder.sources import seed_iv
from dataset_builder.sources.folder_fake import draw_eeg
from dataset_builder.sources.mat_files import list_arrays, load_array
from dataset_builder.sources.montage import TEN_TEN
from dataset_builder.sources.seed_iv import SeedIvConfig, SeedIvSource
from dataset_builder.sources.seed_iv_tables import CHANNELS, LABELS
from dataset_builder.types import SCALP_CHANNELS

QUICK = PreprocessingConfig(ica="none", trial_s=10.0)


def write_session(
    root: Path, clips: dict[int, np.ndarray], session: int = 1, subject: int = 1, prefix: str = "cz"
) -> Path:
    path = root / "eeg_raw_data" / str(session) / f"{subject}_20160518.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {f"{prefix}_eeg{clip}": signal for clip, signal in clips.items()})
    return path


def draw_clip(seconds: float = 12.0, seed: int = 1) -> np.ndarray:
    return draw_eeg(seed, "clip", CHANNELS, seconds, 200)


def refuse(root: Path, subject: str = "sub01") -> str:
    with pytest.raises(InputError) as caught:
        SeedIvSource(root, preprocessing=QUICK).read(subject)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) not in message
    return message


def test_labels_are_balanced_and_differ_between_sessions() -> None:
    for emotions in LABELS.values():
        assert Counter(emotions) == {"neutral": 6, "sadness": 6, "fear": 6, "joy": 6}
    assert len(set(LABELS.values())) == 3
    # Beginning of each session as the release's ReadMe has it.
    assert LABELS[1][:4] == ("sadness", "fear", "joy", "neutral")
    assert LABELS[2][:4] == ("fear", "sadness", "joy", "neutral")
    assert LABELS[3][:4] == ("sadness", "fear", "fear", "sadness")


def test_the_channel_order_is_the_caps_without_two() -> None:
    assert len(set(CHANNELS)) == 62
    assert set(CHANNELS) - {name.upper() for name in TEN_TEN} == {"CB1", "CB2"}
    assert {name.upper() for name in SCALP_CHANNELS} < set(CHANNELS)


def test_the_twin_is_read(tmp_path: Path) -> None:
    SeedIvSource.write_fake(tmp_path, n_subjects=2)
    source = SeedIvSource(tmp_path, preprocessing=PreprocessingConfig(ica="none"))
    assert source.subjects() == ["sub01", "sub02"]
    assert source.info.synthetic
    recording = source.read("sub01")
    assert recording.signal_uv is not None
    assert (recording.signal_uv.shape, recording.signal_uv.dtype) == ((8, 60, 7500), np.float32)
    assert recording.clips == recording.ranks == (1, 2, 3, 4, 25, 26, 27, 28)
    assert recording.emotions == (*LABELS[1][:4], *LABELS[2][:4])
    assert recording.device_sfreq_hz == 1000.0
    assert recording.synthetic
    assert set(SCALP_CHANNELS) < set(recording.channels)
    assert recording.ratings is None
    notes = " | ".join(recording.notes)
    for told in ("CB1 and CB2 left out", "session 3 is not there", "session 1: 20 of 24 clips are not in the file"):
        assert told in notes
    assert [path.parent.name for path in source.files("sub01")] == ["1", "2"]
    assert [path.name for path in source.tables()] == ["ReadMe.txt"]


def test_the_twin_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        SeedIvSource.write_fake(tmp_path / name, n_subjects=1)
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("a", "b")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_rows_of_the_arrays_are_channels_and_the_end_of_a_clip_is_kept(tmp_path: Path) -> None:
    signal = draw_clip(seconds=20.0) * np.linspace(1, 1.5, 62)[:, None]
    write_session(tmp_path, {3: signal}, session=2, prefix="tyc")
    recording = SeedIvSource(tmp_path, preprocessing=QUICK).read("sub01")
    assert (recording.clips, recording.emotions) == ((27,), (LABELS[2][2],))
    assert recording.signal_uv is not None
    assert recording.signal_uv.shape == (1, 60, 2500)
    kept = [row for row, name in enumerate(CHANNELS) if name not in ("CB1", "CB2")]
    referenced = (signal[kept] - signal[kept].mean(axis=0))[:, -2000:]
    spread = recording.signal_uv[0].std(axis=1)
    assert np.corrcoef(spread, referenced.std(axis=1))[0, 1] > 0.95
    resampled = np.interp(np.arange(2500) / 250, np.arange(2000) / 200, referenced[27])
    assert np.corrcoef(resampled, recording.signal_uv[0, 27])[0, 1] > 0.85


def test_sessions_can_be_chosen(tmp_path: Path) -> None:
    for session in (1, 2):
        write_session(tmp_path, {1: draw_clip()}, session=session)
    source = SeedIvSource(tmp_path, SeedIvConfig(sessions=[2]), QUICK)
    assert source.read("sub01").clips == (25,)
    with pytest.raises(RecipeError, match="sessions are .*; accepted: one or more of 1, 2, 3 in this order"):
        validate(SeedIvConfig, {"sessions": [2, 1]}, where="recipe")


def test_short_clips_are_left_out_and_told(tmp_path: Path) -> None:
    write_session(tmp_path, {1: draw_clip(), 2: draw_clip(5.0)})
    recording = SeedIvSource(tmp_path, preprocessing=QUICK).read("sub01")
    assert recording.clips == (1,)
    assert "session 1: 1 clips are shorter than 10 s and left out" in recording.notes
    assert "session 1: 22 of 24 clips are not in the file" in recording.notes


def test_the_unit_is_checked(tmp_path: Path) -> None:
    write_session(tmp_path, {1: draw_clip() * 1e-6})
    recording = SeedIvSource(tmp_path, preprocessing=QUICK).read("sub01")
    assert any("volts marked as microvolts" in note for note in recording.notes)
    assert recording.signal_uv is not None
    assert 3 < recording.signal_uv.std() < 30
    write_session(tmp_path, {1: draw_clip() * 1e4})
    assert refuse(tmp_path).startswith("eeg_raw_data/1/1_20160518.mat: unit looks wrong")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no eeg_raw_data"):
        SeedIvSource(tmp_path)
    path = write_session(tmp_path, {1: draw_clip()[:61]})
    name = "eeg_raw_data/1/1_20160518.mat"
    assert refuse(tmp_path) == f"{name}: clip 1 has shape (61, 2400), expected (62, n_times)"
    write_session(tmp_path, {25: draw_clip()})
    assert refuse(tmp_path).startswith(f"{name}: holds no variable that ends in _eeg1 to _eeg24")
    savemat(path, {"a_eeg1": draw_clip(), "b_eeg1": draw_clip()})
    assert refuse(tmp_path) == f"{name}: holds clip 1 twice"
    broken = draw_clip()
    broken[4, 2000] = np.nan
    write_session(tmp_path, {1: broken})
    assert refuse(tmp_path) == f"{name}: trial 1: holds 1 values that are not finite numbers, within 20 s of it"
    assert "has no file of 'sub07'; subjects are sub01 to sub15" in refuse(tmp_path, "sub07")
    path.unlink()
    with pytest.raises(InputError, match="holds no file such as 1/1_20160518.mat"):
        SeedIvSource(tmp_path).subjects()


def test_damaged_files_are_one_clear_line(tmp_path: Path) -> None:
    path = write_session(tmp_path, {clip: draw_clip(seed=clip) for clip in (1, 2)})
    data = path.read_bytes()
    for damaged in (b"", b"nonsense" * 100, bytes(1000), data[:5000], data[: len(data) // 2], data[:-100]):
        path.write_bytes(damaged)
        assert refuse(tmp_path).startswith("eeg_raw_data/1/1_20160518.mat: ")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(500))
    assert "is a MATLAB 7.3 file; accepted: up to version 7" in refuse(tmp_path)


def test_arrays_are_bounded_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_session(tmp_path, {1: draw_clip()})
    monkeypatch.setattr(seed_iv, "_MAX_VALUES", 1000)
    assert refuse(tmp_path).endswith("holds an array of 148800 values, at most 1000 are accepted")


def test_only_arrays_of_numbers_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"numbers": np.eye(3), "text": "x", "struct": {"a": 1}, "cell": np.array([1, "a"], dtype=object)})
    assert list_arrays(path, "x.mat") == {"numbers": (3, 3)}
    np.testing.assert_array_equal(load_array(path, "numbers", "x.mat", 9), np.eye(3))
    with pytest.raises(InputError, match="y.mat: no such file"):
        list_arrays(tmp_path / "y.mat", "y.mat")


def write_channel_table(root: Path, names: Any) -> None:
    book = Workbook()
    for name in names:
        book.active.append((name,))
    book.save(root / "Channel Order.xlsx")


def test_the_releases_own_tables_are_compared(tmp_path: Path) -> None:
    write_session(tmp_path, {1: draw_clip()})
    (tmp_path / "ReadMe.txt").write_text("session1_label = [1,2,3,0,2,0,0,1,0,1,2,1,1,1,2,3,2,2,3,3,0,3,0,3];\n")
    write_channel_table(tmp_path, CHANNELS)
    assert [path.name for path in SeedIvSource(tmp_path).tables()] == ["ReadMe.txt", "Channel Order.xlsx"]
    write_channel_table(tmp_path, reversed(CHANNELS))
    with pytest.raises(InputError, match="Channel Order.xlsx: lists 62 channels in another order"):
        SeedIvSource(tmp_path)
    (tmp_path / "Channel Order.xlsx").write_bytes(b"x")
    with pytest.raises(InputError, match="Channel Order.xlsx: cannot be read"):
        SeedIvSource(tmp_path)
    (tmp_path / "ReadMe.txt").write_text("session2_label = [1,2,3]\n")
    with pytest.raises(InputError, match="ReadMe.txt: labels of session 2 differ"):
        SeedIvSource(tmp_path)
