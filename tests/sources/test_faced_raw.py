"""FACED's continuous recordings: from the bytes of data.bdf and evt.bdf to trials."""

from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from dataset_builder.bands import compute_de
from dataset_builder.errors import InputError
from dataset_builder.manifest import write_bytes
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.faced import FacedConfig, FacedSource
from dataset_builder.sources.faced_events import Span, describe_spans, find_spans, read_spans
from dataset_builder.sources.faced_fake import (
    COHORT_1_NAMES,
    COHORT_2_NAMES,
    lay_out_session,
    write_events,
    write_samples,
)
from dataset_builder.sources.faced_raw import cut_clips, open_raw
from dataset_builder.sources.faced_tables import CHANNELS
from dataset_builder.sources.people import Person
from dataset_builder.sources.simulate import draw_course, draw_signal
from dataset_builder.sources.synthetic import render_people, render_remarks
from dataset_builder.types import Recording

SEED = 5
PEOPLE = {
    "sub000": Person("F", 21, 1, 250, "uV"),
    "sub001": Person("M", 27, 2, 1000, "V"),
    "sub002": Person("F", 20, 1, 1000, "V"),
}
SHOWN = (22, 14, 5)
PLAIN = PreprocessingConfig(ica="none", bad_channels="keep")
RAW = FacedConfig(form="raw")


@pytest.fixture(scope="module")
def planted() -> np.ndarray:
    """Waveforms of 28 clips, the level of each channel its own: what lands in a wrong row is seen."""
    signal = (
        draw_signal(SEED, "sub000", draw_course(SEED, "sub000")) * np.linspace(0.5, 2.0, 32, dtype=np.float32)[:, None]
    )
    return signal - signal.mean(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, planted: np.ndarray) -> Path:
    """Three people with three clips each: both cohorts, both rates, both units."""
    root = tmp_path_factory.mktemp("raw") / "FACED"
    write_bytes(root / "Recording_info.csv", render_people(PEOPLE))
    for name, person in PEOPLE.items():
        odd = name == "sub000"
        session = lay_out_session(SEED, name, person, SHOWN, stray=odd, long_clip=odd)
        write_samples(root / "Data" / name / "data.bdf", session, planted)
        write_events(root / "Data" / name / "evt.bdf", session)
    write_bytes(root / "Data/sub000/After_remarks.mat", render_remarks(SEED, "sub000"))
    return root


@pytest.fixture(scope="module")
def people(release: Path) -> dict[str, Recording]:
    source = FacedSource(release, RAW, PLAIN)
    return {name: source.read(name, "signal_uv") for name in source.subjects()}


@pytest.mark.parametrize("name", PEOPLE)
def test_what_was_planted_comes_back(people: dict[str, Recording], planted: np.ndarray, name: str) -> None:
    recording = people[name]
    assert recording.signal_uv is not None
    assert (recording.channels, recording.sfreq_hz) == (CHANNELS, 250.0)
    assert (recording.signal_uv.shape, recording.signal_uv.dtype) == ((3, 32, 7500), np.float32)
    before, after = compute_de(planted[[4, 13, 21]], 250.0), compute_de(recording.signal_uv, 250.0)
    for channel in range(32):
        for band in range(5):
            r = np.corrcoef(before[:, channel, :, band].ravel(), after[:, channel, :, band].ravel())[0, 1]
            assert r > 0.99, (CHANNELS[channel], band)
    assert np.abs(before - after).mean() < 0.02  # the level too: microvolts are microvolts


def test_clips_labels_and_order_go_with_the_trials(people: dict[str, Recording]) -> None:
    for recording in people.values():
        assert recording.clips == (5, 14, 22)
        assert recording.emotions == ("disgust", "neutral", "inspiration")
    assert people["sub001"].ranks == (3, 2, 1)
    assert people["sub001"].ratings is None


def test_ratings_are_those_of_the_clips_that_are_there(people: dict[str, Recording], release: Path) -> None:
    whole = FacedSource(release, RAW, PLAIN)._read_remarks("sub000")
    assert whole is not None
    np.testing.assert_array_equal(people["sub000"].ratings, whole.ratings[[4, 13, 21]])
    assert people["sub000"].ranks == tuple(whole.ranks[clip - 1] for clip in (5, 14, 22))  # triggers miss 25 clips


def test_demographics_and_device(people: dict[str, Recording]) -> None:
    found = {name: (item.sex, item.age, item.cohort, item.device_sfreq_hz) for name, item in people.items()}
    assert found == {"sub000": ("F", 21, 1, 250.0), "sub001": ("M", 27, 2, 1000.0), "sub002": ("F", 20, 1, 1000.0)}


def test_notes_tell_what_was_odd(people: dict[str, Recording]) -> None:
    odd, plain = "; ".join(people["sub000"].notes), "; ".join(people["sub001"].notes)
    assert "unit field '?V' in the header corrected to uV" in odd
    assert "clip 22 is the version of 83.9 s" in odd
    assert "triggers before the start of the experiment were ignored" in odd
    assert "1 annotations that are no triggers were ignored" in odd
    assert "25 clips left out, no begin and end on file" in odd
    assert "spans differ from the clip table: clip 5, 14, 22; most in clip 22, 31.0 s instead of 76 s" in plain
    assert not any(word in plain for word in ("?V", "83.9", "before the start", "no triggers"))


