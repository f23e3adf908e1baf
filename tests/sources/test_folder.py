import json
import shutil
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from dataset_builder.errors import InputError, RecipeError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.recipe import validate
from dataset_builder.sources import array_files
from dataset_builder.sources.folder import FolderConfig, RecordingsSource
from dataset_builder.sources.folder_fake import draw_eeg
from dataset_builder.types import RATINGS, SCALP_CHANNELS

QUICK = PreprocessingConfig(ica="none", trial_s=10.0)
SECRET = "jane_doe"
NAMES = list(SCALP_CHANNELS[:20])


def write_fif(path: Path, seconds: float = 60.0, names: list[str] | None = None, sfreq_hz: int = 250) -> np.ndarray:
    names = names or NAMES
    signal = draw_eeg(1, path.stem, names, seconds, sfreq_hz)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = mne.io.RawArray(signal * 1e-6, mne.create_info(names, sfreq_hz, "eeg"), verbose="ERROR")
    raw.save(path, overwrite=True, verbose="ERROR")
    return signal


def write_table(
    root: Path, *lines: str, header: str = "file,subject,label,onset_s", name: str = "recordings.csv"
) -> None:
    (root / name).write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")


def open_folder(root: Path, **config: Any) -> RecordingsSource:
    return RecordingsSource(root, FolderConfig(**config), QUICK)


def refuse(root: Path, subject: str = "P1", **config: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_folder(root, **config).read(subject)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) not in message
    assert SECRET not in message
    return message


def test_the_twin_is_read(tmp_path: Path) -> None:
    written = RecordingsSource.write_fake(tmp_path, n_subjects=3)
    source = RecordingsSource(tmp_path, written.config, PreprocessingConfig(ica="none"))
    assert source.subjects() == ["P1", "P2", "P3"]
    assert source.info.synthetic
    recordings = [source.read(subject) for subject in source.subjects()]
    for recording in recordings:
        assert recording.signal_uv is not None
        assert recording.signal_uv.shape == (3, 30, 7500)
        assert recording.channels == SCALP_CHANNELS
        assert recording.synthetic
        assert recording.ranks == (1, 2, 3)
        assert [sorted(trial) for trial in recording.facial] == [["au04", "au12"]] * 3
        assert recording.ratings is not None
        assert recording.ratings.shape == (3, 12)
        rated = ~np.isnan(recording.ratings[0])
        assert [name for name, known in zip(RATINGS, rated, strict=True) if known] == ["joy", "valence"]
    assert {emotion for recording in recordings for emotion in recording.emotions} == {
        "anger", "disgust", "fear", "sadness", "neutral", "amusement", "inspiration", "joy", "tenderness"
    }  # fmt: skip
    assert [path.name for path in source.files("P2")] == ["002.npy", "002.json"]
    assert source.tables() == [tmp_path / "recordings.csv"]


def test_the_twin_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RecordingsSource.write_fake(tmp_path / name)
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("a", "b")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_trials_are_where_the_table_says(tmp_path: Path) -> None:
    signal = write_fif(tmp_path / "x_raw.fif")
    write_table(
        tmp_path,
        "x_raw.fif,P1,joy,30,,45",
        "x_raw.fif,P1,fear,5,12,",
        "x_raw.fif,P1,anger,45.5,,",
        header="file,subject,label,onset_s,duration_s,end_s",
    )
    recording = open_folder(tmp_path).read("P1")
    assert recording.emotions == ("joy", "fear", "anger")
    assert recording.ranks == (2, 1, 3)
    assert recording.clips == (None, None, None)
    assert recording.device_sfreq_hz == 250.0
    assert recording.signal_uv is not None
    referenced = signal - signal.mean(axis=0)
    for trial, end_s in zip(recording.signal_uv, (45.0, 17.0, 55.5), strict=True):
        source = referenced[12, round((end_s - 10) * 250) : round(end_s * 250)]
        assert np.corrcoef(trial[12], source)[0, 1] > 0.9


