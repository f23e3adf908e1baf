"""What single codecs do with signals whose content is known."""

import dataclasses

import numpy as np
import pytest

from dataset_builder.codecs import CODECS, make_codec
from dataset_builder.codecs.fidelity import LOST_DB
from dataset_builder.errors import InputError
from dataset_builder.recipe import RecipeError, validate
from dataset_builder.types import SCALP_CHANNELS, Recording
from tests.corpus.test_every_codec import fit_codec, make_recording

WITHOUT_TWO = tuple(name for name in SCALP_CHANNELS if name not in ("Fp1", "O2"))


def make_waves(frequency_hz: float, duration_s: float = 20.0) -> Recording:
    """One trial of a sine at Fz, 128 Hz, 20 µV."""
    times = np.arange(int(duration_s * 128)) / 128
    wave = 20 * np.sin(2 * np.pi * frequency_hz * times)
    return Recording("sub000", ("Fz",), (1,), (None,), signal_uv=wave[None, None].astype(np.float32), sfreq_hz=128.0)


@pytest.mark.parametrize("name", ["wavelet", "raw"])
def test_slow_wave_is_kept(name: str) -> None:
    codec = make_codec(CODECS[name].Config(channels=["Fz"], points=40))
    power = np.abs(np.fft.rfft(codec.decode(codec.encode_recording(make_waves(0.1))[0])[0])) ** 2
    assert power.argmax() == 2  # two periods of 10 s in 20 s
    assert power[2] / power.sum() > 0.9


def test_chunk_is_the_waveform_itself() -> None:
    codec = make_codec(CODECS["chunk"].Config(channels=["Fz"], points=128, sfreq_hz=128.0, start_s=3.0, decimals=3))
    recording = make_waves(6.25)
    piece = codec.decode(codec.encode_recording(recording)[0])[0] * recording.signal_uv[0, 0].std()
    assert np.abs(piece - recording.signal_uv[0, 0, 384:512]).max() < 0.01


def test_chunk_must_lie_in_the_trial() -> None:
    codec = make_codec(CODECS["chunk"].Config(start_s=9.9))
    with pytest.raises(InputError, match=r"50 points from 9.9 s go beyond the 10-s trial"):
        codec.encode_recording(make_recording(1))


def test_segments_put_together_are_the_whole() -> None:
    options = {"channels": ["Fz", "Cz"], "points": 60, "segments": 3}
    recording = make_recording(2)
    whole = CODECS["wavelet_segments"].Config(**options, keep="all")
    parts = [CODECS["wavelet_segments"].Config(**options, keep=keep) for keep in ("first", 2, 3)]
    values = [make_codec(config).encode_recording(recording)[0].values for config in (whole, *parts)]
    assert np.array_equal(np.concatenate(values[1:], axis=1), values[0])


@pytest.mark.parametrize("options", [{"points": 50, "segments": 7}, {"keep": 11}, {"keep": "last"}, {"segments": 0}])
def test_impossible_segments_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="recipe"):
        validate(CODECS["wavelet_segments"].Config, options, "recipe")


def test_more_levels_and_points_lose_less() -> None:
    recording = make_recording(21)
    power = [fit_codec("band_power", levels=levels).measure_error(recording).mean() for levels in (5, 10, 26, 52)]
    assert power == sorted(power, reverse=True)
    assert power[1] < 0.4
    kept = [fit_codec("dwt_topk", coefficients=k).measure_error(recording).mean() for k in (40, 160, 640)]
    assert kept == sorted(kept, reverse=True)
    spread = [fit_codec("components", n_components=n).measure_error(recording).mean() for n in (2, 8, 32)]
    assert spread == sorted(spread, reverse=True)


def test_lost_bands_count_as_lost_and_kept_ones_do_not() -> None:
    """50 samples over 10 s hold up to 2.5 Hz; 300 hold up to 15 Hz."""
    few, many = (make_codec(CODECS["raw"].Config(points=n, decimals=3)) for n in (50, 300))
    recording = make_recording(22)
    assert np.allclose(few.measure_error(recording)[:, 1:], LOST_DB)
    assert many.measure_error(recording)[:, :3].max() < 0.1
    assert np.allclose(many.measure_error(recording)[:, 4], LOST_DB)


def test_topk_of_everything_is_the_projected_signal() -> None:
    codec = fit_codec("dwt_topk", n_components=2, coefficients=2000)
    coefficients = codec.transform(codec.extract(make_recording(3))["signal"][0])
    decoded = codec.decode(codec.encode_recording(make_recording(3))[0])
    explained = 1 - ((coefficients - decoded) ** 2).sum() / (coefficients**2).sum()
    assert explained > 0.9


