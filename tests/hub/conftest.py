"""A server, and the real client in this process, which otherwise stays offline."""

from collections.abc import Iterator

import pytest

from tests.hub_server import TOKEN, HubServer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[HubServer]:
    """Yield a server that the client in this process talks to, over LFS, with a cache of its own and without waits."""
    from huggingface_hub import constants

    with HubServer() as server:
        values = {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "ENDPOINT": server.url}
        values |= {"HF_HUB_CACHE": str(tmp_path / "cache"), "HUGGINGFACE_CO_URL_TEMPLATE": f"{server.url}/{{repo_id}}"}
        values["HUGGINGFACE_CO_URL_TEMPLATE"] += "/resolve/{revision}/{filename}"
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr("hub_scripts.patience.PATIENCE_S", (0.0,) * 5)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server
