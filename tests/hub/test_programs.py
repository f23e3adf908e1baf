"""What other programs ask for when they are started as a card says: the requests of llama.cpp and of ollama."""

import json
import re
import shlex
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from finished import finish_chain, finish_stage

from hub_scripts.run_push import main
from tests.hub_server import HubServer
from tests.hub_server.stranger import list_blocks

FILES = {
    "m-F16.gguf": b"GGUF\x00f16",
    "m-Q4_K_M.gguf": b"GGUF\x00q4",
    "m-Q8_0.gguf": b"GGUF\x00q8",
    "template": b"{{ .Prompt }}",
    "system": b"You read EEG.",
    "params": b'{"temperature": 0.0}',
    "report.html": b"<html></html>",
}


@pytest.fixture
def published(hub: HubServer, tmp_path: Path) -> str:
    """Push GGUF files, show them to all, and return their card."""
    places = finish_chain(tmp_path / "run")
    finish_stage(tmp_path / "g", "gguf", FILES, (places["merged"], places["corpus"]))
    assert main(["gguf", str(tmp_path / "g"), "--repo-id", "lab/g-GGUF", "--yes"]) == 0
    hub.repo("models", "lab/g-GGUF").private = False
    return hub.files("models", "lab/g-GGUF")["README.md"].decode()


def get(url: str) -> bytes:
    """Ask as a program without a token does; redirects are followed."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def find_command(card: str, program: str) -> list[str]:
    """Return the words of the one line of a card that starts a program."""
    blocks = list_blocks(card, "bash")
    (line,) = [line for block in blocks for line in block.splitlines() if line.startswith(f"{program} ")]
    return shlex.split(line)


def test_llama_server_finds_the_file_that_the_card_names(hub, published):
    name, kind = find_command(published, "llama-server")[-1].split(":")
    branches = json.loads(get(f"{hub.url}/api/models/{name}/refs"))["branches"]
    sha = next(branch["targetCommit"] for branch in branches if branch["name"] == "main")
    rows = json.loads(get(f"{hub.url}/api/models/{name}/tree/{sha}?recursive=true"))
    models = [row["path"] for row in rows if row["path"].endswith(".gguf")]
    assert not any(re.search("mmproj|imatrix|mtp-|eagle3-|dflash-|dspark-", path) for path in models)
    assert not any(re.search(r"-\d{5}-of-\d{5}", path) for path in models), "ollama refuses files in parts"
    assert "preset.ini" not in {row["path"] for row in rows}, "llama.cpp would load that alone"
    (file,) = [path for path in models if re.search(rf"{kind}[.-]", path, re.IGNORECASE)]
    assert get(f"{hub.url}/{name}/resolve/{sha}/{file}") == FILES["m-Q4_K_M.gguf"]


def test_ollama_gets_model_template_system_and_params(hub, published):
    place, tag = find_command(published, "ollama")[-1].removeprefix("hf.co/").split(":")
    image = json.loads(get(f"{hub.url}/v2/{place}/manifests/{tag}"))
    layers = {layer["mediaType"].rpartition(".")[2]: layer["digest"] for layer in image["layers"]}
    contents = {layer: get(f"{hub.url}/v2/{place}/blobs/{digest}") for layer, digest in layers.items()}
    assert contents == {
        "model": FILES["m-Q4_K_M.gguf"],
        "template": FILES["template"],
        "system": FILES["system"],
        "params": FILES["params"],
    }
    assert json.loads(get(f"{hub.url}/v2/{place}/manifests/latest"))["layers"] == image["layers"]


def test_each_kind_of_file_has_a_tag(hub, published):
    digests = set()
    for kind in ("F16", "q8_0", "Q4_K_M"):
        image = json.loads(get(f"{hub.url}/v2/lab/g-GGUF/manifests/{kind}"))
        digests.add(image["layers"][0]["digest"])
    assert len(digests) == 3
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(f"{hub.url}/v2/lab/g-GGUF/manifests/IQ3_M")
