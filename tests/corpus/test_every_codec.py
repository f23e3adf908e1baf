"""Contracts that hold for each registered codec, whatever it does inside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builder.codecs import CODECS, dump_codec, load_codec_bytes, make_codec
from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.types import SCALP_CHANNELS, Recording


def make_recording(seed: int, n_trials: int = 6, channels: tuple[str, ...] = SCALP_CHANNELS) -> Recording:
    """A recording of noise whose level differs between persons, trials and channels, 10 s at 128 Hz, µV."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(2, 0.5) + rng.normal(0, 0.4, (n_trials, len(channels), 1)))
    signal = (rng.normal(size=(n_trials, len(channels), 1280)) * level).astype(np.float32)
    return Recording(
        subject=f"sub{seed:03d}",
        channels=channels,
        clips=tuple(range(1, n_trials + 1)),
        emotions=("anger",) * n_trials,
        signal_uv=signal,
        sfreq_hz=128.0,
    )


def fit_codec(name: str) -> Codec:
    return make_codec(CODECS[name].Config()).fit([make_recording(seed) for seed in range(4)])


@pytest.fixture(scope="module", params=sorted(CODECS))
def codec(request: pytest.FixtureRequest) -> Codec:
    return fit_codec(request.param)


def test_text_round_trip_and_declared_size(codec: Codec) -> None:
    for code in codec.encode(list(make_recording(9))):
        text = codec.to_text(code)
        back = codec.from_text(text)
        assert np.array_equal(back.values, code.values)
        assert code.values.size == codec.n_values
        assert codec.to_text(back) == text


def test_saved_codec_encodes_the_same(codec: Codec) -> None:
    restored = load_codec_bytes(dump_codec(codec))
    trials = list(make_recording(11))
    for ours, theirs in zip(codec.encode(trials), restored.encode(trials), strict=True):
        assert np.array_equal(ours.values, theirs.values)
    assert dump_codec(restored) == dump_codec(codec)


def test_labels_never_reach_the_code(codec: Codec) -> None:
    recording = make_recording(12)
    other = Recording(**{**recording.__dict__, "emotions": ("joy",) * 6, "clips": tuple(range(20, 26))})
    texts = [[codec.to_text(code) for code in codec.encode(list(r))] for r in (recording, other)]
    assert texts[0] == texts[1]


def test_foreign_text_is_refused(codec: Codec) -> None:
    for text in ("", "delta", "delta 12 34", codec.to_text(codec.encode(list(make_recording(1)))[0]) + "x"):
        with pytest.raises(InputError, match="expected"):
            codec.from_text(text)


def test_damaged_codec_file_is_refused(codec: Codec) -> None:
    data = dump_codec(codec)
    for damaged in (b"", data[:20], b"\xff" * 64, data.replace(codec.name.encode(), b"x" * len(codec.name))):
        with pytest.raises(InputError, match="codec file"):
            load_codec_bytes(damaged)


def test_every_codec_explains_itself(codec: Codec) -> None:
    assert codec.legend.startswith("EEG code:")
    assert codec.describe(codec.encode(list(make_recording(2)))[0]).endswith(".")


def test_band_power_error_stays_in_its_bound() -> None:
    codec = fit_codec("band_power")
    trials = list(make_recording(5, n_trials=20))
    z = codec._scale_to_person(codec._scalp_power(trials)) / codec.state["scale"][:, None, :]
    for code, truth in zip(codec.encode(trials), z, strict=True):
        inside = np.abs(truth) < 3
        assert inside.mean() > 0.9
        assert np.abs(codec.decode(code) - truth)[inside].max() <= codec.error_bound + 1e-5


@settings(max_examples=25, deadline=None)
@given(decimals=st.integers(0, 4), points=st.integers(4, 60), seed=st.integers(0, 99))
def test_wavelet_error_stays_in_its_bound(decimals: int, points: int, seed: int) -> None:
    codec = make_codec(CODECS["wavelet"].Config(decimals=decimals, points=points))
    trial = make_recording(seed, n_trials=1).trial(0)
    difference = codec.decode(codec.encode([trial])[0]) - codec.compress(trial)
    assert np.abs(difference).max() <= codec.error_bound + 1e-9


def test_wavelet_keeps_a_slow_wave() -> None:
    times = np.arange(2560) / 128
    slow = np.sin(2 * np.pi * 0.1 * times)
    recording = Recording(
        "sub000", channels=("Fz",), clips=(1,), emotions=(None,), signal_uv=slow[None, None] * 20, sfreq_hz=128.0
    )
    codec = make_codec(CODECS["wavelet"].Config(channels=["Fz"], points=40))
    power = np.abs(np.fft.rfft(codec.decode(codec.encode([recording.trial(0)])[0])[0])) ** 2
    assert power.argmax() == 2  # two periods of 10 s in 20 s
    assert power[2] / power.sum() > 0.9


def test_band_power_is_blind_to_the_gain_of_the_amplifier() -> None:
    codec, quiet = fit_codec("band_power"), make_recording(7, n_trials=28)
    loud = Recording(**{**quiet.__dict__, "signal_uv": quiet.signal_uv * np.float32(1.1)})
    levels = [np.stack([code.values for code in codec.encode(list(r))]).astype(int) for r in (quiet, loud)]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    assert np.mean(levels[0] != levels[1]) < 0.1


def test_missing_channels_are_shown_not_padded() -> None:
    codec = make_codec(CODECS["band_power"].Config(space="channels")).fit([make_recording(s) for s in range(4)])
    few = tuple(name for name in SCALP_CHANNELS if name not in ("Fp1", "O2"))
    text = codec.to_text(codec.encode(list(make_recording(3, channels=few)))[0])
    for line in text.split("\n"):
        digits = line.split(" ")[1]
        assert digits[0] == digits[-1] == "-"
        assert "-" not in digits[1:-1]


def test_no_scalp_channel_is_an_error() -> None:
    with pytest.raises(InputError, match="none of the scalp channels"):
        fit_codec("band_power").encode(list(make_recording(3, channels=("EOG1", "EOG2"))))


def test_wavelet_needs_a_signal() -> None:
    features = Recording(
        subject="sub000", channels=SCALP_CHANNELS, clips=(1,), emotions=(None,), de=np.zeros((1, 30, 10, 5), np.float32)
    )
    with pytest.raises(InputError, match="needs waveforms"):
        make_codec(CODECS["wavelet"].Config()).encode([features.trial(0)])