def test_a_subject_may_span_files_with_other_channels_and_rates(tmp_path: Path) -> None:
    write_fif(tmp_path / "a_raw.fif")
    write_fif(tmp_path / "b_raw.fif", names=list(reversed(SCALP_CHANNELS[2:22])), sfreq_hz=200)
    write_table(tmp_path, "a_raw.fif,P1,joy,30", "b_raw.fif,P1,fear,5", "a_raw.fif,P1,anger,5")
    recording = open_folder(tmp_path).read("P1")
    assert recording.emotions == ("joy", "fear", "anger")
    assert recording.channels == tuple(NAMES[2:])
    assert recording.ranks == (None, None, None)
    assert recording.device_sfreq_hz is None
    notes = " | ".join(recording.notes)
    assert "12 of 30 scalp channels are not there: Fp1, Fp2, " in notes
    assert "4 channels left out, not in every file: Fp1, Fp2, P3, Pz" in notes
    assert "recorded at different rates: 200, 250 Hz" in notes
    write_table(tmp_path, "b_raw.fif,P1,fear,5")
    single = open_folder(tmp_path).read("P1")
    assert single.signal_uv is not None
    assert recording.signal_uv is not None
    cz = (recording.channels.index("Cz"), single.channels.index("Cz"))
    mine, theirs = recording.signal_uv[1, cz[0]], single.signal_uv[0, cz[1]]
    assert np.corrcoef(mine, theirs)[0, 1] > 0.95  # the same place, although the order differs


def test_own_words_for_labels(tmp_path: Path) -> None:
    write_fif(tmp_path / "x_raw.fif")
    write_table(tmp_path, "x_raw.fif,P1,Happy,5", "x_raw.fif,P1,NEUTRAL,20")
    assert open_folder(tmp_path, labels={"happy": "joy"}).read("P1").emotions == ("joy", "neutral")
    assert refuse(tmp_path).startswith("recordings.csv line 2: label is 'Happy', accepted: anger, disgust, ")
    with pytest.raises(RecipeError, match="labels map to bliss; accepted: anger"):
        validate(FolderConfig, {"labels": {"happy": "bliss"}}, where="recipe")
    with pytest.raises(RecipeError, match="table must lie in the folder"):
        validate(FolderConfig, {"table": "../x.csv"}, where="recipe")


def test_what_a_label_means_is_said(tmp_path: Path) -> None:
    write_table(tmp_path, "x.edf,P1,joy,5")
    info = open_folder(tmp_path, labels_are="self-report", population="Twelve nurses.", licence_id="cc0-1.0").info
    assert info.population == "Twelve nurses. Labels are what people reported of themselves."
    assert (info.synthetic, info.licence_id, info.licence_name) == (False, "cc0-1.0", "not stated")
    assert "meant to evoke" in open_folder(tmp_path).info.population


@pytest.mark.parametrize(
    ("data", "note"),
    [
        ("\ufefffile,subject,label,onset_s,age\nx_raw.fif,P1,joy,5.5,30\n".encode(), ""),
        (b"FILE; Subject ;label;onset_s;age\nx_raw.fif;P1;joy;5,5;30\n", "separated by ';'"),
        (b"file\tsubject\tlabel\tonset_s\tage\r\nx_raw.fif\tP1\tjoy\t5.5\t30\r\n", "separated by a tab"),
        ("file,subject,label,onset_s,age\nx_raw.fif,P1,joy,5.5,30\n".encode("utf-16"), ""),
        (b"file,subject,label,onset_s,age,gr\xf6sse\nx_raw.fif,P1,joy,5.5,30,9\n\n,,,,,\n", "read as Latin-1"),
    ],
)
def test_tables_from_spreadsheets_are_understood(tmp_path: Path, data: bytes, note: str) -> None:
    write_fif(tmp_path / "x_raw.fif")
    (tmp_path / "recordings.csv").write_bytes(data)
    recording = open_folder(tmp_path).read("P1")
    assert (len(recording), recording.age, recording.emotions) == (1, 30, ("joy",))
    assert note in " | ".join(recording.notes)


