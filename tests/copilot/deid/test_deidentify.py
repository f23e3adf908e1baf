import json
import tempfile

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot.deid import preview_header, stage
from copilot.deid.findings import Findings
from copilot.deid.preview import open_cleaned
from copilot.deid.search import search_texts
from copilot.deid.stage import deidentify_recordings
from copilot.deid.words import clean_annotation, clean_filter, clean_unit
from copilot.run_deidentify import main
from dataset_builder.errors import CopilotError, InputError, StageError
from dataset_builder.sources.channel_labels import clean_label, clean_labels
from dataset_builder.sources.recording_files import open_recording, quietly
from tests.copilot.deid.planted import (
    CHANNELS,
    DATES,
    DOCTOR,
    FREE_TEXT,
    HAN,
    KNOWN,
    NAME,
    SERIAL,
    WORDS,
    WRITERS,
    copy_all,
    find_words,
    write_edf,
    write_edf_latin,
    write_fif,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Write every format once."""
    return {name: writer(tmp_path_factory.mktemp(name)) for name, writer in WRITERS.items()}


@pytest.fixture
def temp(tmp_path, monkeypatch):
    """Return an empty folder in which temporary files land."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def read_after(out, path):
    raw, _ = open_recording(next(out.glob(f"rec-*{path.suffix}")), "recording")
    return raw


@pytest.mark.parametrize("kind", WRITERS)
def test_planted_words_are_in_the_source_and_nowhere_afterwards(planted, kind, tmp_path, temp, capfd, caplog):
    assert len(find_words(planted[kind].parent)) >= 6
    out = tmp_path / "shared"
    assert main([str(planted[kind]), "--out", str(out)]) == 0
    told = capfd.readouterr()
    assert find_words(tmp_path, told.out + told.err + caplog.text) == []
    equal = json.loads((out / "statement.json").read_text())["files"][0]["signals_equal"]
    assert equal is (kind != "brainvision-latin-1")  # MNE reads markers as UTF-8 only


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "brainvision-latin-1"])
def test_signal_channels_and_known_events_stay(planted, kind, tmp_path):
    deidentify_recordings([planted[kind]], tmp_path / "shared")
    before, _ = open_recording(planted[kind], "recording")
    after = read_after(tmp_path / "shared", planted[kind])
    assert np.array_equal(quietly(before.get_data), quietly(after.get_data))
    assert after.info["sfreq"] == before.info["sfreq"]
    assert after.ch_names[:10] == before.ch_names[:10]
    assert after.ch_names[10].startswith("ch11")
    assert after.info["meas_date"] is None or after.info["meas_date"].year in (1985, 2085)
    texts = [text.removeprefix("Stimulus/").removeprefix("Comment/") for text in after.annotations.description]
    assert set(KNOWN) <= set(texts)
    assert len(texts) <= len(KNOWN) + 2
    kept = dict(zip(before.annotations.description, before.annotations.onset - before.first_time, strict=True))
    moved = dict(zip(after.annotations.description, after.annotations.onset - after.first_time, strict=True))
    assert all(moved[text] == pytest.approx(kept[text], abs=1e-3) for text in moved)


@pytest.mark.parametrize("kind", WRITERS)
def test_preview_hides_what_identifies(planted, kind, tmp_path):
    fields = preview_header(planted[kind])
    text = "\n".join(f"{field.name} {field.shown}" for field in fields)
    assert find_words(tmp_path, text) == []
    shown = {field.name: field.shown for field in fields if not field.masked}
    assert (shown["Channels"], shown["Sampling rate"], shown["Duration"]) == ("11", "100 Hz", "4.0 s")
    assert all(field.shown.startswith("hidden") for field in fields if field.masked)
    assert sum(field.masked for field in fields) >= 4


def test_what_mne_cannot_read_is_copied_and_says_so(tmp_path):
    path = write_edf_latin(tmp_path)
    statement, _ = deidentify_recordings([path], tmp_path / "shared")
    assert not statement.files[0].signals_equal
    assert find_words(tmp_path / "shared") == []
    before, after = path.read_bytes(), (tmp_path / "shared" / "rec-001.edf").read_bytes()
    start = 256 * 13
    assert before[start : start + 2 * 11 * 100] == after[start : start + 2 * 11 * 100]


