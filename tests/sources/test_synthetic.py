import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from openpyxl import load_workbook
from scipy.io import loadmat, whosmat

from dataset_builder import run_synth
from dataset_builder.bands import compute_de
from dataset_builder.codecs.base import Target
from dataset_builder.codecs.evidence_config import EvidenceConfig
from dataset_builder.codecs.evidence_fit import EvidenceFit
from dataset_builder.codecs.learned import EvidenceCodec
from dataset_builder.codecs.normalize import Normalization
from dataset_builder.errors import CopilotError, InputError, RecipeError
from dataset_builder.manifest import read_manifest
from dataset_builder.recipe import validate
from dataset_builder.seeds import make_rng
from dataset_builder.sources import simulate, synthetic
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced import FacedSource
from dataset_builder.sources.faced_events import read_spans
from dataset_builder.sources.faced_fake import lay_out_session, write_samples
from dataset_builder.sources.film_effects import (
    GAIN_SD_PERSON,
    GAIN_SD_TRIAL,
    SHARED_CLIP,
    SHARED_SECOND,
)
from dataset_builder.sources.people import Person, draw_person, draw_presentation, draw_ratings
from dataset_builder.sources.ratings import read_ratings
from dataset_builder.sources.recordings import read_recording
from dataset_builder.sources.statistics import (
    CLIP_CORRELATION,
    DE_MEAN,
    DE_SECOND_SD,
    DE_SUBJECT_SD,
    RATING_MEAN,
    SECOND_CORRELATION,
    SUBJECT_CORRELATION,
)
from dataset_builder.sources.synthetic import SynthRecipe, write_cohort, write_recording_file
from dataset_builder.types import EMOTIONS, Recording

NAMES = [f"sub{number:03d}" for number in range(40)]


@pytest.fixture(scope="module")
def courses() -> np.ndarray:
    """Band power of 40 subjects, shape (40, 28, 32, 30, 5)."""
    return np.stack([simulate.draw_course(3, name) for name in NAMES])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_layout_is_the_release_s_plus_mark_and_manifest(cohort: Path) -> None:
    names = sorted(path.relative_to(cohort).as_posix() for path in cohort.rglob("*") if path.is_file())
    subjects = ["sub000", "sub001", "sub002"]
    assert names == sorted(
        [
            "Recording_info.csv",
            "Stimuli_info.xlsx",
            "SYNTHETIC.md",
            "manifest.json",
            "Processed_data/sub000.pkl",
            "EEG_Features/PSD/sub000.pkl.pkl",
            *(f"Data/{name}/After_remarks.mat" for name in subjects),
            *(f"EEG_Features/DE/{name}.pkl.pkl" for name in subjects),
        ]
    )
    manifest = read_manifest(cohort)
    assert manifest.synthetic
    assert manifest.seed == 5


def test_tables_have_the_release_s_quirks(cohort: Path) -> None:
    lines = (cohort / "Recording_info.csv").read_bytes().split(b"\r\n")
    assert lines[0] == b"sub,Gender,Age,Cohort ,Sample_rate,Unit"
    assert (len(lines), lines[-1]) == (5, b"")
    book = load_workbook(cohort / "Stimuli_info.xlsx")
    assert book.sheetnames == ["Sheet1"]
    assert book.active.dimensions == "A1:F35"
    assert book.active["B1"].value == "Duration（s）"
    assert book.active["F14"].value == "\\"
    assert str(book.active["C27"].value).startswith("\u00a0")
    assert str(book.active["A32"].value).startswith("Notes")


def test_arrays_are_stored_as_in_the_release(cohort: Path) -> None:
    for name, shape in (
        ("EEG_Features/DE/sub001.pkl.pkl", (28, 32, 30, 5)),
        ("Processed_data/sub000.pkl", (28, 32, 7500)),
    ):
        data = (cohort / name).read_bytes()
        assert data[:2] == b"\x80\x04"
        array = pickle.loads(data)
        assert (array.shape, array.dtype) == (shape, np.float64)


