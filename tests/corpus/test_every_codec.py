"""Contracts that hold for each registered codec, whatever it does inside."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builder.alphabets import split_like_qwen2
from dataset_builder.codecs import CODECS, dump_codec, load_codec_bytes, make_codec
from dataset_builder.codecs.base import Codec, Features, Target
from dataset_builder.codecs.fidelity import LOST_DB
from dataset_builder.errors import InputError
from dataset_builder.types import BANDS, EMOTIONS, SCALP_CHANNELS, Recording

#: Every codec with its defaults, then forms that take other paths.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {"seconds": 10} if name == "evidence" else {}) for name in CODECS},
    "band_power letters": ("band_power", {"space": "channels", "windows": 2, "levels": 52}),
    "band_power psd": ("band_power", {"feature": "psd", "levels": 26, "normalization": {"mode": "none"}}),
    "band_power causal": ("band_power", {"normalization": {"mode": "causal"}}),
    "components windows": ("components", {"windows": 5, "n_components": 8, "levels": 26}),
    "components calibration": (
        "components",
        {"n_components": 4, "normalization": {"mode": "calibration", "trials": 3}},
    ),
    "evidence emotions": (
        "evidence",
        {"seconds": 10, "target": "emotion", "layout": "bare", "levels": 52, "normalization": {"mode": "none"}},
    ),
    "evidence causal": ("evidence", {"seconds": 10, "levels": 10, "normalization": {"mode": "causal"}}),
    "wavelet paper": ("wavelet", {"channels": ["Fz", "Cz", "Pz"], "points": 25, "decimals": 2}),
    "wavelet_segments all": ("wavelet_segments", {"channels": ["Cz"], "points": 60, "segments": 6, "keep": "all"}),
    "wavelet_segments last": ("wavelet_segments", {"channels": ["Cz"], "keep": 10, "decimals": 0}),
    "chunk later": ("chunk", {"start_s": 4.0, "sfreq_hz": 64.0, "points": 32}),
}


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
        ranks=tuple(range(n_trials, 0, -1)),
    )


def fit_to(codec: Codec, people: Iterable[Features]) -> Codec:
    """Fit as the corpus does: a supervised codec is told which of nine clips a trial shows, each of another emotion."""
    if not codec.supervised:
        return codec.fit(people)
    named = {f"sub{number:03d}": features for number, features in enumerate(people)}
    targets = {name: [Target(i + 1, EMOTIONS[i % 9]) for i in range(len(f["ranks"]))] for name, f in named.items()}
    return codec.fit_supervised(named, targets, seed=17).codec


def fit_codec(name: str, **options: Any) -> Codec:
    codec = make_codec(CODECS[name].Config.model_validate(options))
    return fit_to(codec, (codec.extract(make_recording(seed, n_trials=9)) for seed in range(4)))


@pytest.fixture(scope="module", params=FORMS)
def codec(request: pytest.FixtureRequest) -> Codec:
    name, options = FORMS[request.param]
    return fit_codec(name, **options)


def quantised(codec: Codec, features: Features) -> np.ndarray:
    """What a codec rounds, in the unit of `decode`."""
    if hasattr(codec, "transform"):
        return np.stack([codec.transform(trial) for trial in features["signal"]])
    return codec.scale_values(features) if hasattr(codec, "scale_values") else features["values"]


def count_value_tokens(codec: Codec, text: str) -> int:
    """Tokens of the values under Qwen2's rule: without the names of lines and the marks between groups."""
    bodies = [" " + line.partition(" ")[2] if " " in line else "" for line in text.split("\n")]
    pieces = [piece for body in bodies for piece in split_like_qwen2(body) if piece != " |"]
    return sum(piece in codec.alphabet for piece in pieces) if codec.alphabet else len(pieces)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), n_trials=st.integers(1, 5))
def test_text_round_trip_and_declared_size(codec: Codec, seed: int, n_trials: int) -> None:
    codes = codec.encode_recording(make_recording(seed, n_trials))
    assert len(codes) == n_trials
    for code in codes:
        text = codec.to_text(code)
        back = codec.from_text(text)
        assert np.array_equal(back.values, code.values)
        assert back.values.dtype == code.values.dtype
        assert code.codec == codec.name
        assert code.values.size == codec.n_values
        assert codec.to_text(back) == text
        assert text == text.strip()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999))
def test_declared_tokens_are_those_of_qwen2s_rule(codec: Codec, seed: int) -> None:
    for code in codec.encode_recording(make_recording(seed, 2)):
        assert count_value_tokens(codec, codec.to_text(code)) == codec.n_tokens


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999))
def test_error_stays_in_its_bound(codec: Codec, seed: int) -> None:
    features = codec.extract(make_recording(seed))
    reach = 0.0
    for code, truth in zip(codec.encode(features), quantised(codec, features), strict=True):
        decoded = codec.decode(code)
        assert decoded.shape == truth.shape
        # Clipped beyond that; a coefficient that is not kept is no symbol.
        inside = (decoded != 0) & (np.abs(truth) < 32) if codec.name == "dwt_topk" else np.abs(truth) < 3
        assert inside.mean() > 0.01
        reach = max(reach, np.abs(decoded - truth)[inside].max())
    assert 0 < reach <= codec.error_bound + 1e-5