def test_brainvision_samples_are_copied_whatever_the_texts_are_written_in(planted, tmp_path):
    deidentify_recordings([planted["brainvision-latin-1"]], tmp_path / "shared")
    before, after = (path.read_bytes() for path in (planted["brainvision-latin-1"].with_suffix(".eeg"),
                                                    tmp_path / "shared" / "rec-001.eeg"))  # fmt: skip
    assert before[: 11 * 400 * 2] == after
    assert "Ch1=Fp1,,0.1,uV" in (tmp_path / "shared" / "rec-001.vhdr").read_text()
    assert "Mk2=Stimulus,S  1,100,1,0" in (tmp_path / "shared" / "rec-001.vmrk").read_text()


#: What BrainVision Recorder writes into every header.
RECORDER = f"""; Data created by the Vision Recorder

[Common Infos]
Codepage=UTF-8
DataFile={NAME}.eeg
DataFormat=BINARY
; Data orientation: MULTIPLEXED=ch1,pt1, ch2,pt1 ...
DataOrientation=MULTIPLEXED
NumberOfChannels=2
; Sampling interval in microseconds
SamplingInterval=3906.25

[Binary Infos]
BinaryFormat=INT_16

[Channel Infos]
; Each entry: Ch<Channel number>=<Name>,<Reference channel name>,
; <Resolution in "Unit">,<Unit>, Future extensions..
Ch1=Fp1,,0.0488281,µV
Ch2=Fp2,,0.0488281,µV

[Comment]

A m p l i f i e r  S e t u p
============================
Number of channels: 2
Sampling Rate [Hz]: 256
Sampling Interval [µS]: 3906.25
Channels
--------
#     Name      Phys. Chn.    Resolution / Unit   Low Cutoff [s]   High Cutoff [Hz]   Notch [Hz]    Offset
1     Fp1         1           0.0488281 µV             DC              140              Off            0
2     Fp2         2           0.0488281 µV             DC              140              Off            0
Impedance [kOhm] at {DOCTOR}'s {DATES[1]} :
"""


def test_comments_of_brainvision_recorder_are_removed(tmp_path):
    (tmp_path / f"{NAME}.vhdr").write_text(f"Brain Vision Data Exchange Header File Version 1.0\n{RECORDER}", "utf-8")
    np.zeros(2 * 256, "<i2").tofile(tmp_path / f"{NAME}.eeg")
    deidentify_recordings([tmp_path / f"{NAME}.vhdr"], tmp_path / "shared")
    assert find_words(tmp_path / "shared") == []
    header = (tmp_path / "shared" / "rec-001.vhdr").read_text("utf-8")
    assert "SamplingInterval=3906.25" in header
    assert ";" not in header


def test_brainvision_as_mne_writes_it_is_deidentified_also_twice(tmp_path):
    raw = mne.io.RawArray(
        np.random.default_rng(0).normal(0, 2e-5, (2, 500)), mne.create_info(["Fp1", "Fp2"], 256, "eeg")
    )
    raw.set_annotations(mne.Annotations([0.5], [0], ["eyes open"]))
    mne.export.export_raw(tmp_path / f"{NAME}.vhdr", raw, verbose="ERROR")
    for source, out in ((f"{NAME}.vhdr", "once"), ("once/rec-001.vhdr", "twice")):
        statement, _ = deidentify_recordings([tmp_path / source], tmp_path / out)
        assert statement.files[0].signals_equal
        assert find_words(tmp_path / out) == []


