import numpy as np
import pytest

from dataset_builder.bands import compute_de
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS


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
    assert np.delete(de[0], index, axis=-1).max() < expected - 3


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


@pytest.mark.parametrize(("n_times", "sfreq_hz", "message"), [(100, 250.0, "one second"), (800, 80.0, "94 Hz")])
def test_unusable_signals_are_refused(n_times: int, sfreq_hz: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_de(np.zeros((1, n_times)), sfreq_hz)
