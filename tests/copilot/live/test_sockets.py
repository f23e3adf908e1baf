"""Ports of the layer's library can be reached from this machine and from no other."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copilot.live import sockets
from copilot.live.lsl import stay_on_this_machine
from copilot.live.sockets import can_keep_local, keep_ports_local
from copilot.run_live import main as live
from copilot.run_replay import main as replay
from dataset_builder.errors import InputError

needs_linux = pytest.mark.skipif(not can_keep_local(), reason="this system cannot keep ports local")
NAMESPACES = ["unshare", "--map-root-user", "--net"]
ROOT = Path(__file__).parents[3]


def read_card(opened: socket.socket) -> bytes:
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0")


def open_everywhere(kind: int = socket.SOCK_STREAM) -> socket.socket:
    opened = socket.socket(socket.AF_INET, kind)
    opened.bind(("0.0.0.0", 0))
    if kind == socket.SOCK_STREAM:
        opened.listen()
    return opened


@needs_linux
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_new_ports_are_tied_and_others_left_alone(kind):
    local = socket.create_server(("127.0.0.1", 0))
    with local, open_everywhere(kind) as before, keep_ports_local() as guard, open_everywhere(kind) as after:
        guard.sweep()
        assert [read_card(one) for one in (before, after, local)] == [b"", b"lo", b""]
        assert guard.sweep() == 0


@needs_linux
def test_ports_are_tied_without_being_asked_soon_after_they_open():
    with keep_ports_local(), open_everywhere() as opened:
        for _ in range(400):
            if read_card(opened):
                break
            time.sleep(0.005)
        assert read_card(opened) == b"lo"
        with socket.create_connection(("127.0.0.1", opened.getsockname()[1]), timeout=5) as client:
            taken, _ = opened.accept()
            client.sendall(b"x")
            assert taken.recv(1) == b"x"
            taken.close()


@needs_linux
def test_nothing_is_tied_afterwards():
    with keep_ports_local():
        pass
    with open_everywhere() as opened:
        time.sleep(0.05)
        assert read_card(opened) == b""


def test_files_and_unix_sockets_are_no_matter(tmp_path):
    pair = socket.socketpair()
    guard = sockets.PortGuard()
    another = socket.socketpair()
    with (tmp_path / "file").open("w"):
        assert guard.sweep() == 0
    for one in (*pair, *another):
        one.close()


@pytest.mark.parametrize("command", ["live", "replay"])
def test_systems_that_cannot_are_refused_with_one_line(command, monkeypatch, tmp_path):
    pytest.importorskip("mne_lsl")
    monkeypatch.setattr(sockets, "can_keep_local", lambda: False)
    monkeypatch.setattr("copilot.run_replay.open_replay", lambda path: None)
    run = live if command == "live" else replay
    with pytest.raises(InputError, match="--any-interface") as error:
        run(["--model", str(tmp_path / "absent.gguf")] if command == "live" else [str(tmp_path / "absent.edf")])
    assert "\n" not in str(error.value)


def test_any_interface_lets_them_go_on(monkeypatch):
    pytest.importorskip("mne_lsl")
    monkeypatch.setattr(sockets, "can_keep_local", lambda: False)
    with stay_on_this_machine(any_interface=True) as guard:
        assert guard is None


#: Two machines: network namespaces that this program makes itself, joined by a cable of their own. One streams, the
#: other tries all ports of the layer at the first one's address.
TWO_MACHINES = """
import json, subprocess, sys, time
import numpy as np
from copilot.live.lsl import load_layer, stay_on_this_machine

def ip(*words, inside=()):
    subprocess.run([*inside, "ip", *words], check=True)

ip("link", "set", "lo", "up")
other = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo there; exec sleep 100"], stdout=subprocess.PIPE)
other.stdout.readline()
try:
    inside = ["nsenter", "--target", str(other.pid), "--net"]
    ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
    for card, address, where in (("here", "10.9.9.1/24", ()), ("there", "10.9.9.2/24", inside)):
        ip("addr", "add", address, "dev", card, inside=where)
        ip("link", "set", card, "up", inside=where)
    look = '''
import json, socket, sys
found = []
for port in map(int, sys.argv[1:]):
    try:
        socket.create_connection(("10.9.9.1", port), timeout=2).close()
        found.append(port)
    except OSError:
        pass
print(json.dumps(found))
'''
    with stay_on_this_machine(any_interface=sys.argv[1] == "any") as guard:
        lsl = load_layer()
        outlet = lsl.StreamOutlet(lsl.StreamInfo("x", "EEG", 2, 100, "float32", source_id="x"))
        if guard:
            guard.sweep()  # what the watching thread has not tied yet
        ports = [line.split()[1].split(":")[1] for line in open("/proc/self/net/tcp").readlines()[1:]]
        ports = [str(int(port, 16)) for port in ports]
        reached = json.loads(subprocess.run([*inside, sys.executable, "-c", look, *ports], capture_output=True).stdout)
        inlet = lsl.StreamInlet(lsl.resolve_streams(timeout=10, name="x")[0])
        inlet.open_stream(timeout=10)
        got = 0
        for _ in range(50):
            outlet.push_chunk(np.ones((10, 2), dtype=np.float32))
            got += len(inlet.pull_chunk(timeout=0.1)[1])
    print(json.dumps({"ports": len(ports), "reached": len(reached), "got": got}))
finally:
    other.kill()
"""


def have_namespaces() -> bool:
    """Tell whether this user may make network namespaces and join them."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    probe = "ip link add here type veth peer name there"
    return subprocess.run([*NAMESPACES, "sh", "-c", probe], capture_output=True).returncode == 0


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("how", ["kept", "any"])
def test_another_machine_finds_no_port_and_this_one_gets_samples(how):
    pytest.importorskip("mne_lsl")
    if not have_namespaces():
        pytest.skip("no network namespaces here")
    command = [*NAMESPACES, sys.executable, "-c", TWO_MACHINES, how]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ports"] > 0
    assert found["got"] > 0
    assert (found["reached"] > 0) is (how == "any")  # without the guard it would be heard