def test_numbers_of_brainvision_may_have_all_decimals_of_a_double(planted, tmp_path):
    path = copy_all(planted["brainvision"], tmp_path)
    header = path.read_text("utf-8").replace("=10000", "=3333.3333333333335").replace(",0.1,", ",0.10000000149011612,")
    path.write_text(header, "utf-8")
    deidentify_recordings([path], tmp_path / "shared")
    after = (tmp_path / "shared" / "rec-001.vhdr").read_text()
    assert "SamplingInterval=3333.3333333333335" in after
    assert "Ch1=Fp1,,0.10000000149011612,uV" in after


@pytest.mark.parametrize("kind", ["edf", "bdf"])
def test_filters_and_limits_of_samples_in_a_text_that_is_removed_may_be_in_the_header(planted, tmp_path, kind):
    path, lowest = copy_all(planted[kind], tmp_path), b"-32768" if kind == "edf" else b"-8388608"
    content, prefilter = path.read_bytes(), f"HP:0.1Hz {DOCTOR}".encode()
    assert lowest in content[: 256 * 13]
    content = content.replace(prefilter.ljust(24), b"HP:0.1Hz LP:75Hz".ljust(24))
    content = content.replace(b"HP:0.1Hz LP:75Hz".ljust(24), b"HP:0.1Hz LP:75Hz Zwingli", 1)
    path.write_bytes(content.replace(f"{SERIAL} electrode".encode(), lowest.ljust(18)))
    deidentify_recordings([path], tmp_path / "shared")
    assert (tmp_path / "shared" / f"rec-001.{kind}").read_bytes().count(b"HP:0.1Hz LP:75Hz") == len(CHANNELS) - 1
    assert find_words(tmp_path / "shared") == []


def test_a_name_beside_words_of_the_format_is_still_found(tmp_path):
    file = tmp_path / "rec-001.vhdr"
    file.write_text(f"SamplingInterval=2000\nOperator={DOCTOR}")
    assert search_texts(["Sampling Interval", "rec-001"], [file], "rec-001") == 0
    with pytest.raises(StageError):
        search_texts([f"Sampling Interval by {DOCTOR}"], [file], "rec-001")


def test_age_above_89_and_year(planted, tmp_path):
    statement, _ = deidentify_recordings(
        [planted["edf"]], tmp_path / "a", stage.DeidentifyOptions(keep_year=True), tmp_path / "key.csv"
    )
    file = statement.files[0]
    assert (file.sex, file.age, file.recorded_year) == ("F", "90 or older", 2021)
    assert file.removed.keys() >= {"A", "C", "H", "M", "R"}
    assert NAME in (tmp_path / "key.csv").read_text()
    assert (tmp_path / "key.csv").stat().st_mode & 0o077 == 0
    assert find_words(tmp_path / "a") == []


def test_same_files_in_another_order_give_the_same_bytes(planted, tmp_path):
    paths = [planted["edf"], planted["bdf"], planted["fif"]]
    deidentify_recordings(paths, tmp_path / "a")
    deidentify_recordings(paths[::-1], tmp_path / "b")
    names = [path.name for path in (tmp_path / "a").iterdir() if path.name != "manifest.json"]
    assert len(names) == 5
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_recording_with_gaps_keeps_the_times_of_its_records(planted, tmp_path):
    path = copy_all(planted["edf"], tmp_path)
    content = path.read_bytes().replace(b"EDF+C", b"EDF+D").replace(b"+3\x14\x14", b"+9\x14\x14")
    path.write_bytes(content)
    deidentify_recordings([path], tmp_path / "shared")
    after = (tmp_path / "shared" / "rec-001.edf").read_bytes()
    assert b"EDF+D" in after
    assert b"+9\x14\x14" in after
    assert find_words(tmp_path / "shared") == []


def test_an_annotation_can_be_kept_by_name(planted, tmp_path):
    options = stage.DeidentifyOptions(keep_annotations=[HAN])
    deidentify_recordings([planted["edf"]], tmp_path / "shared", options)
    assert HAN in read_after(tmp_path / "shared", planted["edf"]).annotations.description