HEADER = "file,subject,label,onset_s,duration_s,end_s,clip,rank,age,sex,rating_joy"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["x.edf,P1,joy"], "line 2: onset_s is empty"),
        (["x.edf,P1,joy,ten"], "line 2: onset_s is 'ten', expected a number"),
        (["x.edf,P1,joy,nan"], "line 2: onset_s is nan, accepted: 0 or more"),
        (["x.edf,P1,joy,-1"], "line 2: onset_s is -1, accepted: 0 or more"),
        (["x.edf,P1,joy,5,0"], "line 2: the trial ends at 5 s, before or at its onset at 5 s"),
        (["x.edf,P1,joy,5,10,16"], "line 2: end_s is 16, but onset_s + duration_s is 15"),
        (["x.edf,P1,joy,5,10,15,1.5"], "line 2: clip is 1.5, expected a whole number"),
        (["x.edf,P1,joy,5,10,15,0"], "line 2: clip is 0, accepted: 1 to 32767"),
        (["x.edf,P1,joy,5,10,15,40000"], "line 2: clip is 40000, accepted: 1 to 32767"),
        (["x.edf,P1,joy,5,,,,,130"], "line 2: age is 130, accepted: 0 to 120"),
        (["x.edf,P1,joy,5,,,,,,x"], "line 2: sex is 'x', accepted: F, M or empty"),
        (["x.edf,P1,joy,5,,,,,,,9"], "line 2: rating_joy is 9, accepted: 0 to 7"),
        (["x.edf,P1,joy,5,,,,,,,,extra"], "line 2: has more cells than the header has columns"),
        ([f"x.edf,{SECRET},joy,5"], "line 2: subject is no pseudonym; accepted: letters and digits such as sub003"),
        (["x.edf,Anna1,joy,5"], "line 2: subject is no pseudonym"),
        ([",P1,joy,5"], "line 2: file is empty or outside the folder"),
        ([f"/data/{SECRET}.edf,P1,joy,5"], "line 2: file is empty or outside the folder"),
        ([f"../{SECRET}.edf,P1,joy,5"], "line 2: file is empty or outside the folder"),
        ([f"C:\\{SECRET}.edf,P1,joy,5"], "line 2: file is empty or outside the folder"),
        (["x.edf,P1,joy,5", "x.edf,P1,joy,5"], "line 3: the same file and onset_s as in line 2"),
        (["x.edf,P1,joy,5", "x.edf,P2,joy,9"], "line 3: a stretch of P2's file is P1's in line 2"),
        (["x.edf,P1,joy,0,99", "x.edf,P1,joy,5,9", "x.edf,P2,joy,50,9"], "line 4: a stretch of P2's file is P1's in"),
        (["x.edf,P1,joy,5,,,,,20", "x.edf,P1,joy,9,,,,,21"], "line 3: age of P1 is 21, but 20 in line 2"),
        (["x.edf,P1,joy,5,,,,1", "x.edf,P1,joy,9,,,,1"], "line 3: rank 1 of P1 is taken by line 2"),
        (["x.edf,P1,joy,5,,,3", "x.edf,P1,fear,9,,,3"], "line 3: clip 3 is fear, but joy in line 2"),
        ([], "holds no row below its header"),
        (['x.edf,P1,"joy,5'], "is no table"),
    ],
)
def test_mistakes_in_the_table_are_one_clear_line(tmp_path: Path, lines: list[str], told: str) -> None:
    write_table(tmp_path, *lines, header=HEADER)
    message = refuse(tmp_path)
    assert message.startswith("recordings.csv")
    assert told in message


