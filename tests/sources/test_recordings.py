import contextlib
import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from eeglabio.epochs import export_set as export_epochs
from eeglabio.raw import export_set
from pybv import write_brainvision

from copilot.deid import preview_header
from dataset_builder.bands import compute_de
from dataset_builder.errors import InputError
from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.sources import recordings
from dataset_builder.sources.recordings import SUFFIXES, read_recording
from dataset_builder.types import SCALP_CHANNELS

NAMES = list(SCALP_CHANNELS[:12])
SECRET = "jane_doe_1980"


def make_signal(
    n_channels: int = 12, seconds: float = 65.0, sfreq_hz: float = 250.0, sd_uv: float = 10.0
) -> np.ndarray:
    """Noise between 2 and 40 Hz, µV, the same on every call."""
    n_times = round(seconds * sfreq_hz)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal((n_channels, n_times)))
    frequencies = np.fft.rfftfreq(n_times, 1 / sfreq_hz)
    spectrum[:, (frequencies < 2) | (frequencies > 40)] = 0
    signal = np.fft.irfft(spectrum, n_times)
    return signal / signal.std(axis=1, keepdims=True) * sd_uv


def make_raw(signal_uv: np.ndarray, names: list[str] | None = None, sfreq_hz: float = 250.0, kinds: Any = "eeg") -> Any:
    info = mne.create_info(names or NAMES, sfreq_hz, kinds)
    return mne.io.RawArray(signal_uv * 1e-6, info, verbose="ERROR")


def save_edf(raw: Any, path: Path) -> None:
    mne.export.export_raw(path, raw, overwrite=True, verbose="ERROR")


def save_fif(raw: Any, path: Path) -> None:
    raw.save(path, overwrite=True, verbose="ERROR")


def save_set(raw: Any, path: Path) -> None:
    export_set(str(path), raw.get_data(), raw.info["sfreq"], raw.ch_names)


def save_vhdr(raw: Any, path: Path) -> None:
    write_brainvision(
        data=raw.get_data(),
        sfreq=raw.info["sfreq"],
        ch_names=raw.ch_names,
        fname_base=path.stem,
        folder_out=path.parent,
        overwrite=True,
    )


def save_bdf(raw: Any, path: Path) -> None:
    """Write 24-bit BDF by hand (MNE writes none): one-second records, no annotations."""
    names, rate = raw.ch_names, round(raw.info["sfreq"])
    n_records = raw.n_times // rate
    fields: list[tuple[list[str], int]] = [
        (names, 16),
        (["" for _ in names], 80),
        (["uV" for _ in names], 8),
        (["-8192" for _ in names], 8),
        (["8192" for _ in names], 8),
        (["-8388608" for _ in names], 8),
        (["8388607" for _ in names], 8),
        (["" for _ in names], 80),
        ([str(rate) for _ in names], 8),
        (["" for _ in names], 32),
    ]
    size = 256 * (len(names) + 1)
    start = f"{SECRET:<80}{SECRET:<80}01.01.8000.00.00{size:<8}{'24BIT':<44}{n_records:<8}{1:<8}{len(names):<4}"
    header = b"\xffBIOSEMI" + start.encode()
    header += b"".join(f"{value:<{width}}".encode() for values, width in fields for value in values)
    counts = np.round(raw.get_data() * 1e6 * 8388607.5 / 8192).astype("<i4")
    records = counts[:, : n_records * rate].reshape(len(names), n_records, rate).swapaxes(0, 1)
    path.write_bytes(header + np.ascontiguousarray(records).view(np.uint8).reshape(-1, 4)[:, :3].tobytes())


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".edf": save_edf,
    ".bdf": save_bdf,
    ".fif": save_fif,
    ".set": save_set,
    ".vhdr": save_vhdr,
}


def save(folder: Path, raw: Any, suffix: str = ".edf") -> Path:
    path = folder / f"{SECRET}_raw{suffix}"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        WRITERS[suffix](raw, path)
    return path


