import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builder.errors import InputError
from dataset_builder.filters import cut_windows, filter_signal, reference_to_average
from dataset_builder.quality import assess_quality, find_clipped, find_line_noise
from dataset_builder.types import SCALP_CHANNELS, Recording


def make_recording(signal_uv: np.ndarray, channels: tuple[str, ...] = SCALP_CHANNELS) -> Recording:
    n = len(signal_uv)
    return Recording("sub000", channels, (None,) * n, (None,) * n, signal_uv.astype(np.float32), 250.0)


def make_noise(n_trials: int = 2, n_channels: int = 30) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_trials, n_channels, 2500)) * 10


def test_a_good_recording_is_good(with_signal: Recording) -> None:
    quality = assess_quality(with_signal)
    assert quality.usable_fraction > 0.99
    assert (quality.n_windows, quality.n_channels) == (28, 32)
    assert len(quality.window_fractions) == 28
    assert quality.flat_channels == quality.noisy_channels == quality.missing_channels == quality.missing_regions == ()


def test_features_and_waveforms_are_judged_alike(with_signal: Recording) -> None:
    from dataset_builder.bands import compute_de

    assert with_signal.signal_uv is not None
    features = dataclasses.replace(with_signal, signal_uv=None, de=compute_de(with_signal.signal_uv, 250.0))
    assert assess_quality(features) == assess_quality(with_signal)


def test_flat_noisy_and_missing_are_named() -> None:
    signal = make_noise()
    signal[:, 0] = 0
    signal[:, 1] *= 30
    signal[0, 5, :500] *= 30  # two of twenty seconds
    quality = assess_quality(make_recording(signal))
    assert quality.flat_channels == ("Fp1",)
    assert quality.noisy_channels == ("Fp2",)
    assert quality.usable_fraction == pytest.approx(1 - (20 + 20 + 2) / (20 * 30))
    assert quality.window_fractions[0] < quality.window_fractions[1]
    assert quality.missing_regions == ()


def test_a_region_without_a_good_channel_is_missing() -> None:
    keep = [index for index, name in enumerate(SCALP_CHANNELS) if name not in ("Pz", "Cz")]
    signal = make_noise()[:, keep]
    channels = tuple(SCALP_CHANNELS[index] for index in keep)
    signal[:, channels.index("Oz")] = 0
    quality = assess_quality(make_recording(signal, channels))
    assert quality.missing_channels == ("Cz", "Pz")
    assert quality.missing_regions == ("mid posterior",)


def test_a_recording_without_anything_is_refused() -> None:
    with pytest.raises(InputError, match="sub000: holds no window"):
        assess_quality(make_recording(np.zeros((0, 30, 2500))))
    empty = Recording("sub000", SCALP_CHANNELS, (None,), (None,))
    with pytest.raises(InputError, match="neither band features nor a signal"):
        assess_quality(empty)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0, 1e5), n_channels=st.integers(1, 30))
def test_shares_are_shares(gain: float, n_channels: int) -> None:
    quality = assess_quality(make_recording(make_noise(1, n_channels) * gain, SCALP_CHANNELS[:n_channels]))
    assert 0 <= quality.usable_fraction <= 1
    assert not set(quality.flat_channels) & set(quality.noisy_channels)
    assert len(quality.missing_channels) == 30 - n_channels


def make_sines(*frequencies_hz: float, sfreq_hz: float = 500.0, seconds: float = 60.0) -> np.ndarray:
    times = np.arange(round(seconds * sfreq_hz)) / sfreq_hz
    return np.stack([np.sin(2 * np.pi * f * times) for f in frequencies_hz])


def test_pass_band() -> None:
    out = filter_signal(make_sines(0.01, 1.0, 10.0, 45.0, 50.0, 60.0), 500.0)
    assert (out.shape, out.dtype) == ((6, 15_000), np.float32)
    amplitude = out[:, 2500:-2500].std(axis=1) * np.sqrt(2)
    np.testing.assert_allclose(amplitude[1:4], 1, atol=0.02)
    assert amplitude[0] < 0.2
    assert amplitude[4:].max() < 0.02


def test_no_phase_shift() -> None:
    source = make_sines(10.0, sfreq_hz=250.0)
    out = filter_signal(source + 1000.0, 250.0)  # an offset must not ring
    np.testing.assert_allclose(out[:, 500:-500], source[:, 500:-500], atol=0.02)


def test_slow_recordings_are_refused() -> None:
    with pytest.raises(InputError, match="sampled at 64 Hz, at least 100 Hz is needed"):
        filter_signal(np.zeros((1, 6400)), 64.0)


def test_average_reference() -> None:
    out = reference_to_average(make_noise())
    assert np.abs(out.mean(axis=1)).max() < 1e-12


@settings(max_examples=40, deadline=None)
@given(n_times=st.integers(1, 2000), length=st.integers(1, 500))
def test_windows_are_consecutive(n_times: int, length: int) -> None:
    signal = np.arange(2 * n_times).reshape(2, n_times)
    if n_times < length:
        with pytest.raises(InputError, match="at least one window"):
            cut_windows(signal, 100.0, length / 100)
        return
    windows = cut_windows(signal, 100.0, length / 100)
    assert windows.shape == (n_times // length, 2, length)
    joined = np.concatenate(list(windows), axis=-1)
    np.testing.assert_array_equal(joined, signal[:, : joined.shape[1]])


@pytest.mark.parametrize(
    ("line_hz", "sfreq_hz", "expected"), [(50.0, 250.0, True), (60.0, 250.0, True), (60.0, 128.0, False)]
)
def test_line_noise(line_hz: float, sfreq_hz: float, expected: bool) -> None:
    noise: Any = np.random.default_rng(0).standard_normal((2, round(30 * sfreq_hz)))
    noise[0] += 2 * np.sin(2 * np.pi * line_hz * np.arange(noise.shape[1]) / sfreq_hz)
    assert find_line_noise(noise, sfreq_hz, line_hz).tolist() == [expected, False]


def test_clipping() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 5000))
    noise[0] = np.clip(noise[0], -2, 2)
    assert find_clipped(noise).tolist() == [True, False]
