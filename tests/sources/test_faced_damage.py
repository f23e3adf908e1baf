"""What is damaged in FACED is left out or repaired, and told."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.errors import InputError
from dataset_builder.sources.base import DroppedRecording
from dataset_builder.sources.faced import CHANNELS, DE_SHAPE, FacedConfig, FacedSource
from dataset_builder.sources.faced_quality import IMPLAUSIBLE, drop_noisy_trials
from dataset_builder.types import Recording


@pytest.fixture
def root(cohort: Path, tmp_path: Path) -> Path:
    """A copy of one subject's files, without its waveforms."""
    folder = tmp_path / "FACED"
    shutil.copytree(cohort, folder, ignore=shutil.ignore_patterns("Processed_data", "sub001*", "sub002*"))
    return folder


def write(root: Path, name: str, values: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(values.astype(np.float64), protocol=4))


def read_de(root: Path) -> np.ndarray:
    return np.array(pickle.loads((root / "EEG_Features/DE/sub000.pkl.pkl").read_bytes()))


def spoil(signal_uv: np.ndarray) -> np.ndarray:
    """Return waveforms whose mastoid A1 went into all other channels, as in sub023."""
    rng = np.random.default_rng(0)
    bad = signal_uv.astype(np.float64)
    bad[:, -1] += rng.normal(0, 26_000, bad[:, -1].shape)
    return np.asarray(bad - bad.mean(axis=1, keepdims=True))


def test_noisy_trials_are_left_out_and_told(root: Path) -> None:
    de = read_de(root)
    de[[4, 10], :4] = 5.5  # 4 of 32 channels at 245 / 4.13 = 59 µV in each of five bands: 133 µV
    de[11, :3] = 5.5  # 9 % of the channel-seconds: kept
    write(root, "EEG_Features/DE/sub000.pkl.pkl", de)
    recording = FacedSource(root).read("sub000")
    assert len(recording) == 26
    assert recording.clips == tuple(clip for clip in range(1, 29) if clip not in (5, 11))
    told = "2 of 28 trials left out, more than 10 % of channel-seconds above 75 µV: clips 5, 11"
    assert told in recording.notes
    everything = FacedSource(root, FacedConfig(max_noisy_share=1.0)).read("sub000")
    assert len(everything) == 28
    assert everything.de is not None
    assert everything.ratings is not None
    kept = [row for row in range(28) if row not in (4, 10)]
    np.testing.assert_array_equal(recording.de, everything.de[kept])
    np.testing.assert_array_equal(recording.ratings, everything.ratings[kept])
    assert recording.ranks == tuple(everything.ranks[row] for row in kept)


def test_noise_is_judged_in_relative_power_by_the_file_beside_it(root: Path) -> None:
    de = read_de(root)
    de[4] = 5.5
    write(root, "EEG_Features/DE/sub000.pkl.pkl", de)
    recording = FacedSource(root).read("sub000", "psd")
    assert recording.psd is not None
    assert (recording.psd.shape, recording.de, len(recording)) == ((27, *DE_SHAPE[1:]), None, 27)
    (root / "EEG_Features/DE/sub000.pkl.pkl").unlink()
    alone = FacedSource(root).read("sub000", "psd")
    assert len(alone) == 28
    assert "noise was not judged: relative power has no level" in alone.notes


def test_waveforms_and_features_agree_on_noise(with_signal: Recording) -> None:
    assert with_signal.signal_uv is not None
    loud = with_signal.signal_uv.copy()
    loud[7] *= 20
    loud[9, :2] *= 20
    noisy = Recording(
        subject="sub000",
        channels=CHANNELS,
        clips=with_signal.clips,
        emotions=with_signal.emotions,
        signal_uv=loud,
        sfreq_hz=250.0,
    )
    assert drop_noisy_trials(noisy, 0.1, "x").clips == tuple(clip for clip in range(1, 29) if clip != 8)
    assert drop_noisy_trials(noisy, 1.0, "x") is noisy


def test_a_recording_without_a_quiet_trial_is_dropped(root: Path) -> None:
    write(root, "EEG_Features/DE/sub000.pkl.pkl", np.full(DE_SHAPE, 5.0))  # 36 µV in each band, 80 µV in all
    with pytest.raises(DroppedRecording, match="every trial has more than 10 % of channel-seconds") as caught:
        FacedSource(root).read("sub000")
    assert caught.value.reason == "every trial is noisy"


def test_a_bad_mastoid_is_left_out_on_request(root: Path, with_signal: Recording) -> None:
    assert with_signal.signal_uv is not None
    write(root, "Processed_data/sub000.pkl", spoil(with_signal.signal_uv))
    with pytest.raises(DroppedRecording, match="in the median channel, at most 500 µV is plausible"):
        FacedSource(root).read("sub000", "signal_uv")
    recording = FacedSource(root, FacedConfig(repair=True)).read("sub000", "signal_uv")
    assert recording.channels == CHANNELS[:-1]
    assert any(note.startswith("mastoid A1 is damaged: left out") for note in recording.notes)
    assert recording.signal_uv is not None
    expected = with_signal.signal_uv[:, :-1]
    expected = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(recording.signal_uv, expected, atol=0.05)
    assert FacedSource(root, FacedConfig(repair=True)).read("sub000", "de").channels == CHANNELS[:-1]


def test_a_bad_mastoid_cannot_be_repaired_in_features(root: Path) -> None:
    de = read_de(root)
    de[:, :31] = 9.7
    de[:, 31] = 13.1
    write(root, "EEG_Features/DE/sub000.pkl.pkl", de)
    with pytest.raises(DroppedRecording, match=r"gamma DE 9\.7") as caught:
        FacedSource(root, FacedConfig(repair=True)).read("sub000")
    assert caught.value.reason == IMPLAUSIBLE


def test_relative_power_shows_a_bad_mastoid_too(root: Path) -> None:
    psd = np.full(DE_SHAPE, 1e-6)
    psd[:, 31] *= 961
    write(root, "EEG_Features/PSD/sub000.pkl.pkl", psd)
    (root / "EEG_Features/DE/sub000.pkl.pkl").unlink()
    with pytest.raises(DroppedRecording, match="gamma power of the channels differs by 0.000 nats"):
        FacedSource(root).read("sub000", "psd")


@pytest.mark.parametrize("reads", ["de", "psd"])
def test_a_clip_without_numbers_is_left_out(root: Path, reads: str) -> None:
    path = f"EEG_Features/{reads.upper()}/sub000.pkl.pkl"
    values = np.array(pickle.loads((root / path).read_bytes()))
    values[2] = np.nan
    write(root, path, values)
    recording = FacedSource(root).read("sub000", reads)
    assert recording.clips == (1, 2, *range(4, 29))
    assert "clip 3 left out, with values that are not finite numbers" in recording.notes


def test_the_form_that_is_asked_for_is_read(cohort: Path, root: Path) -> None:
    both = FacedSource(cohort, FacedConfig(form="processed"))
    assert both.subjects() == ["sub000"]
    assert both.read("sub000", "de").signal_uv is not None
    features = FacedSource(cohort, FacedConfig(form="features"))
    assert features.read("sub000", "de").de is not None
    with pytest.raises(InputError, match="sub000: waveforms are needed, but source.form is features"):
        features.read("sub000", "signal_uv")
    with pytest.raises(InputError, match=r"sub001: .* needed, but Processed_data/sub001.pkl is not there"):
        both.read("sub001", "de")
    assert FacedSource(cohort).read("sub000", "psd").psd is not None
    assert FacedSource(cohort, FacedConfig(form="processed")).read("sub000", "psd").signal_uv is not None