def test_fif_keeps_electrodes_and_bad_channels_but_no_head_shape(planted, tmp_path):
    deidentify_recordings([planted["fif"]], tmp_path / "shared")
    after = read_after(tmp_path / "shared", planted["fif"])
    kinds = [int(point["kind"]) for point in after.info["dig"]]
    assert sorted(set(kinds)) == [1, 3]
    assert after.info["bads"] == ["O2", "ch11"]
    assert after.info["line_freq"] == 50.0
    assert after.info["file_id"]["machid"].tolist() == [0, 0]
    assert after.info["subject_info"] is None


def test_fif_with_dates_apart_from_the_annotations_keeps_their_times(tmp_path):
    raw = mne.io.RawArray(np.zeros((2, 500)), mne.create_info(["Fp1", "Fp2"], 100, "eeg"), first_samp=70)
    raw.set_annotations(mne.Annotations(1.0, 0.5, "rest"))
    raw.save(tmp_path / "undated_raw.fif")
    deidentify_recordings([tmp_path / "undated_raw.fif"], tmp_path / "shared")
    before = quietly(mne.io.read_raw_fif, tmp_path / "undated_raw.fif")
    after = read_after(tmp_path / "shared", tmp_path / "undated_raw.fif")
    assert after.annotations.onset.tolist() == before.annotations.onset.tolist() != []


@pytest.mark.parametrize("fmt", ["short", "int", "single", "double"])
def test_fif_samples_are_the_same_bytes(tmp_path, fmt):
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(rng.normal(0, 2e-5, (2, 500)), mne.create_info(["Fp1", "Fp2"], 100, "eeg"))
    for channel in raw.info["chs"]:
        channel["cal"] = 1e-8
    raw._cals[:] = 1e-8
    raw.save(tmp_path / f"a_{fmt}_raw.fif", fmt=fmt)
    statement, _ = deidentify_recordings([tmp_path / f"a_{fmt}_raw.fif"], tmp_path / "shared")
    assert statement.files[0].signals_equal
    assert read_after(tmp_path / "shared", tmp_path / "a_raw.fif").orig_format == fmt


