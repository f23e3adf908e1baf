import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from dataset_builder import artifacts, preprocess
from dataset_builder.artifacts import find_bad_channels, find_flat_channels, interpolate_channels, make_info
from dataset_builder.errors import DependencyError, InputError, RecipeError
from dataset_builder.preprocess import PreprocessingConfig, preprocess_pieces, preprocess_recording
from dataset_builder.recipe import validate
from dataset_builder.sources.folder_fake import draw_eeg
from dataset_builder.types import SCALP_CHANNELS

CHANNELS = (*SCALP_CHANNELS, "A2", "A1")
SFREQ_HZ = 250.0


def make_config(**changes: Any) -> PreprocessingConfig:
    return PreprocessingConfig(**{"ica": "none", "trial_s": 10.0} | changes)


def make_signal(seconds: float = 40.0, channels: tuple[str, ...] = CHANNELS, seed: int = 17) -> np.ndarray:
    return draw_eeg(seed, "test", channels, seconds, round(SFREQ_HZ))


def make_raw(signal_uv: np.ndarray, channels: tuple[str, ...] = CHANNELS, sfreq_hz: float = SFREQ_HZ) -> Any:
    return mne.io.RawArray(signal_uv * 1e-6, mne.create_info(list(channels), sfreq_hz, "eeg"), verbose="ERROR")


def remove_mean(trials: np.ndarray) -> np.ndarray:
    return trials - trials.mean(axis=1, keepdims=True)


def test_the_last_seconds_of_each_stimulus_are_kept_in_the_given_order() -> None:
    signal = make_signal()
    config = make_config(bad_channels="keep", reference="keep")
    trials, notes = preprocess_recording(make_raw(signal), [35.0, 20.5], config)
    assert (trials.shape, trials.dtype, notes) == ((2, 32, 2500), np.float32, [])
    for trial, end_s in zip(trials, (35.0, 20.5), strict=True):
        source = signal[:, round((end_s - 10) * SFREQ_HZ) : round(end_s * SFREQ_HZ)]
        for mine, theirs in zip(trial, source, strict=True):
            assert np.corrcoef(mine, theirs)[0, 1] > 0.9  # the rest is above the pass band


@pytest.mark.parametrize("sfreq_hz", [128.0, 250.0, 512.0, 1000.0])
def test_rates_and_pass_band(sfreq_hz: float) -> None:
    times = np.arange(round(60 * sfreq_hz)) / sfreq_hz
    waves = [np.sin(2 * np.pi * f * times) for f in (0.01, 1.0, 10.0, 45.0, 50.0, 60.0)]
    raw = make_raw(10 * np.stack([*waves, waves[2] * 0.9, waves[2] * 1.1]), SCALP_CHANNELS[:8], sfreq_hz)
    trials, _ = preprocess_recording(raw, [45.0], make_config(bad_channels="keep", reference="keep"))
    amplitude = trials[0].std(axis=1) * np.sqrt(2) / 10
    np.testing.assert_allclose(amplitude[1:4], 1, atol=0.03)
    assert amplitude[0] < 0.2
    assert amplitude[4:6].max() < 0.02


def test_a_cut_trial_is_what_filtering_the_whole_recording_gives() -> None:
    signal = make_signal(seconds=80.0) + 500 * np.linspace(-1, 1, 80 * 250)  # a drift that a short filter would bend
    config = make_config(bad_channels="keep", reference="keep")
    alone, _ = preprocess_recording(make_raw(signal), [45.0], config)
    whole, _ = preprocess_recording(make_raw(signal), [80.0], make_config(trial_s=80.0, bad_channels="keep"))
    referenced = remove_mean(alone)[0]
    assert np.abs(referenced - whole[0, :, 35 * 250 : 45 * 250]).max() < 0.5


def test_only_pieces_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_raw(make_signal(seconds=200.0))
    read = []
    original = raw.get_data

    def watch(*arguments: Any, **options: Any) -> Any:
        read.append(options["stop"] - options["start"])
        return original(*arguments, **options)

    monkeypatch.setattr(raw, "get_data", watch)
    preprocess_recording(raw, [60.0, 120.0], make_config())
    assert read == [50 * 250] * 2


def test_the_average_reference_includes_the_mastoids() -> None:
    trials, _ = preprocess_recording(make_raw(make_signal()), [30.0], make_config(bad_channels="keep"))
    assert np.abs(trials.mean(axis=1)).max() < 1e-5