def refuse(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_recording(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    assert str(path.parent) not in message
    return message


def test_every_type_has_a_writer_here() -> None:
    assert set(WRITERS) == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_type_reads_the_same(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    signal = make_signal()
    path = save(tmp_path, make_raw(signal), suffix)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read_recording(path, age=31, sex="M")
    assert capfd.readouterr() == ("", "")
    assert recording.signal_uv is not None
    assert (recording.signal_uv.shape, recording.signal_uv.dtype) == ((2, 12, 7500), np.float32)
    assert recording.channels == tuple(NAMES)
    assert (recording.subject, recording.age, recording.sex) == ("recording", 31, "M")
    assert (recording.sfreq_hz, recording.device_sfreq_hz) == (250.0, 250.0)
    assert recording.clips == recording.emotions == (None, None)
    assert not recording.synthetic
    expected = (signal - signal.mean(axis=0))[:, :7500]
    np.testing.assert_allclose(recording.signal_uv[0, :, 500:-500], expected[:, 500:-500], atol=0.5)
    assert recording.notes == ("the last 5 s do not fill a window and were left out",)
    assert SECRET not in repr(recording)


def test_suffix_may_be_upper_case(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal(seconds=31)))
    upper = path.rename(path.with_suffix(".EDF"))
    assert len(read_recording(upper)) == 1


@pytest.mark.parametrize("sfreq_hz", [128.0, 256.0, 512.0])
def test_other_rates_are_resampled_and_keep_their_power(tmp_path: Path, sfreq_hz: float) -> None:
    signal = make_signal(seconds=64, sfreq_hz=sfreq_hz)
    recording = read_recording(save(tmp_path, make_raw(signal, sfreq_hz=sfreq_hz)))
    assert recording.signal_uv is not None
    assert recording.signal_uv.shape == (2, 12, 7500)
    assert recording.device_sfreq_hz == sfreq_hz
    before = compute_de(signal - signal.mean(axis=0), sfreq_hz)[:, 2:28, :4].mean(axis=1)
    after = compute_de(recording.signal_uv[0], 250.0)[:, 2:28, :4].mean(axis=1)
    np.testing.assert_allclose(after, before, atol=0.05)


def test_old_and_decorated_names_become_10_10_names(tmp_path: Path) -> None:
    written = ["EEG Fp1-REF", "EEG FP2-REF", "EEG F3-REF", "EEG F4-REF", "EEG C3-REF", "EEG C4-REF", "EEG T3-REF"]
    written += ["EEG T4-REF", "EEG T5-REF", "EEG T6-REF", "EEG A1-REF", "EOG left"]
    recording = read_recording(save(tmp_path, make_raw(make_signal(), written)))
    assert recording.channels == ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "T7", "T8", "P7", "P8", "A1")
    assert recording.notes[0] == "1 channels left out, no scalp place known: EOG left"


def test_a_name_that_no_recorder_gives_a_channel_may_be_somebodys_and_is_not_noted(tmp_path: Path) -> None:
    names = [*NAMES[:9], "John Smith", "ECG", "Fp1-Smith"]
    recording = read_recording(save(tmp_path, make_raw(make_signal(), names, kinds=["eeg"] * 11 + ["eog"]), ".fif"))
    assert recording.notes[:2] == (
        "2 channels left out, no scalp place known: ch10, ECG",
        "1 channels left out, declared as EOG in the file: ch12",
    )


def test_channels_of_another_kind_are_left_out(tmp_path: Path) -> None:
    kinds = ["eog"] + ["eeg"] * 9 + ["eog", "misc"]
    names = [*NAMES[:10], "eyes", NAMES[11]]
    recording = read_recording(save(tmp_path, make_raw(make_signal(), names, kinds=kinds), ".fif"))
    assert recording.channels == tuple(NAMES[1:10])
    assert recording.notes[:3] == (
        "1 channels left out, no scalp place known: eyes",
        f"1 channels left out, declared as EOG in the file: {NAMES[0]}",
        f"1 channels left out, declared as MISC in the file: {NAMES[11]}",
    )


def test_flat_channels_stay_out_of_the_reference(tmp_path: Path) -> None:
    signal = make_signal()
    signal[3] = 0
    recording = read_recording(save(tmp_path, make_raw(signal), ".fif"))
    assert NAMES[3] not in recording.channels
    assert f"1 flat channels left out: {NAMES[3]}" in recording.notes
    alive = np.delete(signal, 3, axis=0)
    assert recording.signal_uv is not None
    expected = (alive - alive.mean(axis=0))[:, 500:7000]
    np.testing.assert_allclose(recording.signal_uv[0, :, 500:7000], expected, atol=0.5)
    signal[3:8] = 0
    assert "5 of 12 channels are flat" in refuse(save(tmp_path, make_raw(signal), ".fif"))


def test_hum_and_clipping_are_told_and_hum_is_removed(tmp_path: Path) -> None:
    signal = make_signal()
    hum = 30 * np.sin(2 * np.pi * 50 * np.arange(signal.shape[1]) / 250)
    signal[:6] += hum
    signal[7] = np.clip(signal[7], -12, 12)
    recording = read_recording(save(tmp_path, make_raw(signal), ".fif"))
    assert "mains hum at 50 Hz before filtering in 6 channels" in recording.notes
    assert f"1 channels touch the limit of their range: {NAMES[7]}" in recording.notes
    assert recording.signal_uv is not None
    spectrum = np.abs(np.fft.rfft(recording.signal_uv[0, 0])) * 2 / 7500
    assert spectrum[1490:1511].max() < 1.0  # 50 Hz, µV


def test_microvolts_marked_as_volts_are_repaired(tmp_path: Path) -> None:
    recording = read_recording(save(tmp_path, make_raw(make_signal() * 1e6), ".fif"))
    assert recording.signal_uv is not None
    assert 5 < recording.signal_uv.std() < 15
    assert "amplitudes look like microvolts marked as volts; scaled by 1e-06" in recording.notes


def test_a_unit_that_cannot_be_repaired_is_refused(tmp_path: Path) -> None:
    assert "unit looks wrong" in refuse(save(tmp_path, make_raw(make_signal() * 1e3), ".fif"))


def test_joined_recordings_are_told(tmp_path: Path) -> None:
    raw = make_raw(make_signal())
    raw.set_annotations(mne.Annotations([10.0, 20.0], [0, 0], ["boundary", SECRET]))
    recording = read_recording(save(tmp_path, raw, ".fif"))
    assert "the recording was cut and joined at 1 places; windows may run across them" in recording.notes
    assert SECRET not in repr(recording)


def test_annotations_in_an_old_encoding_are_read(tmp_path: Path) -> None:
    raw = make_raw(make_signal())
    raw.set_annotations(mne.Annotations([10.0], [0], ["geoeffnet"]))
    path = save(tmp_path, raw)
    data = path.read_bytes()
    assert b"geoeffnet" in data
    path.write_bytes(data.replace(b"geoeffnet", b"ge\xf6ffnet "))
    recording = read_recording(path)
    assert len(recording) == 2
    assert recording.notes[0] == "annotations are not UTF-8; read as Latin-1"


def test_windows_can_have_another_length(tmp_path: Path) -> None:
    assert len(read_recording(save(tmp_path, make_raw(make_signal())), window_s=10.0)) == 6


def test_too_short_slow_or_few(tmp_path: Path) -> None:
    short = save(tmp_path, make_raw(make_signal(seconds=29)))
    assert refuse(short) == "recording: 29.0 s long, at least one window of 30 s is needed"
    slow = save(tmp_path, make_raw(make_signal(sfreq_hz=90), sfreq_hz=90))
    assert "sampled at 90 Hz, at least 100 Hz" in refuse(slow)
    few = save(tmp_path, make_raw(make_signal(4), ["Fz", "Cz", "Pz", "ECG"]))
    assert refuse(few) == (
        "recording (.edf): 3 of 4 channels are EEG with a 10-10 name such as Fp1; at least 8 are needed"
    )
    pairs = [f"{a}-{b}" for a, b in zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True)]
    assert "0 of 12 channels are EEG with a 10-10 name such as Fp1, 12 are bipolar" in refuse(
        save(tmp_path, make_raw(make_signal(), pairs))
    )