def test_ratings_are_stored_as_in_the_release(cohort: Path) -> None:
    path = cohort / "Data/sub001/After_remarks.mat"
    assert whosmat(path) == [("After_remark", (28, 1), "struct")]
    remarks = loadmat(path)["After_remark"]
    assert remarks.dtype.names == ("score", "trial", "vid", "Accuracy", "ResponseTime")
    assert [item.item() for item in remarks["trial"][:, 0]] == list(range(1, 29))
    assert remarks["trial"][0, 0].dtype == remarks["vid"][0, 0].dtype == np.uint8
    assert {item.shape for item in remarks["score"][:, 0]} == {(1, 12)}
    asked = [rank for rank in range(1, 29) if remarks["Accuracy"][rank - 1, 0].shape == (1, 1)]
    assert asked == [4, 8, 12, 16, 20, 24]
    assert remarks["ResponseTime"][3, 0].shape == (1, 20)
    assert remarks["ResponseTime"][4, 0].shape == (1, 0)


def test_features_are_computed_from_waveforms_where_there_are_any(cohort: Path, with_signal: Recording) -> None:
    stored = FacedSource(cohort).read("sub000").de
    assert stored is not None
    assert with_signal.signal_uv is not None
    np.testing.assert_allclose(stored, compute_de(with_signal.signal_uv, 250.0), atol=1e-4)


def test_waveforms_follow_the_drawn_band_power(cohort: Path) -> None:
    drawn, stored = simulate.draw_course(5, "sub000"), FacedSource(cohort).read("sub000").de
    difference = stored - drawn
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 0.08  # neighbouring bands reach into one another
    assert np.abs(difference.mean(axis=(0, 2))).max() < 0.2
    per_clip = difference.mean(axis=2) - difference.mean(axis=(0, 2))
    assert per_clip.std() < 0.2 * drawn.mean(axis=2).std(axis=0).mean()


def test_waveforms_are_referenced_to_the_average(with_signal: Recording) -> None:
    assert with_signal.signal_uv is not None
    assert np.abs(with_signal.signal_uv.mean(axis=1)).max() < 1e-3
    spectrum = np.abs(np.fft.rfft(with_signal.signal_uv[0], axis=-1)) ** 2
    frequencies = np.fft.rfftfreq(7500, 1 / 250)
    assert spectrum[:, frequencies > 50].sum() < 1e-3 * spectrum.sum()
    near = np.corrcoef(with_signal.signal_uv[0])[0, 1]  # Fp1, Fp2
    assert near > 0.3


def test_the_same_recipe_writes_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=3, seed=5, signals=1), tmp_path / "again")
    assert digests(tmp_path / "again") == digests(cohort)


def test_one_more_subject_changes_no_other(cohort: Path, tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=4, seed=5, signals=0), tmp_path / "more")
    more, fewer = digests(tmp_path / "more"), digests(cohort)
    same = [name for name in fewer if "sub001" in name or "sub002" in name]
    assert len(same) == 4
    assert all(more[name] == fewer[name] for name in same)
    assert (tmp_path / "more/Recording_info.csv").read_bytes().startswith((cohort / "Recording_info.csv").read_bytes())


def test_another_seed_makes_other_people_who_saw_the_same_films(tmp_path: Path) -> None:
    assert np.abs(simulate.draw_course(3, "sub000") - simulate.draw_course(4, "sub000")).mean() > 0.1
    first, again = simulate.planted_effects(), simulate.planted_effects.__wrapped__()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_finished_cohort_is_left_alone_and_an_interrupted_one_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = SynthRecipe(subjects=3, signals=0)
    written: list[str] = []
    original: Callable[[int, str, float], np.ndarray] = simulate.draw_course

    def draw(seed: int, subject: str, effect: float) -> np.ndarray:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(subject)
        return original(seed, subject, effect)

    monkeypatch.setattr(synthetic, "draw_course", draw)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(recipe, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    written.clear()
    write_cohort(recipe, tmp_path / "c")
    assert written == ["sub002"]
    assert write_cohort(recipe, tmp_path / "c").facts["subjects"] == 3
    assert written == ["sub002"]


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("keep")
    with pytest.raises(InputError, match="holds files but no manifest.json"):
        write_cohort(SynthRecipe(subjects=1, signals=0), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"subjects": 0}, "subjects"),
        ({"subjects": 2, "signals": 3}, "accepted: all, 0 to 2, or pseudonyms"),
        ({"subjects": 2, "signals": ["sub007"]}, "sub007; accepted: sub000 to sub001"),
        ({"subjects": 2, "signals": 1, "features": False}, "accepted only with signals: all"),
        ({"effect": 5.0}, "effect"),
        ({"subject": 2}, "unknown key"),
    ],
)
def test_recipes_are_checked(values: dict[str, object], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        validate(SynthRecipe, values, where="synth")


def test_named_subjects_get_waveforms(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=2, signals=["sub001"]), tmp_path / "c")
    assert [path.name for path in (tmp_path / "c/Processed_data").iterdir()] == ["sub001.pkl"]