def test_a_huge_channel_is_interpolated_and_named() -> None:
    signal = make_signal()
    broken = signal.copy()
    broken[CHANNELS.index("A1")] += 4000 * np.random.default_rng(0).standard_normal(signal.shape[1])
    kept, kept_notes = preprocess_recording(make_raw(broken), [30.0, 40.0], make_config(bad_channels="keep"))
    good, notes = preprocess_recording(make_raw(broken), [30.0, 40.0], make_config())
    clean, _ = preprocess_recording(make_raw(signal), [30.0, 40.0], make_config())
    assert notes == ["channels interpolated, in how many of 2 trials: A1 2"]
    assert kept_notes == []
    cz = CHANNELS.index("Cz")
    assert kept[:, cz].std() > 10 * clean[:, cz].std()  # one mastoid leaks into everything
    assert np.corrcoef(good[0, cz], clean[0, cz])[0, 1] > 0.99


def test_interpolation_recovers_a_smooth_field() -> None:
    positions = artifacts.electrode_positions().get_positions()["ch_pos"]
    front = np.array([positions[name][1] for name in SCALP_CHANNELS])
    trial = np.outer(front / front.std(), np.sin(np.arange(1000) / 20)) * 10
    bad = np.array([name in ("Cz", "P3") for name in SCALP_CHANNELS])
    broken = np.where(bad[:, None], 1e4, trial)
    repaired = interpolate_channels(broken, make_info(SCALP_CHANNELS, SFREQ_HZ), bad)
    np.testing.assert_array_equal(repaired[~bad].round(6), trial[~bad].round(6))
    assert np.abs(repaired[bad] - trial[bad]).max() < 3


def test_flat_channels_never_enter_the_average() -> None:
    signal = make_signal()
    signal[4] = 7.0
    kept, notes = preprocess_recording(make_raw(signal), [30.0], make_config(bad_channels="keep"))
    assert notes == ["flat channels set to zero, in how many of 1 trials: F4 1"]
    assert np.abs(kept[0, 4]).max() == 0
    assert np.abs(np.delete(kept[0], 4, axis=0).mean(axis=0)).max() < 1e-5
    repaired, notes = preprocess_recording(make_raw(signal), [30.0], make_config())
    assert notes == ["channels interpolated, in how many of 1 trials: F4 1"]
    assert repaired[0, 4].std() > 1


def test_a_trial_with_too_many_bad_channels_is_left_and_told() -> None:
    signal = make_signal()
    signal[:9] = 0
    trials, notes = preprocess_recording(make_raw(signal), [30.0], make_config())
    assert notes[-1] == "too many bad channels to interpolate in 1 of 1 trials"
    assert "flat channels set to zero" in notes[0]
    assert np.abs(trials[0, :9]).max() == 0
    silent, _ = preprocess_recording(make_raw(0 * signal), [30.0], make_config(ica="trial"))
    assert np.abs(silent).max() == 0


def test_criteria_for_bad_and_flat() -> None:
    rng = np.random.default_rng(0)
    trial = rng.standard_normal((8, 5000)) * 10
    trial[0] *= 4
    trial[1, :2000] = 3.0  # 40 % of the seconds
    trial[2, :1000] = 3.0  # 20 %
    trial[3, :1400] *= 10  # 28 % of the time
    flat = find_flat_channels(trial, SFREQ_HZ)
    assert np.flatnonzero(flat).tolist() == [1]
    assert np.flatnonzero(find_bad_channels(trial, flat)).tolist() == [0]
    assert not find_bad_channels(trial, np.ones(8, dtype=bool)).any()


@pytest.mark.parametrize("ica", ["trial", "recording"])
def test_blinks_are_removed_and_the_rest_stays(ica: str) -> None:
    raw = make_raw(make_signal(seconds=65.0))
    config = make_config(trial_s=30.0, reference="keep")
    before, _ = preprocess_recording(raw, [32.0, 64.0], config)
    after, notes = preprocess_recording(raw, [32.0, 64.0], make_config(trial_s=30.0, reference="keep", ica=ica))
    removed = int(notes[0].split()[0])
    assert notes[0].endswith("eye components removed in 2 trials")
    assert 1 <= removed <= artifacts.MAX_EYE_COMPONENTS * 2
    fp1, pz = CHANNELS.index("Fp1"), CHANNELS.index("Pz")
    assert np.abs(after[:, fp1]).max() < 0.6 * np.abs(before[:, fp1]).max()
    assert np.corrcoef(after[0, pz], before[0, pz])[0, 1] > 0.98


def test_without_eye_channels_ica_is_left_out_and_told() -> None:
    channels = tuple(name for name in CHANNELS if name not in ("Fp1", "Fp2"))
    raw = make_raw(make_signal(channels=channels), channels)
    trials, notes = preprocess_recording(raw, [30.0], make_config(ica="trial"))
    plain, _ = preprocess_recording(raw, [30.0], make_config())
    assert notes == ["eye movements not removed in 1 of 1 trials: no usable Fp1 or Fp2"]
    np.testing.assert_array_equal(trials, plain)


