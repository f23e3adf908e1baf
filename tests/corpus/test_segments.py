"""Segments: every trial cut into rows that know nothing of one another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.codecs import CODECS, dump_codec, load_codec_bytes, make_codec
from dataset_builder.codecs.base import Features, Target
from dataset_builder.codecs.ridge import fit_ridge, fit_sharpness, score_left_out
from dataset_builder.corpus import CorpusRecipe, build_corpus, load_codec, load_split
from dataset_builder.errors import InputError
from dataset_builder.seeds import make_rng
from dataset_builder.segments import cut_segments, rank_segments
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, Recording

N_CLIPS = 9


def make_recording(subject: str = "sub000", seconds: int = 12, effect: float = 1.5, **fields: object) -> Recording:
    rng, shared = make_rng(5, subject), make_rng(5, "clips")
    shape = (N_CLIPS, len(SCALP_CHANNELS), seconds, 5)
    power = effect * shared.normal(0, 1, shape) + rng.normal(0, 1, shape)
    made = Recording(
        subject=subject,
        channels=SCALP_CHANNELS,
        clips=tuple(range(1, N_CLIPS + 1)),
        emotions=EMOTIONS,
        de=power.astype(np.float32),
        ranks=tuple(range(N_CLIPS, 0, -1)),
        ratings=np.arange(N_CLIPS * 12, dtype=np.float32).reshape(N_CLIPS, 12),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def make_codec_of_segments(mode: str = "session", seconds: int = 4) -> object:
    config = {"seconds": seconds, "segments": True, "normalization": {"mode": mode}}
    return make_codec(CODECS["evidence"].Config.model_validate(config))  # type: ignore[arg-type]


def fit_segments(mode: str = "session"):  # type: ignore[no-untyped-def]
    codec = make_codec_of_segments(mode)
    people: dict[str, Features] = {}
    targets: dict[str, list[Target]] = {}
    for name in (f"sub{i:03d}" for i in range(8)):
        cut = codec.cut(make_recording(name))
        people[name] = codec.extract(cut)
        targets[name] = [Target(*pair) for pair in zip(cut.clips, cut.emotions, cut.starts_s, strict=True)]
    return codec.fit_supervised(people, targets, 17).codec


def test_a_trial_becomes_segments_in_order() -> None:
    whole = make_recording()
    cut = cut_segments(whole, 4)
    assert len(cut) == 3 * N_CLIPS
    assert (cut.clips[:4], cut.starts_s[:4]) == ((1, 1, 1, 2), (0.0, 4.0, 8.0, 0.0))
    assert whole.de is not None
    assert cut.de is not None
    assert cut.ratings is not None
    np.testing.assert_array_equal(cut.de[4], whole.de[1, :, 4:8])
    np.testing.assert_array_equal(cut.ratings[5], whole.ratings[1])  # type: ignore[index]
    assert cut_segments(cut, 4) is cut, "what is as short as a segment stays as it is"


def test_waveforms_are_cut_where_the_features_are() -> None:
    signal = np.arange(2 * 3 * 1000, dtype=np.float32).reshape(2, 3, 1000)
    recording = Recording("sub000", ("Fz", "Cz", "Pz"), (1, 2), ("joy", "fear"), signal_uv=signal, sfreq_hz=100.0)
    cut = cut_segments(recording, 5)
    assert cut.signal_uv is not None
    np.testing.assert_array_equal(cut.signal_uv[3], signal[1, :, 500:])
    with pytest.raises(InputError, match=r"sub000: trials are 10 s long; accepted: 4 s or a multiple"):
        cut_segments(recording, 4)


def test_segments_are_ranked_by_trial_and_second() -> None:
    cut = cut_segments(make_recording(), 4)
    ranks = rank_segments(cut)
    assert ranks[-3:].tolist() == [1, 2, 3]
    assert ranks[:3].tolist() == [25, 26, 27]
    assert rank_segments(replace(cut, ranks=())).tolist() == [0] * 27


@pytest.mark.parametrize("mode", ["none", "causal"])
def test_a_code_knows_nothing_of_later_seconds(mode: str) -> None:
    codec, whole = fit_segments(mode), make_recording("new")
    assert whole.de is not None
    later = whole.de.copy()
    later[3, :, 8:] = whole.de[5, :, :4]  # the last third of one trial becomes the first of another
    before, after = (codec.encode_recording(replace(whole, de=de)) for de in (whole.de, later))
    changed = {place for place in range(len(before)) if (before[place].values != after[place].values).any()}
    own, ranks = 3 * 3 + 2, rank_segments(codec.cut(whole))
    assert own in changed
    assert changed <= ({own} if mode == "none" else {p for p in range(len(before)) if ranks[p] >= ranks[own]})


def test_segments_of_new_people_are_read_and_the_saved_codec_cuts_by_itself() -> None:
    codec = fit_segments()
    again = load_codec_bytes(dump_codec(codec))
    whole = make_recording("new")
    codes = again.encode_recording(whole)
    truth = np.repeat(np.arange(9), 3)
    assert len(codes) == 27
    assert np.mean([again.read_probabilities(code).argmax() for code in codes] == truth) > 0.8  # type: ignore[union-attr]
    assert len(list(again.compare(whole))) == 27
    short = replace(whole, de=whole.de[:, :, :4])  # type: ignore[index]
    assert len(again.encode_recording(short)) == N_CLIPS, "a recording as short as a segment needs no cut"


def test_a_corpus_of_segments_splits_by_subject_and_names_every_row(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=8, signals=0), tmp_path / "raw")
    recipe = CorpusRecipe.model_validate(
        {
            "name": "segments",
            "version": 1,
            "codec": {"name": "evidence", "seconds": 10, "segments": True},
            "split": {"protocol": "ranges", "train": [0, 5], "validation": [6, 6], "test": [7, 7]},
        }
    )
    build_corpus(recipe, tmp_path / "raw", tmp_path / "corpus")
    rows = load_split(tmp_path / "corpus", "train").to_list()
    assert len(rows) == 6 * 28 * 3
    assert len({row["row_id"] for row in rows}) == len(rows)
    assert len({row["trial_id"] for row in rows}) == len(rows) // 3
    assert {(row["start_s"], row["duration_s"]) for row in rows} == {(0, 10), (10, 10), (20, 10)}
    assert rows[1]["row_id"] == f"{rows[1]['trial_id']}-s10"
    codec = load_codec(tmp_path / "corpus")
    assert codec.state["owner"].shape == (84,)
    person = FacedSource(tmp_path / "raw").read("sub007", "de")
    texts = [codec.to_text(code) for code in codec.encode_recording(person)]
    assert texts == [row["code"] for row in load_split(tmp_path / "corpus", "test").to_list()]


def test_both_ways_of_solving_a_ridge_agree() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(4, size=60), np.repeat(np.arange(12), 5)
    rows = rng.standard_normal((60, 20)).astype(np.float32)
    few = fit_ridge(rows, labels, groups, 0.5)  # by columns
    # Columns of zeros change nothing but which system is smaller.
    many = fit_ridge(np.hstack([rows, np.zeros((60, 60), np.float32)]), labels, groups, 0.5)
    np.testing.assert_allclose(few.weight, many.weight[:20], atol=1e-4)
    np.testing.assert_allclose(few.held_out, many.held_out, atol=1e-4)
    parts = [(np.flatnonzero(groups != group), np.flatnonzero(groups == group)) for group in range(12)]
    np.testing.assert_allclose(score_left_out(rows, labels, parts, 0.5), few.held_out, atol=1e-4)


def test_sharpness_is_that_of_what_is_told() -> None:
    """Classes of one owner that cannot be told apart say nothing of how sure the owner may be."""
    rng = np.random.default_rng(1)
    owners = np.array([0, 0, 1, 1])
    labels = rng.integers(4, size=4000)
    signal = np.eye(2)[owners[labels]][:, owners] * 2 + rng.standard_normal((4000, 2))[:, owners]
    scores = signal + 3 * rng.standard_normal((4000, 4))
    assert fit_sharpness(scores, labels, owners) != pytest.approx(fit_sharpness(scores, labels), rel=0.05)
    assert fit_sharpness(scores, labels, np.arange(4)) == pytest.approx(fit_sharpness(scores, labels))