def test_a_recording_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "_MAX_VALUES", 10_000)
    assert "too much to load" in refuse(save(tmp_path, make_raw(make_signal())))


def test_options_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.edf"
    assert refuse(path, age=130) == "age: 130, accepted: 0 to 120 years"
    assert refuse(path, sex="x") == "sex: 'x', accepted: F or M"
    assert refuse(path) == "recording (.edf): no such file"
    assert refuse(tmp_path / "x.mp3") == "recording: suffix '.mp3', accepted: .edf, .bdf, .fif, .set, .vhdr"
    assert "no such file" in refuse(tmp_path / "x.set")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_one_clear_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{SECRET}_raw{suffix}"
    for data in (b"", b"nonsense" * 200, bytes(5000)):
        path.write_bytes(data)
        assert refuse(path).startswith(f"recording ({suffix}): ")


@pytest.mark.parametrize("suffix", [".edf", ".bdf", ".fif", ".set"])
def test_cut_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path, make_raw(make_signal(seconds=35)), suffix)
    data = path.read_bytes()
    for share in (0.001, 0.02, 0.3, 0.6):
        path.write_bytes(data[: int(len(data) * share)])
        assert refuse(path).startswith(f"recording ({suffix}): ")


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_records_that_the_header_states_and_the_file_lacks_are_told(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path, make_raw(make_signal(seconds=62)), suffix)
    data = path.read_bytes()
    offset = int(data[184:192])
    record_bytes = (len(data) - offset) // int(data[236:244])
    path.write_bytes(data[: offset + 31 * record_bytes + 5])
    assert refuse(path) == (
        f"recording ({suffix}): its header states 62 s, the file holds 31 s; accepted: complete files"
    )
    with pytest.raises(InputError, match="states 62 s, the file holds 31 s"):
        preview_header(path)
    path.write_bytes(data[:236] + b"-1      " + data[244 : offset + 31 * record_bytes])  # as while recording
    assert len(read_recording(path)) == 1
    path.write_bytes(data[:offset])
    assert refuse(path) == f"recording ({suffix}): holds no complete data record"
    path.write_bytes(data[: offset - 10])
    assert refuse(path) == f"recording ({suffix}): ends within its header"