def test_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_synth.main([str(tmp_path / "c"), "--subjects", "2", "--signals", "0", "--seed", "3"]) == 0
    assert "2 synthetic subjects, 0 with waveforms, 28 clips each" in capsys.readouterr().out
    assert FacedSource(tmp_path / "c").subjects() == ["sub000", "sub001"]
    with pytest.raises(CopilotError, match="accepted only with signals: all"):
        run_synth.main([str(tmp_path / "d"), "--no-features"])


def test_raw_recordings_go_with_the_rest(tmp_path: Path) -> None:
    write_cohort(SynthRecipe(subjects=2, seed=3, signals=0, raw=1), tmp_path / "c")
    names = {path.relative_to(tmp_path / "c").as_posix() for path in (tmp_path / "c/Data").rglob("*.*")}
    assert names == {
        "Data/sub000/data.bdf",
        "Data/sub000/evt.bdf",
        "Data/sub000/After_remarks.mat",
        "Data/sub001/After_remarks.mat",
    }
    mark = (tmp_path / "c/SYNTHETIC.md").read_text()
    assert "Subjects with continuous recordings: 1. In these every film lasts 31 s" in mark
    spans, _ = read_spans(tmp_path / "c/Data/sub000/evt.bdf", "evt.bdf")
    remarks = read_ratings(tmp_path / "c/Data/sub000/After_remarks.mat", 28, "x")
    assert tuple(span.rank for span in spans) == remarks.ranks
    assert not list((tmp_path / "c").rglob("*.partial"))
    with pytest.raises(RecipeError, match="raw is 3; accepted: 0 to 2"):
        validate(SynthRecipe, {"subjects": 2, "raw": 3}, where="x")


@pytest.mark.parametrize("person", [Person("F", 21, 1, 250, "uV"), Person("M", 27, 2, 1000, "V")])
def test_raw_recordings_have_the_same_bytes_again(tmp_path: Path, person: Person) -> None:
    signal = np.random.default_rng(0).normal(0, 10, (28, 32, 7500)).astype(np.float32)
    plan = lay_out_session(4, "sub000", person, [3])
    for name in ("a.bdf", "b.bdf"):
        write_samples(tmp_path / name, plan, signal)
    assert (tmp_path / "a.bdf").read_bytes() == (tmp_path / "b.bdf").read_bytes()
    assert b"sub000" not in (tmp_path / "a.bdf").read_bytes()[: 256 * 33]


def test_levels_and_spreads_follow_the_tables(courses: np.ndarray) -> None:
    person = courses.mean(axis=(1, 3))
    error_of_mean = DE_SUBJECT_SD / np.sqrt(len(courses))
    assert np.abs((person.mean(axis=0) - DE_MEAN) / error_of_mean).max() < 4.5
    np.testing.assert_allclose(person.std(axis=0).mean(axis=0), DE_SUBJECT_SD.mean(axis=0), rtol=0.3)
    seconds = (courses - courses.mean(axis=3, keepdims=True)).std(axis=(0, 1, 3))
    np.testing.assert_allclose(seconds.mean(axis=0), DE_SECOND_SD.mean(axis=0), rtol=0.15)
    clips = courses.mean(axis=3).std(axis=1).mean(axis=(0, 1))
    np.testing.assert_allclose(clips, [0.15, 0.11, 0.12, 0.12, 0.18], rtol=0.25)