def test_headers_are_those_of_the_release(release: Path) -> None:
    head = (release / "Data/sub000/data.bdf").read_bytes()[: 256 * 33]
    assert head.startswith(b"\xffBIOSEMI")
    assert int(head[184:192]) == 256 * 33
    assert {head[3328 + 8 * signal :][:8] for signal in range(32)} == {b"?V      "}
    labels = [head[256 + 16 * signal :][:16].decode().strip() for signal in range(32)]
    assert tuple(labels) == COHORT_1_NAMES
    other = (release / "Data/sub001/data.bdf").read_bytes()[: 256 * 33]
    assert tuple(other[256 + 16 * signal :][:16].decode().strip() for signal in range(32)) == COHORT_2_NAMES
    assert {other[3328 + 8 * signal :][:8] for signal in range(32)} == {b"uV      "}
    size = (release / "Data/sub001/data.bdf").stat().st_size
    assert (size - 8448) % (96 * 1000) == 0


def test_events_are_those_of_the_release(release: Path) -> None:
    found = mne.read_annotations(release / "Data/sub001/evt.bdf")
    texts = [str(text) for text in found.description]
    assert texts[:7] == ["100"] * 5 + ["201", "202"]
    assert texts[7:10] == ["22", "101", "102"]
    assert "Start Impedance" in mne.read_annotations(release / "Data/sub000/evt.bdf").description


def test_files_are_those_that_are_read(release: Path) -> None:
    source = FacedSource(release, RAW)
    names = [path.relative_to(release).as_posix() for path in source.files("sub000", "signal_uv")]
    assert names == [f"Data/sub000/{name}" for name in ("data.bdf", "After_remarks.mat", "evt.bdf")]
    assert source.subjects() == FacedSource(release).subjects() == list(PEOPLE)


def test_the_archive_s_own_nesting_is_found(release: Path, tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data/Data").symlink_to(release / "Data")
    write_bytes(tmp_path / "Recording_info.csv", render_people(PEOPLE))
    source = FacedSource(tmp_path, RAW, PLAIN)
    assert source.subjects() == list(PEOPLE)
    assert source.files("sub001", "de")[0] == tmp_path / "Data/Data/sub001/data.bdf"


def copy_subject(release: Path, root: Path, name: str = "sub000") -> Path:
    """Return a release of one subject whose data.bdf may be damaged."""
    write_bytes(root / "Recording_info.csv", render_people(PEOPLE))
    for file in ("data.bdf", "evt.bdf"):
        write_bytes(root / "Data" / name / file, (release / "Data" / name / file).read_bytes())
    return root / "Data" / name


def test_a_table_that_disagrees_is_told(release: Path, tmp_path: Path) -> None:
    copy_subject(release, tmp_path)
    write_bytes(tmp_path / "Recording_info.csv", render_people({"sub000": Person("F", 21, 2, 1000, "V")}))
    notes = FacedSource(tmp_path, RAW, PLAIN).read("sub000").notes
    expected = "Recording_info.csv says cohort 2 at 1000 Hz, the recording is of cohort 1 at 250 Hz"
    assert expected in notes


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (0, b"0       ", "not a BDF file"),
        (252, b"many", "does not say how many signals"),
        (3328, b"nT      ", "unit 'nT', expected uV"),
        (3328, b"uV      ", r"some channels have the unit '\?V', others have one"),
        (256, b"XX".ljust(16), "32 channels, Fp1 not found"),
        (256, b"Fz".ljust(16), "32 channels, Fp1, Fz not found"),
    ],
)
def test_damaged_headers(release: Path, tmp_path: Path, place: int, value: bytes, expected: str) -> None:
    path = copy_subject(release, tmp_path) / "data.bdf"
    data = path.read_bytes()
    path.write_bytes(data[:place] + value + data[place + len(value) :])
    with pytest.raises(InputError, match=f"^Data/sub000/data.bdf: .*{expected}") as caught:
        FacedSource(tmp_path, RAW, PLAIN).read("sub000")
    assert str(tmp_path) not in str(caught.value)


def test_a_recording_that_breaks_off_keeps_the_clips_before(release: Path, tmp_path: Path) -> None:
    path = copy_subject(release, tmp_path, "sub001") / "data.bdf"
    path.write_bytes(path.read_bytes()[: 8448 + 96 * 1000 * 80])
    recording = FacedSource(tmp_path, RAW, PLAIN).read("sub001")
    assert recording.clips == (14, 22)
    assert "clip 5 left out, after the end of the recording" in recording.notes
    path.write_bytes(path.read_bytes()[: 8448 + 96 * 1000 * 20])
    with pytest.raises(InputError, match=r"^Data/sub001/data.bdf: 20 s long, .*no clip of 30 s lies within"):
        FacedSource(tmp_path, RAW, PLAIN).read("sub001")


