"""Streams over the loopback interface: the layer itself, no fake."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import mne
import numpy as np
import pytest

from copilot import run_live
from copilot.live.lsl import load_layer, open_stream, stay_on_this_machine
from copilot.live.replay import open_replay, play_recording
from copilot.live.sockets import can_keep_local
from copilot.run_live import main as live
from copilot.run_replay import main as replay
from dataset_builder.errors import CopilotError, InputError
from dataset_builder.types import SCALP_CHANNELS
from tests.copilot.copilot_fakes import FakeEngine, make_signal, write_fake_gguf

pytest.importorskip("mne_lsl")
SFREQ_HZ = 250


@pytest.fixture(scope="module", autouse=True)
def _loopback():
    with stay_on_this_machine(any_interface=not can_keep_local()):
        yield


@pytest.fixture
def name():
    """Return a stream name that no other process on this machine uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def edf(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "made-up.edf"
    signal_v = make_signal(1, len(SCALP_CHANNELS), seconds=60)[0].astype(float) * 1e-6
    info = mne.create_info(list(SCALP_CHANNELS), SFREQ_HZ, "eeg")
    mne.export.export_raw(path, mne.io.RawArray(signal_v, info, verbose="ERROR"), verbose="ERROR")
    return path


def make_outlet(name, channels=SCALP_CHANNELS, unit="microvolts", sfreq_hz=SFREQ_HZ, stype="EEG"):
    lsl = load_layer()
    info = lsl.StreamInfo(name, stype, len(channels), sfreq_hz, "float32", source_id=name)
    if channels[0]:
        info.set_channel_names(list(channels))
    if unit is not None:
        info.set_channel_units([unit] * len(channels))
    return lsl.StreamOutlet(info)


def test_live_reads_a_stream_and_counts_dropped_samples(name, tmp_path, monkeypatch, capsys):
    """From outlet to lines of JSON, with 25 samples lost on the way."""
    monkeypatch.setattr(run_live, "Engine", lambda path, n_threads=None, large_pages=False: FakeEngine("joy"))
    outlet, stop = make_outlet(name), threading.Event()
    samples = make_signal(1, len(SCALP_CHANNELS), seconds=60)[0].T

    def send():
        outlet.wait_for_consumers(timeout=20)
        begun_s, sent = load_layer().local_clock(), 0
        while not stop.is_set() and sent < len(samples) - 125:
            stamps = begun_s + np.arange(sent, sent + 125) / SFREQ_HZ
            kept = slice(25, None) if sent == 3000 else slice(None)
            outlet.push_chunk(np.ascontiguousarray(samples[sent : sent + 125][kept]), stamps[kept])
            sent += 125
            stop.wait(0.02)

    thread = threading.Thread(target=send)
    thread.start()
    model = write_fake_gguf(tmp_path / "tiny-F16.gguf")
    options = ["--every", "0.5", "--duration", "4", "--timeout", "10", "--age", "24", "--jsonl"]
    try:
        assert live(["--model", str(model), "--stream", name, *options]) == 0
    finally:
        stop.set()
        thread.join(timeout=10)
    updates = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(updates) >= 4
    assert updates[0]["dropped"] == 0
    assert updates[-1]["dropped"] == 25
    assert updates[-1]["emotion"] == "joy"
    assert sum(updates[-1]["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert list(tmp_path.iterdir()) == [model]


def test_missing_channels_are_reconstructed_if_asked(name, tmp_path, monkeypatch, capsys):
    engine, stop = FakeEngine("joy"), threading.Event()
    monkeypatch.setattr(run_live, "Engine", lambda path, n_threads=None, large_pages=False: engine)
    few = tuple(channel for channel in SCALP_CHANNELS if channel not in ("Fz", "Cz", "Oz"))
    outlet, samples = make_outlet(name, channels=few), make_signal(1, len(few), seconds=40)[0].T

    def send():
        outlet.wait_for_consumers(timeout=20)
        begun_s = load_layer().local_clock()
        for start in range(0, len(samples), 500):
            stamps = begun_s + np.arange(start, start + 500) / SFREQ_HZ
            outlet.push_chunk(np.ascontiguousarray(samples[start : start + 500]), stamps)
            stop.wait(0.02)
        stop.wait(20)

    model = write_fake_gguf(tmp_path / "tiny-F16.gguf")
    options = ["--model", str(model), "--stream", name, "--age", "24"]
    with pytest.raises(InputError, match="carries no learned one"):
        live([*options, "--fill-channels", "learned"])
    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert live([*options, "--fill-channels", "spline", "--every", "0.5", "--duration", "6", "--jsonl"]) == 0
    finally:
        stop.set()
        thread.join(timeout=10)
    told = capsys.readouterr()
    last = json.loads(told.out.splitlines()[-1])
    assert last["emotion"] == "joy"
    assert last["cautions"][0] == "3 of 30 scalp channels are reconstructed by spherical splines."


def test_replay_sends_the_file_in_microvolts(name, edf):
    raw = open_replay(edf)
    raw.crop(0, 2)
    thread = threading.Thread(target=play_recording, args=(raw,), kwargs={"name": name, "speed": 4, "wait_s": 20})
    thread.start()
    stream = open_stream(name, 10)
    parts = []
    while sum(len(part) for part in parts) < raw.n_times:
        samples, stamps = stream.pull(2.0)
        assert len(stamps), "nothing came"
        parts.append(samples)
    stream.close()
    stream.close()
    thread.join(timeout=10)
    assert (stream.channels, stream.sfreq_hz, stream.unit_uv) == (SCALP_CHANNELS, 250.0, 1.0)
    assert np.concatenate(parts) == pytest.approx(raw.get_data().T * 1e6, abs=1e-3)


def test_no_stream_is_one_line_after_the_timeout(name, tmp_path):
    model = write_fake_gguf(tmp_path / "tiny-F16.gguf")
    with pytest.raises(InputError, match=r"none called .* found in 0.5 s; start one") as caught:
        live(["--model", str(model), "--stream", name, "--timeout", "0.5"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"channels": [f"Sensor {i}" for i in range(12)]}, "0 of 12 channels have a 10-10 name"),
        ({"channels": ("",) * 9}, "does not name its channels"),
        ({"unit": "bananas"}, "unit bananas is not known; accepted: microvolts"),
        ({"sfreq_hz": 0}, "no constant sampling frequency"),
        ({"sfreq_hz": 64}, "sampled at 64 Hz"),
    ],
)
def test_unusable_streams_are_refused_with_one_line(name, how, message):
    outlet = make_outlet(name, **how)
    with pytest.raises(InputError, match=message) as caught:
        open_stream(name, 5)
    assert "\n" not in str(caught.value)
    del outlet


def test_unstated_units_and_other_channels_are_accepted(name):
    outlet = make_outlet(name, channels=(*SCALP_CHANNELS, "ECG", "John Smith"), unit=None)
    stream = open_stream(name, 5)
    assert stream.unit_uv is None
    assert stream.channels == SCALP_CHANNELS
    assert stream.notes == ("2 channels left out: ECG, ch32",)
    stream.close()
    del outlet


@pytest.mark.parametrize("unit", ["volts", "uV", "millivolts"])
def test_units(name, unit):
    outlet = make_outlet(name, unit=unit)
    stream = open_stream(name, 5)
    assert stream.unit_uv == {"volts": 1e6, "uV": 1.0, "millivolts": 1e3}[unit]
    stream.close()
    del outlet


def test_settings_of_the_user_come_back(monkeypatch):
    monkeypatch.setenv("LSLAPICFG", "mine.cfg")
    with stay_on_this_machine():
        path = Path(os.environ["LSLAPICFG"])
        assert "ResolveScope = machine" in path.read_text()
        assert path.parent.stat().st_mode & 0o077 == 0
    assert os.environ["LSLAPICFG"] == "mine.cfg"
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "options", [["--every", "0"], ["--timeout", "-1"], ["--age", "130"], ["--duration", "0"], ["--threads", "0"]]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(CopilotError, match=options[0]):
        live(["--model", "x.gguf", *options])


def test_replay_refuses_impossible_speeds(edf):
    with pytest.raises(CopilotError, match="--speed"):
        replay([str(edf), "--speed", "0"])


@pytest.mark.slow
def test_ctrl_c_ends_both_commands_cleanly(name, edf, tmp_path):
    """In processes of their own, as people run them; the model has no weights, so the engine is a fake."""
    model = write_fake_gguf(tmp_path / "tiny-F16.gguf")
    root = Path(__file__).parents[3]
    start_replay = f"from copilot.run_replay import main; raise SystemExit(main({[str(edf), '--stream', name]}))"
    options = ["--model", str(model), "--stream", name, "--every", "0.3"]
    start_live = (
        "from tests.copilot.copilot_fakes import FakeEngine; from copilot import run_live; "
        "run_live.Engine = lambda path, n_threads=None, large_pages=False: FakeEngine('joy'); "
        f"raise SystemExit(run_live.main({options}))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": root}
    player = subprocess.Popen([sys.executable, "-c", start_replay], **pipes)
    reader = subprocess.Popen([sys.executable, "-c", start_live], **pipes)
    try:
        lines = [reader.stdout.readline() for _ in range(4)]
        for process in (reader, player):
            process.send_signal(signal.SIGINT)
        told, complaint = reader.communicate(timeout=20)
        played = player.communicate(timeout=20)
    finally:
        for process in (reader, player):
            process.kill()
    assert lines[0].startswith(f"stream     {name}: 30 channels used, 250 Hz")
    assert "Collecting" in lines[3]
    assert (reader.returncode, complaint) == (0, "")
    assert told.endswith("stopped; nothing was kept\n")
    assert (player.returncode, played[1]) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-F16.gguf"]