def find_shared(values: np.ndarray) -> np.ndarray:
    """Share of the variance that any two people have in common, per band; people first, bands last."""
    n, places = len(values), tuple(range(values.ndim - 2))
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    return (total**2 - squares).mean(axis=places) / (n - 1) / squares.mean(axis=places)


def test_people_share_as_much_as_on_faced(courses: np.ndarray) -> None:
    """Scaled to the person, as the tables were measured."""
    scalp = courses[:, :, :30]
    clips = scalp.mean(axis=3) - scalp.mean(axis=(1, 3))[:, None]
    seconds = scalp - scalp.mean(axis=3, keepdims=True)
    seconds /= seconds.std(axis=(1, 3), keepdims=True)
    np.testing.assert_allclose(find_shared(clips / clips.std(axis=1, keepdims=True)), SHARED_CLIP, atol=0.06)
    np.testing.assert_allclose(find_shared(seconds), SHARED_SECOND, atol=0.02)


def test_what_people_share_is_few_patterns(courses: np.ndarray) -> None:
    """Five hold nine tenths; were it many, noise would cancel and any film be recognised without fail."""
    second = simulate.planted_effects()[2] / DE_SECOND_SD[:, None]
    spread = np.linalg.eigvalsh(np.cov(second.transpose(0, 2, 1, 3).reshape(-1, 160).T))[::-1]
    assert spread[:5].sum() > 0.95 * spread.sum()
    assert 0.5 < spread[0] / spread.sum() < 0.8
    own = courses[0] - courses[0].mean(axis=2, keepdims=True)
    spread = np.linalg.eigvalsh(np.corrcoef(own.transpose(0, 2, 1, 3).reshape(-1, 160).T))[::-1]
    assert spread[:5].sum() < 0.6 * spread.sum()


def test_people_and_films_differ_in_how_much_is_shown() -> None:
    gains = [simulate._draw_gains(make_rng(3, "synthetic", name, "gain")) for name in NAMES]
    assert np.min(gains) >= 0
    assert np.mean(gains) == pytest.approx(1.0, abs=0.1)
    assert np.std(gains, axis=1).mean() == pytest.approx(GAIN_SD_TRIAL, abs=0.05)
    assert np.mean(gains, axis=1).std() == pytest.approx(GAIN_SD_PERSON, abs=0.08)


def test_evidence_recognises_films_as_on_faced_and_not_without_fail() -> None:
    """FACED: 69 people to learn from, 20 unseen: 28 films .76, nine emotions .80; with 40 people less."""
    people = [simulate.draw_course(17, f"sub{number:03d}")[:, :30].transpose(0, 2, 1, 3) for number in range(60)]
    features = [
        {"power": np.ascontiguousarray(power, dtype=np.float32), "ranks": np.zeros(28, int)} for power in people
    ]
    targets = {str(number): [Target(emotion=clip.label, clip=clip.number) for clip in CLIPS] for number in range(40)}
    learn = EvidenceFit({name: features[int(name)] for name in targets}, targets, "clip", Normalization(), 0.7)
    codec = EvidenceCodec(EvidenceConfig(), learn(list(targets), frozenset()))
    found = np.array([codec.scale_values(person).argmax(axis=1) for person in features[40:]])
    truth = np.array([EMOTIONS.index(clip.label) for clip in CLIPS])
    assert 0.55 < np.mean([(found[:, truth == k] == k).mean() for k in range(9)]) < 0.85


@pytest.mark.parametrize(("effect", "low", "high"), [(0.0, 0.0, 0.16), (1.0, 0.13, 0.32), (3.0, 0.32, 1.0)])
def test_a_reader_finds_as_much_as_was_planted(effect: float, low: float, high: float) -> None:
    """Nearest class mean on unseen subjects; chance is 0.11, always answering neutral 0.14."""
    power = np.stack([simulate.draw_course(9, name, effect)[:, :30].mean(axis=2).reshape(28, -1) for name in NAMES])
    z = (power - power.mean(axis=1, keepdims=True)) / power.std(axis=1, keepdims=True)
    truth = np.array([EMOTIONS.index(clip.label) for clip in CLIPS])
    means = np.stack([z[:28, truth == label].mean(axis=(0, 1)) for label in range(9)])
    distance = ((z[28:, :, None] - means) ** 2).sum(axis=-1)
    assert low <= (distance.argmin(axis=-1) == truth).mean() < high