def test_one_clip_may_have_two_labels_where_people_reported_them(tmp_path: Path) -> None:
    write_table(tmp_path, "x.edf,P1,joy,5,,9,3", "x.edf,P2,fear,9,,,3", header=HEADER)
    assert open_folder(tmp_path, labels_are="self-report").subjects() == ["P1", "P2"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("file,subject,onset_s", "column label is missing; needed are file, subject, label, onset_s"),
        ("file,subject,label,onset_s,onset_s", "column onset_s is there twice"),
        ("file,subject,label,onset_s,rating_bliss", "column rating_bliss is unknown; ratings can be joy, "),
    ],
)
def test_mistakes_in_the_header(tmp_path: Path, header: str, told: str) -> None:
    write_table(tmp_path, "x.edf,P1,joy,5", header=header)
    assert told in refuse(tmp_path)


def test_facial_features_come_from_the_columns_that_the_recipe_names(tmp_path: Path) -> None:
    write_fif(tmp_path / "x_raw.fif")
    header = "file,subject,label,onset_s,AU04,mood"
    write_table(tmp_path, "x_raw.fif,P1,joy,5,0.5,bad", "x_raw.fif,P1,joy,20,,bad", header=header)
    assert open_folder(tmp_path, facial_features=["AU04"]).read("P1").facial == ({"AU04": 0.5}, {})
    plain = open_folder(tmp_path).read("P1")
    assert plain.facial == ()
    assert plain.notes[0] == "2 columns of the table are not used: au04, mood"
    assert "column au12 is missing" in refuse(tmp_path, facial_features=["AU12"])
    assert "mood is 'bad', expected a number" in refuse(tmp_path, facial_features=["mood"])


def test_trials_must_lie_in_their_files_and_be_long_enough(tmp_path: Path) -> None:
    write_fif(tmp_path / f"{SECRET}_raw.fif")
    header = "file,subject,label,onset_s,duration_s"
    for line, told in (
        ("5000,", "recordings.csv line 2: onset_s is 5000, but its file ends at 60.00 s"),
        ("50,20", "recordings.csv line 2: the trial ends at 70 s, but its file at 60.00 s"),
        ("5,3", "recordings.csv line 2: the trial lasts 3 s, the recipe's preprocessing.trial_s needs 10 s"),
    ):
        write_table(tmp_path, f"{SECRET}_raw.fif,P1,joy,{line}", header=header)
        assert refuse(tmp_path) == told
    write_table(tmp_path, f"{SECRET}_raw.fif,P1,joy,50.05,10", header=header)
    recording = open_folder(tmp_path).read("P1")  # onsets are rounded: a tenth of a second is forgiven
    assert len(recording) == 1
    assert SECRET not in repr(recording)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    write_table(tmp_path, f"{SECRET}.mp3,P1,joy,5", f"{SECRET}.edf,P2,joy,5", f"{SECRET}.npy,P3,joy,5")
    assert refuse(tmp_path) == (
        "recordings.csv line 2's file: suffix '.mp3', accepted: .edf, .bdf, .fif, .set, .vhdr, .npy"
    )
    assert refuse(tmp_path, "P2") == "recordings.csv line 3's file: no such file"
    assert refuse(tmp_path, "P3") == "recordings.csv line 4's file: no such file"
    (tmp_path / f"{SECRET}.edf").write_bytes(b"nonsense" * 100)
    assert refuse(tmp_path, "P2").endswith("line 3's file: is no EDF or BDF file")
    with pytest.raises(InputError, match="has no row for 'P9'; 3 subjects are listed"):
        open_folder(tmp_path).read("P9")
    with pytest.raises(InputError, match="missing: no such folder"):
        RecordingsSource(tmp_path / "missing")
    with pytest.raises(InputError, match="other.csv: no such table"):
        open_folder(tmp_path, table="other.csv")


def test_too_few_or_too_slow(tmp_path: Path) -> None:
    write_fif(tmp_path / "few_raw.fif", names=["Fz", "Cz", "Pz"])
    write_fif(tmp_path / "slow_raw.fif", sfreq_hz=90)
    write_fif(tmp_path / "a_raw.fif", names=NAMES[:9])
    write_fif(tmp_path / "b_raw.fif", names=NAMES[5:15])
    write_table(tmp_path, "few_raw.fif,P1,joy,5", "slow_raw.fif,P2,joy,5", "a_raw.fif,P3,joy,5", "b_raw.fif,P3,fear,5")
    assert "line 2's file: 3 of 3 channels are EEG with a 10-10 name" in refuse(tmp_path)
    assert refuse(tmp_path, "P2") == "recordings.csv line 3's file: sampled at 90 Hz, at least 100 Hz is needed"
    assert "the files of P3 share 4 channels; at least 8" in refuse(tmp_path, "P3")


