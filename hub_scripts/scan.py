"""Secrets and traces of a machine in what is about to leave it.

Own patterns instead of a scanner from elsewhere. detect-secrets 1.5 was weighed: its detectors by entropy take the
digests that manifests are full of for secrets (548 findings in one demo run, none of them true), and without these it
finds 19 of the 28 secrets that the tests plant, none of Hugging Face among them. Nothing found here can be waved
through by a baseline file.
"""

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from huggingface_hub import get_token

from cards.private import find_private

#: Files with words in them. Vocabularies (tokenizer.json and the like) hold arbitrary words and are left out.
_TEXTS = {".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".jinja", ".html", ".css", ".py", ".toml", ".csv", ""}
_VOCABULARIES = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"}
_BLOCK = 1 << 22
#: The format allows no longer one.
_LONGEST_HEADER = 100_000_000

#: Beyond what a card is searched for.
_SECRETS: dict[str, re.Pattern[str]] = {
    "a cloud or package key": re.compile(
        r"\bAIza[\w-]{35}\b|\bglpat-[\w-]{20,}|\bpypi-AgEI[\w-]{40,}|\bnpm_\w{36}\b|\bapi_org_\w{30,}"
        r"|\b[rs]k_(?:live|test)_\w{20,}|hooks\.slack\.com/services/\w+/\w+/\w+"
    ),
    "a private key": re.compile(r"PuTTY-User-Key-File-\d"),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "an address with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/@\"']+@"),
    "an authorization header": re.compile(r"\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=-]{24,}", re.IGNORECASE),
    "a password": re.compile(
        r"\b(?:password|passwd|pwd)\b[\"']?\s*[:=]\s*\\?[\"']?(?!null|none|true|false)[^\s\"'\\<{]{8,}"
        # Names such as WANDB_API_KEY or aws_secret_access_key, with something behind them that is long enough.
        r"|(?:api|access|secret|auth|private)_?(?:key|token)\b[\"']?\s*[:=]\s*\\?[\"']?[A-Za-z0-9+/_.=-]{16,}",
        re.IGNORECASE,
    ),
}


def find_secrets(name: str, content: Path | bytes) -> list[str]:
    """Name what a file gives away; what was found is not repeated.

    Texts, and the headers of safetensors, are searched for patterns of secrets and paths. Every file, weights and
    tables too, is searched for the token that this process would push with and for the home directory.

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
    text = _read_text(Path(name), content)
    found |= {*find_private(text), *(what for what, pattern in _SECRETS.items() if pattern.search(text))}
    return sorted(found)


def _read_text(path: Path, content: Path | bytes) -> str:
    """Return the words of a file: all of a text, the header of safetensors, nothing of all else."""
    if path.name in _VOCABULARIES:
        return ""
    if path.suffix in _TEXTS:
        data = content.read_bytes() if isinstance(content, Path) else content
    elif path.suffix == ".safetensors":
        data = _read_header(content)
    else:
        data = b""
    return data.decode("utf-8", errors="replace")


def _read_header(content: Path | bytes) -> bytes:
    """Return the JSON at the beginning of a safetensors file: its length in eight bytes, then so many of them."""
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
        header = stream.read(min(int.from_bytes(stream.read(8), "little"), _LONGEST_HEADER))
    return header if header.startswith(b"{") else b""


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
