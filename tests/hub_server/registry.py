"""What ollama asks the Hub for: a model as an image of layers, made from the files of a GGUF repository."""

import hashlib
import json
import re

from tests.hub_server.http import NAME, Answer, Request, reply, route
from tests.hub_server.store import Blob, Files, Refusal

_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
#: Files at the root that become layers of their own.
_LAYERS = ("template", "system", "params")
_DEFAULT = "Q4_K_M"


@route("GET", rf"/v2/{NAME}/manifests/(?P<tag>[\w.-]+)")
def describe_image(request: Request, name: str, tag: str) -> Answer:
    """Return the layers of a tag: a kind of quantisation, the name of a file, or ``latest``."""
    repo = request.find("models", name)
    request.need_access(repo)
    files = repo.tree("main")
    chosen = choose_file(files, tag)
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", chosen):
        raise Refusal(400, "The specified repository contains sharded GGUF. Ollama does not support this yet.")
    if "params" in files:
        _check_params(files["params"].data)
    layers = [_describe(files[chosen], "model")]
    layers += [_describe(files[layer], layer) for layer in _LAYERS if layer in files]
    config = json.dumps({"model_format": "gguf", "file_type": tag, "rootfs": {"type": "layers"}}).encode()
    head = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": _digest(config)}
    body = {"schemaVersion": 2, "mediaType": _DOCKER, "config": head | {"size": len(config)}, "layers": layers}
    return reply(body, Content_Type=_DOCKER)


@route("GET", rf"/v2/{NAME}/blobs/sha256:(?P<sha256>[0-9a-f]{{64}})")
def send_layer(request: Request, name: str, sha256: str) -> Answer:
    """Send a small layer, or say where a large one is."""
    repo = request.find("models", name)
    request.need_access(repo)
    blob = next((blob for blob in repo.tree("main").values() if blob.sha256 == sha256), None)
    if blob is None:
        raise Refusal(404, "blob unknown")
    if blob.lfs:
        return Answer(307, headers={"Location": f"{request.hub.cdn_url}/cdn/{sha256}/layer"})
    return Answer(200, blob.data, {"Docker-Content-Digest": f"sha256:{sha256}"})


def choose_file(files: Files, tag: str) -> str:
    """Return the GGUF file that a tag means."""
    models = sorted(path for path in files if path.endswith(".gguf") and "/" not in path)
    wanted = _DEFAULT if tag == "latest" else tag.removesuffix(".gguf")
    found = [path for path in models if re.search(rf"{re.escape(wanted)}[.-]", path, re.IGNORECASE)]
    if tag == "latest":
        found += models
    if not found:
        raise Refusal(400, f"The specified tag is not available in the repository: {tag}")
    return found[0]


def _check_params(data: bytes) -> None:
    try:
        if isinstance(json.loads(data), dict):
            return
    except ValueError:
        pass
    raise Refusal(400, "params is not a JSON object")


def _describe(blob: Blob, layer: str) -> dict[str, object]:
    media = f"application/vnd.ollama.image.{layer}"
    return {"mediaType": media, "digest": f"sha256:{blob.sha256}", "size": len(blob.data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