def test_samples_that_a_brainvision_header_states_and_the_file_lacks_are_told(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal(seconds=62)), ".vhdr")
    samples, header = path.with_suffix(".eeg"), path.read_text("utf-8")
    data = samples.read_bytes()
    samples.write_bytes(data[: len(data) // 2 + 5])
    message = "recording (.vhdr): its samples end before the last channel; accepted: complete files"
    assert refuse(path) == message
    with pytest.raises(InputError, match="end before the last channel"):
        preview_header(path)
    samples.write_bytes(data[: len(data) // 2])
    assert len(read_recording(path)) == 1
    path.write_text(header.replace("SamplingInterval", f"DataPoints={62 * 250}\nSamplingInterval"), "utf-8")
    message = "its header states 62 s, the file holds 31 s; accepted: complete files"
    assert refuse(path) == f"recording (.vhdr): {message}"
    with pytest.raises(InputError, match=message):
        preview_header(path)
    samples.write_bytes(data)
    assert len(read_recording(path)) == 2


@pytest.mark.parametrize(
    ("suffix", "what"), [(".edf", "EDF or BDF file"), (".bdf", "EDF or BDF file"), (".vhdr", "BrainVision header")]
)
def test_a_file_of_another_type_is_told(tmp_path: Path, suffix: str, what: str) -> None:
    path = tmp_path / f"{SECRET}{suffix}"
    for data in (b"", b"Dear colleague,\n" * 50, b"[Common Infos]\n"):
        path.write_bytes(data)
        assert refuse(path) == f"recording ({suffix}): is no {what}"


def test_missing_companions_are_told(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal(seconds=31)), ".vhdr")
    path.with_suffix(".eeg").unlink()
    assert refuse(path) == "recording (.vhdr): a file that belongs to it is missing beside it"


def test_a_recording_can_be_treated_like_a_corpus(tmp_path: Path) -> None:
    signal = make_signal()
    signal[4] += 3000 * np.random.default_rng(0).standard_normal(signal.shape[1])
    path = save(tmp_path, make_raw(signal), ".fif")
    config = PreprocessingConfig(ica="none", trial_s=10.0, sfreq_hz=200.0)
    recording = read_recording(path, window_s=30.0, preprocessing=config)
    assert recording.signal_uv is not None
    assert recording.signal_uv.shape == (6, 12, 2000)
    assert recording.sfreq_hz == 200.0
    assert recording.ranks == (1, 2, 3, 4, 5, 6)
    assert f"channels interpolated, in how many of 6 trials: {NAMES[4]} 6" in recording.notes
    assert recording.notes[-1] == "the last 5 s do not fill a window and were left out"
    assert recording.signal_uv.std() < 30


def test_corpus_and_single_file_agree(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal()), ".fif")
    plain = read_recording(path)
    same = read_recording(path, preprocessing=PreprocessingConfig(ica="none", bad_channels="keep"))
    assert plain.signal_uv is not None
    assert same.signal_uv is not None
    inner = slice(250, -250)  # the joints differ: pieces end 20 s after a window, the whole file does not
    np.testing.assert_allclose(same.signal_uv[..., inner], plain.signal_uv[..., inner], atol=0.5)
    assert same.channels == plain.channels


def test_a_name_that_becomes_another_channels_is_no_clash(tmp_path: Path) -> None:
    names = [*NAMES[:10], "T3", "T7"]
    kept = [name for name in names if name != "T7"]
    recording = read_recording(save(tmp_path, make_raw(make_signal(), names), ".fif"))
    assert recording.channels == tuple("T7" if name == "T3" else name for name in kept)


def move_directory_to_the_end(path: Path) -> None:
    """Rewrite a FIF file as older recorders do: the list of tags lies behind the last one, -1 ends it."""
    data = bytearray(path.read_bytes())
    header, tags, at, pointer = struct.Struct(">4i"), [], 0, 0
    while True:
        kind, of_type, length, following = header.unpack_from(data, at)
        if kind == 102:
            header.pack_into(data, at, 108, of_type, length, following)  # what was the list is filling now
            kind = 108
        pointer = at + header.size if kind == 101 else pointer
        tags.append((kind, of_type, length, at))
        if following < 0:
            break
        at = following or at + header.size + length
    entries = b"".join(header.pack(*tag) for tag in tags) + header.pack(-1, -1, -1, -1)
    struct.pack_into(">i", data, pointer, len(data))
    path.write_bytes(bytes(data) + header.pack(102, 32, len(entries), -1) + entries)


def test_fif_whose_directory_lies_behind_its_end_is_read(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal()), ".fif")
    before = read_recording(path)
    move_directory_to_the_end(path)
    assert np.array_equal(read_recording(path).signal_uv, before.signal_uv)
    data = bytearray(path.read_bytes())
    data[-40:-36] = struct.pack(">i", 7)  # an entry that fits no tag
    path.write_bytes(bytes(data))
    assert "its directory lists tags that are not there" in refuse(path)


def test_numbered_channels_ask_for_the_map_of_the_cap(tmp_path: Path) -> None:
    names = [f"{letter}{number}" for letter in "ABCD" for number in range(1, 5)] + ["Status"]
    message = refuse(save(tmp_path, make_raw(make_signal(17), names), ".bdf"))
    assert "numbered" in message
    assert "accepted: 10-10 names such as Fp1" in message


def test_epochs_are_told_from_a_recording(tmp_path: Path) -> None:
    path = tmp_path / f"{SECRET}.set"
    data = make_signal().reshape(12, 5, -1).swapaxes(0, 1)
    events = np.stack([np.arange(5) * data.shape[2], np.zeros(5, dtype=int), np.ones(5, dtype=int)], axis=1)
    export_epochs(str(path), data, 250.0, events, 0.0, 1.0, NAMES, event_id={"x": 1})
    assert refuse(path) == "recording (.set): is cut into epochs; accepted: continuous recordings"


def test_fif_files_of_epochs_and_averages_are_told_from_a_recording(tmp_path: Path) -> None:
    epochs = mne.make_fixed_length_epochs(make_raw(make_signal()), 1.0, preload=True, verbose="ERROR")
    epochs.save(tmp_path / f"{SECRET}-epo.fif", verbose="ERROR")
    epochs.average().save(tmp_path / f"{SECRET}-ave.fif", verbose="ERROR")
    for kind, problem in (
        ("epo", "is cut into epochs; accepted: continuous recordings"),
        ("ave", "holds no raw recording"),
    ):
        path = tmp_path / f"{SECRET}-{kind}.fif"
        assert refuse(path) == f"recording (.fif): {problem}"
        with pytest.raises(InputError, match=problem):
            preview_header(path)