@pytest.mark.parametrize("kind", ["edf", "fif", "brainvision", "eeglab"])
def test_errors_name_nobody(planted, kind, tmp_path, capfd):
    path = copy_all(planted[kind], tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CopilotError) as caught:
        main([str(path), "--out", str(tmp_path / "shared"), "--key", str(tmp_path / "key.csv")])
    told = capfd.readouterr()
    assert find_words(tmp_path / "shared", f"{caught.value}{told.out}{told.err}") == []
    assert "file 1 of 1" in str(caught.value)
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"not EEG"), "no EDF or BDF"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"-200", b"  x ")), "no number"),
        (lambda path: path.rename(path.with_suffix(".xyz")), "no such file"),
    ],
)
def test_damage_is_one_line(tmp_path, change, message):
    path = write_edf(tmp_path)
    change(path)
    with pytest.raises(InputError, match=message) as caught:
        deidentify_recordings([path], tmp_path / "shared")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["edf", "bdf"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, label: data.replace(label, b"EXF Annotations"), "a signal is called annotations"),
        (lambda data, label: data.replace(label, b"EXF Sensors    "), "annotations stand among the samples"),
        (lambda data, label: data[:3000] + b"    " + data[3000:], "does not begin where its header says"),
        (lambda data, label: data[:3000] + data[3002:], "does not begin where its header says"),
    ],
)
def test_damage_cannot_turn_annotations_into_samples(planted, tmp_path, kind, change, message):
    path = copy_all(planted[kind], tmp_path)
    path.write_bytes(change(path.read_bytes(), f"{kind.upper()} Annotations".encode()))
    with pytest.raises(InputError, match=message):
        deidentify_recordings([path], tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_a_set_file_that_would_end_the_process_is_refused(planted, tmp_path):
    path = copy_all(planted["eeglab"], tmp_path)
    content = bytearray(path.read_bytes())
    content[133:135] = b"\x3c\x91"  # length of the first variable
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        preview_header(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(InputError, match=r"7\.3"):
        preview_header(path)


def test_missing_side_file_and_foreign_suffix(planted, tmp_path):
    path = copy_all(planted["eeglab"], tmp_path)
    path.with_suffix(".fdt").unlink()
    with pytest.raises(InputError, match=r"\.fdt file is missing"):
        preview_header(path)
    with pytest.raises(InputError, match="accepted: .edf"):
        preview_header(tmp_path / "a.txt")


def test_the_same_recording_twice_and_a_key_that_would_be_shared_are_refused(planted, tmp_path):
    with pytest.raises(InputError, match="same"):
        deidentify_recordings([planted["edf"], planted["edf"]], tmp_path / "shared")
    with pytest.raises(InputError, match="key"):
        deidentify_recordings([planted["edf"]], tmp_path / "shared", key=tmp_path / "shared" / "key.csv")
    with pytest.raises(InputError, match="none given"):
        deidentify_recordings([], tmp_path / "shared")


@pytest.mark.parametrize("suffix", [".set", ".fdt", ".txt"])
def test_a_key_replaces_an_older_key_and_no_other_file(planted, tmp_path, suffix):
    path, key = copy_all(planted["eeglab"], tmp_path), tmp_path / "key.csv"
    other = path.with_suffix(suffix)
    if suffix == ".txt":
        other.write_text("Notes.")
    before = other.read_bytes()
    with pytest.raises(InputError, match="key: another file is there already"):
        deidentify_recordings([path], tmp_path / "shared", key=other)
    assert other.read_bytes() == before
    assert not (tmp_path / "shared").exists()
    with pytest.raises(InputError, match="key: cannot be written"):
        deidentify_recordings([path], tmp_path / "shared", key=tmp_path)
    for _ in range(2):
        deidentify_recordings([path], tmp_path / "shared", key=key)
        assert NAME in key.read_text()
        key.write_text("name,source\n")


def test_a_text_that_slips_through_stops_the_run(planted, tmp_path, monkeypatch):
    monkeypatch.setattr("copilot.deid.tal.clean_annotation", lambda text, keep: text)
    with pytest.raises(StageError, match="still there") as caught:
        deidentify_recordings([planted["edf"]], tmp_path / "shared")
    assert NAME not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_changed_sample_stops_the_run(planted, tmp_path, monkeypatch):
    def spoil(path, keep):
        cleaned = open_cleaned(path, keep)

        def write(folder, name):
            cleaned.write(folder, name)
            file = folder / f"{name}.edf"
            data = bytearray(file.read_bytes())
            data[256 * 13 + 10] ^= 1
            file.write_bytes(bytes(data))

        return type(cleaned)(cleaned.title, cleaned.facts, cleaned.findings, write)

    monkeypatch.setattr(stage, "open_cleaned", spoil)
    with pytest.raises(StageError, match="samples differ"):
        deidentify_recordings([planted["edf"]], tmp_path / "shared")


@pytest.mark.parametrize("form", ["utf-8", "latin-1", "utf-16-le", "utf-16-be"])
def test_search_finds_every_encoding_across_pieces(tmp_path, form, monkeypatch):
    monkeypatch.setattr("copilot.deid.search._CHUNK_BYTES", 16)
    file = tmp_path / "rec-001.edf"
    file.write_bytes(b"0" * 9 + "Müllerin".encode(form) + b"1" * 50)
    with pytest.raises(StageError):
        search_texts(["Frau Müllerin"], [file], "rec-001")
    assert search_texts(["Quackenbush", "short"], [file], "rec-001") == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [("eyes closed", True), ("S  1", True), ("S1024", True), ("Trigger 31415", True), ("BAD_boundary", True)]
    + [("sleep stage N2", True), ("clip 12 joy", True), ("New Segment/", True), ("255", True)]
    + [(FREE_TEXT, False), (HAN, False), ("1931", False), ("555 123", False), ("12.03", False), ("778899", False)]
    + [("clip 1931", False), ("eyes of Zoe", False), ("", False), ("S 778899", False), ("Tel 030 12", False)],
)
def test_annotations_stay_by_what_they_say(text, kept):
    assert (clean_annotation(text) is not None) is kept


def test_labels_units_and_filters():
    assert [clean_label(name, 4) for name in ("EEG Fp1-REF", "ECG", "DC01", "A32", "Fp1-Miller", "1931 02")] == [
        "EEG Fp1-REF", "ECG", "DC01", "A32", "ch5", "ch5",
    ]  # fmt: skip
    assert clean_labels(["Anna", "Fp1", "ch1"]) == ["ch1x", "Fp1", "ch1"]
    assert [clean_unit(unit) for unit in ("µV", "uV", "mV", "Anna")] == ["uV", "uV", "mV", ""]
    assert [clean_filter(text) for text in ("HP:0.1Hz LP:75Hz N:50Hz", "HP:0.1Hz Anna")] == [
        "HP:0.1Hz LP:75Hz N:50Hz", "",
    ]  # fmt: skip


def test_representations_hold_no_value(planted):
    findings = open_cleaned(planted["edf"]).findings
    assert isinstance(findings, Findings)
    assert find_words(planted["edf"].parent / "none", repr(findings)) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["edf", "fif", "brainvision", "eeglab-embedded"]), data=st.data())