def test_emotion_effect_is_shared_by_the_clips_of_an_emotion() -> None:
    emotion, clip, second = simulate.planted_effects()
    assert (emotion.shape, clip.shape, second.shape) == ((9, 32, 5), (28, 32, 5), (28, 32, 30, 5))
    assert 0 < emotion.std() < clip.std() < 0.1
    np.testing.assert_allclose(emotion.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("level", [SUBJECT_CORRELATION, CLIP_CORRELATION, SECOND_CORRELATION])
def test_drawn_correlation(level: object) -> None:
    values = level.draw(np.random.default_rng(0), 4000)  # type: ignore[attr-defined]
    np.testing.assert_allclose(values.std(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(np.corrcoef(values[:, 0].T), level.bands, atol=0.06)  # type: ignore[attr-defined]
    left_right = np.corrcoef(values[:, 14, 0], values[:, 15, 0])[0, 1]  # T7, T8: far apart
    neighbours = np.corrcoef(values[:, 0, 0], values[:, 1, 0])[0, 1]
    assert left_right < neighbours
    assert left_right == pytest.approx(level.common, abs=0.08)  # type: ignore[attr-defined]


def test_people_resemble_faced() -> None:
    people = [draw_person(1, f"sub{number:03d}") for number in range(1000)]
    assert 0.55 < np.mean([person.sex == "F" for person in people]) < 0.67
    assert {person.cohort for person in people} == {1, 2}
    assert all(19 <= person.age <= 23 for person in people if person.cohort == 1)
    assert all(17 <= person.age <= 38 for person in people)
    assert {person.device_sfreq_hz for person in people if person.cohort == 2} == {1000}
    assert np.mean([person.age for person in people]) == pytest.approx(23.2, abs=0.6)


def test_clips_are_shown_in_blocks_of_one_valence() -> None:
    orders = [draw_presentation(1, name) for name in NAMES]
    for order in orders:
        assert sorted(order) == list(range(1, 29))
        assert all(len({CLIPS[clip - 1].valence for clip in order[k : k + 4]}) == 1 for k in range(0, 28, 4))
    assert len({tuple(order) for order in orders}) == len(orders)


def test_ratings_follow_the_table() -> None:
    ratings = np.stack([draw_ratings(1, f"sub{number:03d}") for number in range(300)])
    assert ratings.min() >= 0
    assert ratings.max() <= 7
    for row, emotion in enumerate(EMOTIONS):
        clips = [clip.number - 1 for clip in CLIPS if clip.label == emotion]
        np.testing.assert_allclose(ratings[:, clips].mean(axis=(0, 1)), RATING_MEAN[row], atol=0.35)


def test_recording_file_holds_the_trials_and_no_identifier(with_signal: Recording, tmp_path: Path) -> None:
    path = write_recording_file(with_signal, tmp_path / "one.edf", [4, 0])
    header = path.read_bytes()[:256]
    assert b"synthetic" in header
    assert b"sub000" not in header
    again = read_recording(path, with_signal.age, with_signal.sex)
    assert again.signal_uv is not None
    assert with_signal.signal_uv is not None
    assert again.channels == with_signal.channels
    assert again.signal_uv.shape == (2, 32, 7500)
    before, after = (compute_de(x, 250.0) for x in (with_signal.signal_uv[[4, 0]], again.signal_uv))
    assert np.abs(before - after).mean() < 0.02
    first = path.read_bytes()
    assert write_recording_file(with_signal, path, [4, 0]).read_bytes() == first


def test_recording_file_errors(with_signal: Recording, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"suffix '.bdf', accepted: .edf"):
        write_recording_file(with_signal, tmp_path / "x.bdf")
    with pytest.raises(InputError, match="accepted: one or more of 0 to 27"):
        write_recording_file(with_signal, tmp_path / "x.edf", [28])
    with pytest.raises(InputError, match="sub001: holds no waveforms"):
        write_recording_file(FacedSource(cohort).read("sub001"), tmp_path / "x.edf")
