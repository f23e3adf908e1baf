"""The tests' own isolation: a guard that lets things through unnoticed would be worse than none."""

import os
import socket
from pathlib import Path

import pytest

from tests.loopback import is_loopback


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_connection_outside_is_refused(method, address):
    with socket.socket() as client, pytest.raises(PermissionError, match="stay on this machine"):
        getattr(client, method)(address)


def test_create_connection_is_refused():
    with pytest.raises(PermissionError, match="192.0.2.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_loopback_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


@pytest.mark.parametrize(
    ("address", "expected"),
    [(("127.0.0.1", 1), True), (("::1", 1, 0, 0), True), ("/run/x.sock", True), (("localhost", 1), True)]
    + [(("10.0.0.1", 1), False), (("localhost.example.org", 1), False), (("::", 1, 0, 0), False)],
)
def test_is_loopback(address, expected):
    assert is_loopback(address) is expected


def test_hugging_face_libraries_see_no_user():
    from huggingface_hub import constants, get_token

    assert constants.HF_HUB_OFFLINE
    assert not get_token()
    assert Path(constants.HF_HOME) == Path(os.environ["HF_HOME"])
    assert not Path(constants.HF_HOME).is_relative_to(Path.home())