def test_clips_shorter_than_a_trial_are_left_out(release: Path) -> None:
    file = open_raw(release / "Data/sub000/data.bdf", "data.bdf")
    spans = [Span(5, 1, 20.0, 40.0), Span(14, 2, 50.0, 81.0)]
    cut = cut_clips(file, spans, PLAIN, "data.bdf")
    assert [span.clip for span in cut.spans] == [14]
    assert "clip 5 left out, shorter than the 30 s kept of each" in cut.notes


def test_missing_or_broken_triggers(release: Path, tmp_path: Path) -> None:
    events = copy_subject(release, tmp_path) / "evt.bdf"
    whole = events.read_bytes()
    for damaged in (b"", whole[:200], whole[:1000], whole[300:]):
        events.write_bytes(damaged)
        with pytest.raises(
            InputError, match="^Data/sub000/evt.bdf: (cannot be read|not a BDF|\\d+ triggers, but no clip)"
        ):
            FacedSource(tmp_path, RAW).read("sub000")
    events.unlink()
    with pytest.raises(InputError, match=r"^Data/sub000/data.bdf: evt.bdf with its triggers is not beside it"):
        FacedSource(tmp_path, RAW).read("sub000")


def test_a_pointer_is_told_from_data(release: Path, tmp_path: Path) -> None:
    path = copy_subject(release, tmp_path) / "data.bdf"
    path.write_text("/annex/objects/MD5E-s468584448--0.bdf\n")
    with pytest.raises(InputError, match="a pointer to the data, not the data; fetch it first"):
        FacedSource(tmp_path, RAW).read("sub000")


def make_events(*codes: int | float) -> list[tuple[float, int]]:
    """Return a proper start and then codes, one a second; a float moves the clock on."""
    now, events = 10.0, [(0.5 * index, 100) for index in range(5)]
    for code in codes:
        if isinstance(code, float):
            now += code
        else:
            events.append((now, code))
            now += 1.0
    return events


def test_a_session_of_all_clips(tmp_path: Path) -> None:
    session = lay_out_session(SEED, "sub004", PEOPLE["sub001"], stray=True)
    write_events(tmp_path / "evt.bdf", session)
    spans, notes = read_spans(tmp_path / "evt.bdf", "evt.bdf")
    assert sorted(spans, key=lambda span: span.rank) == [
        replace(span, start_s=pytest.approx(span.start_s), end_s=pytest.approx(span.end_s)) for span in session.spans
    ]
    assert [span.clip for span in spans] == [clip.number for clip in CLIPS]
    assert any("before the start" in note for note in notes)


def test_another_task_before_the_start_is_ignored() -> None:
    """As in five recordings: its codes include ours, and bursts of 100 add up to more than five."""
    other = [(-9.0 + index, code) for index, code in enumerate((3, 101, 102, 100, 76, 100, 235, 100))]
    spans, notes = find_spans([*other, *make_events(7, 101, 55.0, 102)])
    assert [(span.clip, span.rank) for span in spans] == [(7, 1)]
    assert notes == ["5 triggers before the start of the experiment were ignored"]


def test_stray_triggers_inside_a_clip() -> None:
    spans, notes = find_spans(make_events(7, 101, 200.0, 101, 55.0, 102, 8, 101, 59.0, 102))
    assert [(span.clip, round(span.length_s), span.rank) for span in spans] == [(7, 56, 1), (8, 60, 2)]
    assert notes == ["1 triggers 101 or 102 without a partner were ignored"]


def test_a_clip_that_was_begun_twice_counts_where_it_is_whole() -> None:
    spans, _ = find_spans(make_events(7, 101, 8, 101, 59.0, 102, 7, 101, 55.0, 102, 7, 101, 5.0, 102))
    assert [(span.clip, round(span.length_s), span.rank) for span in spans] == [(7, 56, 2), (8, 60, 1)]


def test_a_clip_without_an_end_is_missing() -> None:
    spans, _ = find_spans(make_events(7, 101, 8, 101, 59.0, 102))
    assert [span.clip for span in spans] == [8]
    assert any("27 clips left out" in note for note in describe_spans(spans))


def test_fewer_starts_than_expected_are_told() -> None:
    spans, notes = find_spans(make_events(7, 101, 55.0, 102)[3:])
    assert [span.clip for span in spans] == [7]
    assert notes == ["2 triggers 100 at the start of the experiment, expected 5"]


def test_spans_as_in_the_clip_table_need_no_note() -> None:
    spans = [Span(clip.number, clip.number, 0.0, clip.duration_s + 0.28) for clip in CLIPS]
    assert describe_spans(spans) == []
    spans[21] = Span(22, 22, 0.0, 83.9)
    assert describe_spans(spans) == ["clip 22 is the version of 83.9 s; its last seconds are those of the other"]
    spans[8] = Span(9, 9, 0.0, 100.0)
    assert describe_spans(spans)[1].endswith("clip 9; most in clip 9, 100.0 s instead of 106 s")