def test_damaged_headers_give_one_line_or_a_clean_file(planted, tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("fuzz")
    path = copy_all(planted[kind], folder)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 5000) - 1))
        new = data.draw(st.binary(min_size=1, max_size=6))
        content[at : at + len(new)] = new
    path.write_bytes(bytes(content))
    told = ""
    try:
        deidentify_recordings([path], folder / "shared")
    except CopilotError as error:
        told = str(error)
    assert "\n" not in told
    assert not any(word in told for word in WORDS)
    assert bool(told) is not (folder / "shared").exists()
    assert find_words(folder / "shared") == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=12), max_size=6))
def test_any_annotation_bytes_stay_as_long_as_they_were(parts):
    from copilot.deid.tal import AnnotationFilter

    data = b"\x00".join([b"+0\x14\x14", *parts])[:60].ljust(60, b"\x00")
    cleaned = AnnotationFilter(Findings(), (), 4.0).clean(data, 0.0, keeps_time=True)
    assert len(cleaned) == 60
    assert cleaned.startswith(b"+0\x14\x14")
    assert DOCTOR.encode() not in cleaned


def test_every_channel_is_there(planted):
    assert len(CHANNELS) == 11
    assert DATES[0] not in str(preview_header(planted["edf"]))


@pytest.mark.parametrize(
    ("kind", "suffix", "old", "new"),
    [
        ("edf", ".edf", b"+1\x14eyes", b"+7\x14eyes"),
        ("fif", ".fif", np.array(0.6, ">f4").tobytes(), np.array(778899, ">f4").tobytes()),
        ("brainvision", ".vmrk", b"S  1,100,", b"S  1,778899,"),
        ("eeglab", ".set", np.array(50.0).tobytes(), np.array(778899.0).tobytes()),
    ],
)
def test_an_onset_beyond_the_recording_may_be_a_number_of_somebody(planted, tmp_path, kind, suffix, old, new):
    path = copy_all(planted[kind], tmp_path)
    changed = path.with_suffix(suffix)
    assert changed.read_bytes().count(old) == 1
    changed.write_bytes(changed.read_bytes().replace(old, new))
    files = [deidentify_recordings([p], tmp_path / p.parent.name)[0].files[0] for p in (planted[kind], path)]
    assert files[1].annotations_kept == files[0].annotations_kept - 1
    assert files[1].annotations_removed == files[0].annotations_removed + 1


def test_split_fif_is_refused(tmp_path):
    path = write_fif(tmp_path)
    raw = quietly(mne.io.read_raw_fif, path, preload=True)
    raw = mne.concatenate_raws([raw.copy() for _ in range(140)], verbose="ERROR")
    raw.save(tmp_path / "big_raw.fif", split_size="2MB", verbose="ERROR")
    with pytest.raises(InputError, match="one part of several"):
        preview_header(tmp_path / "big_raw.fif")
