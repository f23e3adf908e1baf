import numpy as np
import pytest
from mne.filter import filter_data

from dataset_builder.bands import compute_de, compute_psd, second_sd_uv, trial_psd
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, Recording


def sine(frequency_hz: float, amplitude_uv: float, sfreq_hz: float = 250.0, seconds: float = 30) -> np.ndarray:
    return amplitude_uv * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * sfreq_hz)) / sfreq_hz)


@pytest.mark.parametrize(
    ("band", "frequency_hz"), [("delta", 2), ("theta", 6), ("alpha", 10), ("beta", 20), ("gamma", 40)]
)
def test_power_of_a_sine_lands_in_its_band(band: str, frequency_hz: float) -> None:
    de = compute_de(sine(frequency_hz, 10.0)[None], 250.0)
    assert de.shape == (1, 30, 5)
    index = list(BANDS).index(band)
    expected = 0.5 * np.log(2 * np.pi * np.e * 10.0**2 / 2)
    assert np.allclose(de[0, :, index], expected, atol=0.01)
    assert np.delete(de[0, 1:-1], index, axis=-1).max() < expected - 3  # at its ends the sine is turned about a point


def test_white_noise_power_follows_bandwidth() -> None:
    noise = np.random.default_rng(0).normal(0, 10, (4, 250 * 60))
    mean = compute_de(noise, 250.0).mean(axis=(0, 1))
    for value, (low, high) in zip(mean, BANDS.values(), strict=True):
        expected = 0.5 * np.log(2 * np.pi * np.e * 100 * (high - low) / 125)
        assert abs(value - expected) < 0.35  # the mean log of one-second variances lies lower


def test_doubling_the_amplitude_adds_log_two() -> None:
    noise = np.random.default_rng(1).normal(0, 5, (2, 2500))
    assert np.allclose(compute_de(2 * noise, 250.0) - compute_de(noise, 250.0), np.log(2), atol=1e-4)


def test_silence_is_finite() -> None:
    assert np.isfinite(compute_de(np.zeros((1, 500)), 250.0)).all()


@pytest.mark.parametrize(("n_times", "sfreq_hz", "message"), [(100, 250.0, "one second"), (800, 80.0, "96 Hz")])
def test_unusable_signals_are_refused(n_times: int, sfreq_hz: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_de(np.zeros((1, n_times)), sfreq_hz)


@pytest.mark.parametrize(("n_times", "sfreq_hz"), [(7500, 250.0), (3800, 128.0), (1100, 250.0)])
def test_features_are_those_of_the_release(n_times: int, sfreq_hz: float) -> None:
    """MNE's own filter on the whole trial, then the variance per second: what FACED's authors compute."""
    signal = np.random.default_rng(2).normal(0, 10, (2, 3, n_times))
    per_second = round(sfreq_hz)
    whole = n_times // per_second * per_second
    ours = compute_de(signal, sfreq_hz)
    for index, (low, high) in enumerate(BANDS.values()):
        band = filter_data(signal, sfreq_hz, low, high, verbose="ERROR")[..., :whole]
        variance = band.reshape(2, 3, -1, per_second).var(axis=-1)
        np.testing.assert_allclose(ours[..., index], 0.5 * np.log(2 * np.pi * np.e * variance), atol=2e-4)


def test_an_offset_costs_no_precision() -> None:
    signal = np.random.default_rng(2).normal(0, 10, (2, 7500))
    np.testing.assert_allclose(compute_de(signal + 3e5, 250.0), compute_de(signal, 250.0), atol=1e-5)


def test_second_sd_adds_the_bands_up() -> None:
    de = compute_de(np.stack([sine(10, 10.0), sine(10, 10.0) + sine(20, 10.0)]), 250.0)
    np.testing.assert_allclose(second_sd_uv(de)[:, 1:-1], np.repeat([[50**0.5], [10.0]], 28, axis=1), rtol=0.02)


def test_relative_power_has_no_level() -> None:
    noise = np.random.default_rng(3).normal(0, 10, (2, 4, 1000))
    psd = compute_psd(noise, 250.0)
    assert (psd.shape, psd.dtype) == ((2, 4, 4, 5), np.float32)
    np.testing.assert_allclose(compute_psd(7 * noise, 250.0), psd, rtol=1e-4)
    louder = compute_psd(noise * np.array([3, 1, 1, 1])[:, None], 250.0)
    assert (louder[:, 1:] < psd[:, 1:]).all()  # one loud channel takes its share from all others
    assert (louder[:, 0] > psd[:, 0]).all()


def test_relative_power_follows_its_definition() -> None:
    signal = np.random.default_rng(4).normal(0, 10, (3, 500))
    second = np.fft.rfft(signal[:, 250:] * np.hanning(250), n=256)
    share = np.abs(second) / np.abs(second).sum()
    inside = [(low <= f * 250 / 256 < high) for low, high in [BANDS["alpha"]] for f in range(129)]
    expected = (share[:, np.array(inside)] ** 2).mean(axis=1)
    np.testing.assert_allclose(compute_psd(signal, 250.0)[:, 1, 2], expected, rtol=1e-4)


def test_a_trial_brings_its_relative_power_or_its_signal() -> None:
    signal = np.random.default_rng(5).normal(0, 10, (1, 2, 1000)).astype(np.float32)
    facts = {"subject": "sub000", "channels": ("Fz", "Cz"), "clips": (1,), "emotions": ("joy",)}
    computed = trial_psd(Recording(**facts, signal_uv=signal, sfreq_hz=250.0).trial(0))
    stored = trial_psd(Recording(**facts, psd=computed[None]).trial(0))
    np.testing.assert_array_equal(computed, stored)
    with pytest.raises(InputError, match="sub000: holds neither relative power nor a signal"):
        trial_psd(Recording(**facts).trial(0))