def test_spatial_components_find_the_common_source() -> None:
    """All channels hold one source with different weights, and a little noise of their own."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=30)
    source = rng.normal(size=(6, 1, 1280)) * 20
    signal = source * weights[None, :, None] + rng.normal(size=(6, 30, 1280))
    recording = dataclasses.replace(make_recording(0), signal_uv=signal.astype(np.float32))
    unfitted = make_codec(CODECS["dwt_topk"].Config(n_components=1))
    codec = unfitted.fit([unfitted.extract(recording)])
    assert abs(codec.state["basis"][0] @ weights) / np.linalg.norm(weights) > 0.999


def test_band_power_is_blind_to_the_gain_of_the_amplifier() -> None:
    codec, quiet = fit_codec("band_power"), make_recording(7, n_trials=28)
    loud = dataclasses.replace(quiet, signal_uv=quiet.signal_uv * np.float32(1.1))
    levels = [np.stack([code.values for code in codec.encode_recording(r)]).astype(int) for r in (quiet, loud)]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    assert np.mean(levels[0] != levels[1]) < 0.1


def test_relative_power_is_blind_to_any_gain() -> None:
    codec, quiet = fit_codec("band_power", feature="psd"), make_recording(7, n_trials=8)
    loud = dataclasses.replace(quiet, signal_uv=quiet.signal_uv * np.float32(4))
    levels = [np.stack([code.values for code in codec.encode_recording(r)]) for r in (quiet, loud)]
    assert np.array_equal(*levels)


def test_missing_channels_are_shown_not_padded() -> None:
    codec = fit_codec("band_power", space="channels")
    text = codec.to_text(codec.encode_recording(make_recording(3, channels=WITHOUT_TWO))[0])
    for line in text.split("\n"):
        digits = line.split(" ")[1]
        assert digits[0] == digits[-1] == "-"
        assert "-" not in digits[1:-1]


@pytest.mark.parametrize("name", ["wavelet", "wavelet_segments", "raw", "chunk"])
def test_missing_channels_of_decimals_are_shown_not_padded(name: str) -> None:
    codec = fit_codec(name)
    code = codec.encode_recording(make_recording(3, channels=WITHOUT_TWO))[0]
    lines = codec.to_text(code).split("\n")
    assert [line for line in lines if line.endswith(" -")] == ["Fp1 -", "O2 -"]
    assert np.array_equal(codec.from_text("\n".join(lines)).values, code.values)
    assert np.isfinite(codec.measure_error(make_recording(3, channels=WITHOUT_TWO))).all()
    assert codec.describe(code).endswith(".")


@pytest.mark.parametrize("name", ["components", "dwt_topk"])
def test_components_of_a_reduced_montage_are_estimated_from_the_rest(name: str) -> None:
    """Far nearer to the code of the whole head than to another trial's; refused when too little is left."""
    rng = np.random.default_rng(9)
    mixing = rng.normal(size=(30, 3))

    def make_mixture(seed: int) -> Recording:
        own = np.random.default_rng(seed)
        level = np.exp(own.normal(0, 0.8, (40, 3, 1)))
        sources = np.cumsum(own.normal(size=(40, 3, 1280)), axis=-1) * level
        noise = own.normal(size=(40, 30, 1280)) * 0.1
        base = make_recording(seed, n_trials=40)
        return dataclasses.replace(base, signal_uv=(mixing @ sources + noise).astype(np.float32))

    unfitted = make_codec(CODECS[name].Config(n_components=3))
    codec = unfitted.fit(unfitted.extract(make_mixture(seed)) for seed in range(3))
    whole = make_mixture(7)
    kept = [SCALP_CHANNELS.index(channel) for channel in WITHOUT_TWO[4:]]
    reduced = dataclasses.replace(whole, channels=WITHOUT_TWO[4:], signal_uv=whole.signal_uv[:, kept])
    values = [np.stack([codec.decode(code).ravel() for code in codec.encode_recording(r)]) for r in (whole, reduced)]
    distance = np.linalg.norm(values[0] - values[1], axis=1)
    assert np.median(distance) < 0.5 * np.median(np.linalg.norm(values[0] - values[0][::-1], axis=1))
    with pytest.raises(InputError, match=r"14 of 30 scalp channels .* at least 15"):
        codec.encode_recording(make_recording(7, channels=SCALP_CHANNELS[:14]))


@pytest.mark.parametrize(("name", "message"), [("band_power", "none of the scalp"), ("wavelet", "none of Fp1")])
def test_no_scalp_channel_is_an_error(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_codec(name).encode_recording(make_recording(3, channels=("EOG1", "EOG2")))


def test_more_windows_than_seconds_is_an_error() -> None:
    with pytest.raises(InputError, match=r"10 s cannot be cut into 30 windows"):
        fit_codec("components", windows=30)


def test_too_few_training_subjects_are_an_error() -> None:
    for name in ("band_power", "components"):
        codec = make_codec(CODECS[name].Config())
        with pytest.raises(InputError, match=f"codec {name}: fitted on 1 training"):
            codec.fit([codec.extract(make_recording(1))])
    codec = make_codec(CODECS["components"].Config(n_components=32))
    with pytest.raises(InputError, match=r"12 training windows .* more than n_components \(32\)"):
        codec.fit(codec.extract(make_recording(seed)) for seed in range(2))
    codec = make_codec(CODECS["dwt_topk"].Config())
    with pytest.raises(InputError, match="no training trial has all 30"):
        codec.fit([codec.extract(make_recording(1, channels=WITHOUT_TWO))])


def test_the_papers_code_fits_a_window_of_8000_tokens() -> None:
    assert make_codec(CODECS["wavelet"].Config()).n_tokens == 6000