def test_features_are_small_plain_and_one_row_a_trial(codec: Codec) -> None:
    features = codec.extract(make_recording(4, n_trials=28))
    assert {len(array) for array in features.values()} == {28}
    assert {array.dtype.name for array in features.values()} <= {"float32", "float16", "int16"}
    assert sum(array.nbytes for array in features.values()) < 4e6


def test_saved_codec_encodes_the_same(codec: Codec) -> None:
    restored = load_codec_bytes(dump_codec(codec))
    recording = make_recording(11)
    for ours, theirs in zip(codec.encode_recording(recording), restored.encode_recording(recording), strict=True):
        assert np.array_equal(ours.values, theirs.values)
    assert dump_codec(restored) == dump_codec(codec)


def test_labels_never_reach_the_code(codec: Codec) -> None:
    recording = make_recording(12)
    other = dataclasses.replace(recording, emotions=("joy",) * 6, clips=tuple(range(20, 26)))
    texts = [[codec.to_text(code) for code in codec.encode_recording(r)] for r in (recording, other)]
    assert texts[0] == texts[1]


def test_training_trials_are_all_that_a_fit_sees(codec: Codec) -> None:
    """A fit from the kept trials of longer recordings is that of recordings which never had more."""
    whole = [codec.extract(make_recording(seed, n_trials=12)) for seed in range(4)]
    part = [{name: array[:9] for name, array in features.items()} for features in whole]
    short = [dataclasses.replace(make_recording(seed, n_trials=12)) for seed in range(4)]
    cut = [
        dataclasses.replace(r, clips=r.clips[:9], emotions=r.emotions[:9], signal_uv=r.signal_uv[:9], ranks=r.ranks[:9])
        for r in short
    ]
    assert dump_codec(fit_to(codec, part)) == dump_codec(fit_to(codec, (codec.extract(r) for r in cut)))


def test_foreign_text_is_refused(codec: Codec) -> None:
    text = codec.to_text(codec.encode_recording(make_recording(1))[0])
    for foreign in ("", "delta", "delta 12 34", text + "x", text + "\n", " " + text, text.replace(" ", "  ", 1)):
        with pytest.raises(InputError, match="expected"):
            codec.from_text(foreign)


def test_damaged_codec_file_is_refused(codec: Codec) -> None:
    data = dump_codec(codec)
    for damaged in (b"", data[:20], b"\xff" * 64, data.replace(codec.name.encode(), b"x" * len(codec.name))):
        with pytest.raises(InputError, match="codec file"):
            load_codec_bytes(damaged)


def test_every_codec_explains_itself_in_both_languages(codec: Codec) -> None:
    code = codec.encode_recording(make_recording(2))[0]
    assert codec.legend.startswith("EEG code:")
    assert codec.explain("zh").startswith("脑电编码：")
    assert codec.describe(code).endswith(".")
    assert codec.describe(code, "zh").endswith("。")
    assert codec.reads in ("de", "psd", "signal_uv")
    assert codec.levels in (None, len(codec.alphabet))
    assert codec.calibration_trials == (3 if codec.normalization == "calibration-3" else 0)


def test_measured_error_has_its_shape_and_range(codec: Codec) -> None:
    error_db = codec.measure_error(make_recording(13))
    assert error_db.shape == (6, len(BANDS))
    assert (error_db >= 0).all()
    assert (error_db <= LOST_DB).all()
    assert error_db.std() > 0


def test_other_people_do_not_matter_to_a_code(codec: Codec) -> None:
    """Encoding has no memory."""
    before = [codec.to_text(code) for code in codec.encode_recording(make_recording(14))]
    codec.encode_recording(make_recording(15))
    assert [codec.to_text(code) for code in codec.encode_recording(make_recording(14))] == before


@pytest.mark.parametrize("name", ["band_power", "components", "dwt_topk", "evidence"])
def test_unfitted_codec_says_so(name: str) -> None:
    with pytest.raises(InputError, match=rf"codec {name}: not fitted"):
        make_codec(CODECS[name].Config(**FORMS[name][1])).encode_recording(make_recording(1))


@pytest.mark.parametrize("name", ["wavelet", "wavelet_segments", "raw", "chunk", "dwt_topk"])
def test_waveform_codecs_need_a_signal(name: str) -> None:
    features = Recording(
        subject="sub000", channels=SCALP_CHANNELS, clips=(1,), emotions=(None,), de=np.zeros((1, 30, 10, 5), np.float32)
    )
    with pytest.raises(InputError, match="needs waveforms"):
        make_codec(CODECS[name].Config()).encode_recording(features)