def test_fpz_stands_in_where_both_are_missing() -> None:
    channels = ("Fpz", *(name for name in CHANNELS if name not in ("Fp1", "Fp2")))
    raw = make_raw(make_signal(channels=channels), channels)
    _, notes = preprocess_recording(raw, [32.0], make_config(ica="trial", trial_s=30.0))
    assert "eye components removed" in notes[0]


def test_components_are_no_more_than_the_rank() -> None:
    signal = make_signal()
    signal -= signal.mean(axis=0)  # rank 31
    assert artifacts._count_components(signal) == min(31, int(np.sqrt(signal.shape[1] / 20)))
    assert artifacts._count_components(signal[:6] - signal[:6].mean(axis=0)) == 5
    assert artifacts._count_components(np.zeros((4, 1000))) == 0


def test_the_same_input_gives_the_same_bytes() -> None:
    raw = make_raw(make_signal())
    first, _ = preprocess_recording(raw, [30.0], make_config(ica="trial"))
    np.random.default_rng(3).standard_normal(10)
    second, _ = preprocess_recording(raw, [30.0], make_config(ica="trial"))
    assert first.tobytes() == second.tobytes()


def test_scale_repairs_a_unit() -> None:
    signal = make_signal()
    right, _ = preprocess_recording(make_raw(signal), [30.0], make_config())
    wrong, _ = preprocess_recording(make_raw(signal * 1e6), [30.0], make_config(), scale=1e-6)
    np.testing.assert_allclose(wrong, right, atol=1e-3)


def test_pieces_are_cleaned_like_a_recording_of_their_own() -> None:
    signals = [make_signal(seconds=15.0, seed=seed) for seed in (1, 2)]
    together, notes = preprocess_pieces((make_raw(signal) for signal in signals), 2, CHANNELS, make_config())
    for trial, signal in zip(together, signals, strict=True):
        alone, _ = preprocess_recording(make_raw(signal), [15.0], make_config())
        np.testing.assert_array_equal(trial, alone[0])
    assert notes == []


def test_requests_that_cannot_be_met() -> None:
    raw = make_raw(make_signal())
    with pytest.raises(
        InputError, match=r"trial 2: the 10 s before its end last from 35.00 to 45.00 s, .* 0 to 40.00 s"
    ):
        preprocess_recording(raw, [30.0, 45.0], make_config())
    with pytest.raises(InputError, match="trial 1: .* from -5.00 to 5.00 s"):
        preprocess_recording(raw, [5.0], make_config())
    with pytest.raises(InputError, match="no trial is given"):
        preprocess_recording(raw, [], make_config())
    with pytest.raises(InputError, match="without a 10-10 name"):
        preprocess_recording(make_raw(make_signal(), ("HEOR", *CHANNELS[1:])), [30.0], make_config())
    with pytest.raises(InputError, match="sampled at 90 Hz, at least 100 Hz"):
        preprocess_recording(make_raw(make_signal(), sfreq_hz=90.0), [30.0], make_config())
    with pytest.raises(InputError, match="at least 144 Hz"):
        preprocess_recording(make_raw(make_signal(), sfreq_hz=128.0), [30.0], make_config(h_freq_hz=70.0))
    broken = make_signal()
    broken[3, 100] = np.nan
    with pytest.raises(InputError, match="trial 1: holds 1 values that are not finite"):
        preprocess_recording(make_raw(broken), [15.0], make_config())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="scikit-learn"):
        preprocess_recording(make_raw(make_signal()), [30.0], make_config(ica="trial"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"h_freq_hz": 124.0}, "at most 123"),
        ({"l_freq_hz": 60.0}, "above l_freq_hz"),
        ({"trial_s": 0.5}, "trial_s"),
        ({"ica": "sometimes"}, "ica"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        validate(PreprocessingConfig, changes, where="test")


def test_open_pass_bands_are_accepted() -> None:
    config = make_config(l_freq_hz=None, h_freq_hz=None, bad_channels="keep", reference="keep")
    signal = make_signal()
    trials, _ = preprocess_recording(make_raw(signal), [30.0], config)
    source = signal[:, 20 * 250 : 30 * 250]
    np.testing.assert_allclose(
        trials[0] - trials[0].mean(axis=1, keepdims=True), source - source.mean(axis=1, keepdims=True), atol=1e-3
    )


def test_the_progress_bar_is_shown_on_request_only(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    shown = []
    monkeypatch.setattr(preprocess, "tqdm", lambda items, **options: shown.append(options) or items)
    preprocess_recording(make_raw(make_signal()), [30.0], make_config(), show="trials of P1")
    preprocess_recording(make_raw(make_signal()), [30.0], make_config())
    assert [(options["desc"], options["disable"]) for options in shown] == [("trials of P1", None), ("", True)]


def test_neither_torch_nor_sklearn_is_imported_without_need(tmp_path: Path) -> None:
    code = "import json, sys, dataset_builder.preprocess; print(json.dumps([m for m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sklearn"} & set(json.loads(done.stdout))