def test_a_wrong_unit_is_repaired_or_refused(tmp_path: Path) -> None:
    signal = draw_eeg(1, "x", NAMES, 40.0)
    header = "file,subject,label,onset_s,sfreq_hz,channels"
    write_table(tmp_path, f"x.npy,P1,joy,5,250,{' '.join(NAMES)}", header=header)
    np.save(tmp_path / "x.npy", signal * 1e-6)
    recording = open_folder(tmp_path).read("P1")
    assert "file 1 of 1" not in " ".join(recording.notes)
    assert "amplitudes look like volts marked as microvolts; scaled by 1e+06" in recording.notes
    assert recording.signal_uv is not None
    assert 3 < recording.signal_uv.std() < 30
    np.save(tmp_path / "x.npy", signal * 1e3)
    assert "line 2's file: unit looks wrong" in refuse(tmp_path)
    signal[3, 2000] = np.inf
    np.save(tmp_path / "x.npy", signal)
    assert "line 2's file: trial 1: holds 1 values that are not finite" in refuse(tmp_path)


def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", draw_eeg(1, "x", NAMES, 40.0).astype(np.float32))
    write_table(tmp_path, "x.npy,P1,joy,5")
    assert "sfreq_hz and channels of an array must stand in the table or a JSON file" in refuse(tmp_path)
    sidecar = tmp_path / "x.json"
    sidecar.write_text("{}")
    assert "the JSON file beside it cannot be used (KeyError)" in refuse(tmp_path)
    sidecar.write_text(json.dumps({"sfreq_hz": 250, "channels": [*NAMES[1:], NAMES[1]]}))
    assert "channels name one place twice" in refuse(tmp_path)
    sidecar.write_text(json.dumps({"sfreq_hz": 250, "channels": NAMES[1:]}))
    assert "float32 array of shape (20, 10000), expected numbers of shape (19 channels, n_times)" in refuse(tmp_path)
    sidecar.write_text(json.dumps({"sfreq_hz": 250, "channels": NAMES}))
    assert open_folder(tmp_path).read("P1").channels == tuple(NAMES)
    monkeypatch.setattr(array_files, "_MAX_VALUES", 100)
    assert "200000 values are too much to load" in refuse(tmp_path)


def test_nothing_in_an_array_file_is_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_table(tmp_path, "x.npy,P1,joy,5,250", header="file,subject,label,onset_s,sfreq_hz")
    assert "line 2's file: cannot be read as a NumPy array (ValueError)" in refuse(tmp_path)


def test_companions_are_among_the_files(tmp_path: Path) -> None:
    for name in ("a.vhdr", "a.eeg", "a.vmrk", "b.set", "b.fdt", "c.edf"):
        (tmp_path / name).write_bytes(b"x")
    write_table(tmp_path, "a.vhdr,P1,joy,5", "a.vhdr,P1,joy,9", "b.set,P1,joy,5", "c.edf,P1,joy,5", "gone.edf,P1,joy,5")
    files = [path.name for path in open_folder(tmp_path).files("P1")]
    assert files == ["a.vhdr", "a.eeg", "a.vmrk", "b.set", "b.fdt", "c.edf"]


def test_the_folder_may_move(tmp_path: Path) -> None:
    RecordingsSource.write_fake(tmp_path / "here", n_subjects=1)
    shutil.move(tmp_path / "here", tmp_path / "there")
    source = RecordingsSource(tmp_path / "there", preprocessing=QUICK)
    assert source.read("P1").notes[0] == "2 columns of the table are not used: au04, au12"
