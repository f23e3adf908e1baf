"""Secrets and traces of a machine in what is about to leave it.

Own patterns instead of a scanner from elsewhere: manifests are full of digests, which every detector by entropy takes
for secrets, and nothing found here may be waved through by a baseline file.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from huggingface_hub import get_token

from cards.lint import find_private

#: Files with words in them. Vocabularies (tokenizer.json and the like) hold arbitrary words and are left out.
_TEXTS = {".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".jinja", ".html", ".css", ".py", ".toml", ".csv", ""}
_VOCABULARIES = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"}
_BLOCK = 1 << 22

#: Beyond what a card is searched for.
_SECRETS: dict[str, re.Pattern[str]] = {
    "a cloud or package key": re.compile(r"\bAIza[\w-]{35}\b|\bglpat-[\w-]{20,}|\bpypi-AgEI[\w-]{40,}|\bnpm_\w{36}\b"),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "an address with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/@\"']+@"),
    "an authorization header": re.compile(r"\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=-]{24,}", re.IGNORECASE),
    "a password": re.compile(r"\b(?:password|passwd|secret_key|api_key)\b\W{1,4}[\"'][^\"'\s]{8,}[\"']", re.IGNORECASE),
}


def find_secrets(name: str, content: Path | bytes) -> list[str]:
    """Name what a file gives away; what was found is not repeated.

    Texts are searched for patterns of secrets and paths. Every file, weights and tables too, is searched for the token
    that this process would push with and for the home directory.

    Parameters
    ----------
    name : str
        Path in the repository.
    content : Path or bytes

    Returns
    -------
    list of str
        Empty if nothing was found.
    """
    literals = list_literals()
    found = {what for block in _read_blocks(content) for what, secret in literals.items() if secret in block}
    path = Path(name)
    if path.suffix in _TEXTS and path.name not in _VOCABULARIES:
        data = content.read_bytes() if isinstance(content, Path) else content
        text = data.decode("utf-8", errors="replace")
        found |= {*find_private(text), *(what for what, pattern in _SECRETS.items() if pattern.search(text))}
    return sorted(found)


def list_literals() -> dict[str, bytes]:
    """Return what may stand in no file at all: the token in use, the home directory."""
    home, token = str(Path.home()), get_token()
    literals = {"the token of this machine": token.encode()} if token and len(token) >= 16 else {}
    # A short home, as of a superuser, is a plain word that any vocabulary may hold.
    return literals | ({"the home directory": f"{home}/".encode()} if home.count("/") >= 2 else {})


def _read_blocks(content: Path | bytes) -> Iterator[bytes]:
    """Yield the content in blocks that overlap enough for a literal on their border."""
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        tail = b""
        for block in iter(partial(stream.read, _BLOCK), b""):
            yield tail + block
            tail = block[-256:]
