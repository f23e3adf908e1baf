from dataclasses import replace

import numpy as np
import pytest

from dataset_builder.bands import compute_de
from dataset_builder.codecs import BandPowerConfig, WaveletConfig, dump_codec, load_codec_bytes, make_codec
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec
from dataset_builder.errors import InputError
from dataset_builder.fitting import learn_reconstruction
from dataset_builder.recipe import validate
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.sparse import (
    Reconstruction,
    attach_reconstruction,
    dump_reconstruction,
    fill_before,
    find_reconstruction,
    fit_reconstruction,
    list_missing,
    make_spline_matrix,
    restore_reconstruction,
)
from dataset_builder.types import SCALP_CHANNELS, Recording

FEW = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
PLACES = [SCALP_CHANNELS.index(name) for name in FEW]
SPLINE = Reconstruction("spline")


def draw_levels(seed, n_trials=6, n_seconds=30):
    """Return DE of one made-up person in whom a few sources drive all channels."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(3, len(SCALP_CHANNELS), 5))
    sources = rng.normal(size=(n_trials, n_seconds, 3))
    levels = np.einsum("tsk,kcb->tcsb", sources, mixing) + rng.normal(scale=0.1, size=(n_trials, 30, n_seconds, 5))
    return (levels + rng.normal(size=(1, 30, 1, 5))).astype(np.float32)


@pytest.fixture(scope="module")
def learned():
    return fit_reconstruction(draw_levels(seed) for seed in range(8))


def make_recording(channels=SCALP_CHANNELS, *, signal=False, seed=50):
    places = [SCALP_CHANNELS.index(name) for name in channels if name in SCALP_CHANNELS]
    array = (
        {"signal_uv": np.random.default_rng(seed).normal(0, 9, (2, len(channels), 7500)).astype(np.float32)}
        if signal
        else {"de": draw_levels(seed, 2)[:, places]}
    )
    facts = {"clips": (None, None), "emotions": (None, None), "ranks": (1, 2), "sfreq_hz": 250.0 if signal else None}
    return Recording("sub001", tuple(channels), **facts, **array)


def test_learned_channels_follow_the_true_ones(learned):
    truth = draw_levels(50)
    filled = learned.fill_levels(truth[:, PLACES].swapaxes(1, 2), FEW).swapaxes(1, 2)
    assert filled.shape == truth.shape
    assert np.array_equal(filled[:, PLACES], truth[:, PLACES])
    missing = [place for place in range(30) if place not in PLACES]
    pair = [part[:, missing] - part[:, missing].mean(axis=(0, 2), keepdims=True) for part in (filled, truth)]
    assert np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] > 0.98


def test_learned_weights_are_those_of_a_ridge_regression(learned):
    columns = (np.array(PLACES)[:, None] * 5 + np.arange(5)).ravel()
    rows = [draw_levels(seed).swapaxes(1, 2).reshape(-1, 150).astype(float) for seed in range(8)]
    rows = np.concatenate([part - part.mean(axis=0) for part in rows])
    penalty = 0.01 * (rows[:, columns] ** 2).sum() / (len(rows) - 8) / len(columns)
    gram = rows[:, columns].T @ rows[:, columns] / (len(rows) - 8)
    expected = np.linalg.solve(gram + penalty * np.eye(40), rows[:, columns].T @ rows / (len(rows) - 8))
    assert learned._weights(columns) == pytest.approx(expected, abs=2e-3)


def test_splines_reproduce_what_is_smooth_over_the_head():
    matrix = make_spline_matrix(FEW)
    assert matrix.shape == (30, 8)
    assert np.array_equal(matrix[PLACES], np.eye(8))
    assert matrix.sum(axis=1) == pytest.approx(1, abs=1e-3)  # a constant stays a constant
    dense = tuple(name for name in SCALP_CHANNELS if name != "Cz")
    weights = dict(zip(dense, make_spline_matrix(dense)[SCALP_CHANNELS.index("Cz")], strict=True))
    assert set(sorted(weights, key=weights.__getitem__)[-4:]) <= {"FC1", "FC2", "CP1", "CP2", "C3", "C4", "Fz", "Pz"}


def test_channels_beyond_the_thirty_help_splines_and_mastoids_do_not():
    matrix = make_spline_matrix((*FEW, "AFz", "A1"))
    assert np.abs(matrix[SCALP_CHANNELS.index("Fz"), 8]) > 0.1
    assert (matrix[:, 9] == 0).all()


@pytest.mark.parametrize("signal", [False, True])
def test_a_filled_recording_has_all_channels_and_says_so(signal):
    recording = make_recording(FEW, signal=signal)
    filled = SPLINE.fill(recording)
    assert filled.channels == SCALP_CHANNELS
    assert filled.notes[-1] == "22 of 30 scalp channels are reconstructed by spherical splines"
    name, array = ("signal_uv", recording.signal_uv) if signal else ("de", recording.de)
    found = getattr(filled, name)
    assert found.shape == (2, 30, *array.shape[2:])
    assert found[:, PLACES] == pytest.approx(array, rel=1e-5)
    assert np.isfinite(found).all()


def test_the_learned_way_computes_band_power_of_a_signal(learned):
    recording = make_recording(FEW, signal=True)
    filled = learned.fill(recording)
    assert filled.signal_uv is None
    assert filled.de[:, PLACES] == pytest.approx(compute_de(recording.signal_uv, 250.0), abs=1e-4)
    assert "regression learned" in filled.notes[-1]


def test_nothing_missing_changes_nothing(learned):
    recording = make_recording()
    assert learned.fill(recording) is recording
    assert SPLINE.fill(recording) is recording
    assert list_missing(recording.channels) == []


def test_order_of_channels_does_not_matter(learned):
    recording = make_recording(FEW)
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    shuffled = replace(recording, channels=tuple(FEW[i] for i in order), de=recording.de[:, order])
    for how in (learned, SPLINE):
        assert how.fill(shuffled).de == pytest.approx(how.fill(recording).de, abs=1e-5)


def test_too_few_channels_are_refused(learned):
    for how in (learned, SPLINE):
        with pytest.raises(InputError, match="3 scalp channels; at least 4"):
            how.fill(make_recording(FEW[:3]))


@pytest.mark.parametrize("method", ["spline", "learned"])
def test_a_reconstruction_is_read_back_from_its_bytes(learned, method):
    how = learned if method == "learned" else SPLINE
    data = dump_reconstruction(how)
    again = restore_reconstruction(data)
    assert dump_reconstruction(again) == data
    recording = make_recording(FEW)
    assert np.array_equal(again.fill(recording).de, how.fill(recording).de)


@pytest.mark.parametrize("data", [b"", b"nothing", dump_reconstruction(Reconstruction("learned"))])
def test_other_bytes_are_refused(data):
    with pytest.raises(InputError, match="reconstruction file"):
        restore_reconstruction(data)


def test_same_people_give_the_same_bytes():
    first, second = (fit_reconstruction(draw_levels(seed) for seed in range(3)) for _ in range(2))
    assert dump_reconstruction(first) == dump_reconstruction(second)


def test_one_person_or_missing_channels_teach_nothing():
    with pytest.raises(InputError, match="1 training subjects"):
        fit_reconstruction([draw_levels(0)])
    with pytest.raises(InputError, match="all 30"):
        fit_reconstruction([draw_levels(0)[:, :29]] * 2)


def test_seconds_that_are_no_numbers_are_left_out():
    people = [draw_levels(seed) for seed in range(3)]
    people[0][0, :, 3] = np.nan
    assert np.isfinite(fit_reconstruction(people).state["covariance"]).all()


def test_a_codec_reads_the_filled_recording_as_if_it_were_whole(learned):
    codec = make_codec(BandPowerConfig(space="channels"))
    codec = codec.fit(codec.extract(make_recording(seed=seed)) for seed in (1, 2, 3))
    recording = make_recording(FEW)
    filled = fill_before(codec, learned)
    assert codec.encode_recording(recording)[0].values.min() == -1  # a missing place
    codes = filled.encode_recording(recording)
    assert codes[0].values.min() >= 0
    expected = codec.encode_recording(learned.fill(recording))
    assert all(np.array_equal(code.values, other.values) for code, other in zip(codes, expected, strict=True))
    assert filled.encode_recording(make_recording())[0].values.tolist() == (
        codec.encode_recording(make_recording())[0].values.tolist()
    )


def test_a_corpus_saves_what_it_learned_with_the_codec(tmp_path):
    write_cohort(SynthRecipe(subjects=4, seed=3, signals=0), tmp_path / "raw")
    split = {"protocol": "ranges", "train": [0, 1], "validation": [2, 2], "test": [3, 3]}
    values = {"name": "test-qa", "version": 1, "codec": {"name": "band_power", "windows": 10}, "split": split}
    for name, reconstruct in (("plain", False), ("filled", True)):
        recipe = validate(CorpusRecipe, values | {"reconstruct": reconstruct}, where="test")
        build_corpus(recipe, tmp_path / "raw", tmp_path / name)
    plain, filled = load_codec(tmp_path / "plain"), load_codec(tmp_path / "filled")
    with pytest.raises(InputError, match="carries no learned one"):
        find_reconstruction(plain, "learned")
    found = find_reconstruction(filled, "learned")
    source = FacedSource(tmp_path / "raw")
    order = [source.read("sub000", "de").channels.index(name) for name in SCALP_CHANNELS]
    people = [source.read(name, "de").de[:, order] for name in ("sub000", "sub001")]
    windows = [part.reshape(*part.shape[:2], 10, 3, 5).mean(axis=3) for part in people]
    assert found.state["mean"] == pytest.approx(fit_reconstruction(windows).state["mean"], abs=1e-4)
    assert found.state["covariance"] == pytest.approx(fit_reconstruction(windows).state["covariance"], abs=1e-4)
    assert find_reconstruction(plain, "spline").method == "spline"
    rows = [sorted(path.read_bytes() for path in (tmp_path / name / "data").iterdir()) for name in ("plain", "filled")]
    assert rows[0] == rows[1]


def test_a_corpus_of_waveform_codes_learns_none(tmp_path):
    with pytest.raises(InputError, match="accepted: codecs that read de"):
        learn_reconstruction(make_codec(WaveletConfig()), {}, None, {})


def test_a_codec_carries_it_through_its_own_bytes(learned):
    codec = make_codec(BandPowerConfig())
    codec = codec.fit(codec.extract(make_recording(seed=seed)) for seed in (1, 2, 3))
    carried = load_codec_bytes(dump_codec(attach_reconstruction(codec, learned)))
    assert dump_reconstruction(find_reconstruction(carried, "learned")) == dump_reconstruction(learned)
    code = codec.encode_recording(make_recording())[0]
    assert np.array_equal(carried.encode_recording(make_recording())[0].values, code.values)


def test_a_codec_of_waveforms_takes_splines_only(learned):
    codec = make_codec(WaveletConfig())
    with pytest.raises(InputError, match="use splines"):
        fill_before(codec, learned)
    assert len(fill_before(codec, SPLINE).encode_recording(make_recording(FEW, signal=True))) == 2
