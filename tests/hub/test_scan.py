"""Secrets planted where they could be forgotten; each is made up here and written in pieces."""

import base64
import json
import random
import string

import pytest

from dataset_builder.manifest import MANIFEST
from hub_scripts.scan import find_secrets

_RNG = random.Random(17)


def draw(n: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Return a word without meaning."""
    return "".join(_RNG.choice(letters) for _ in range(n))


_UPPER = string.ascii_uppercase + string.digits
_JWT = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
    for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "anna"}, {"signature": draw(20)})
)
PLANTED = {
    "Hugging Face": "hf" + "_" + draw(34),
    "Hugging Face organisation": "api" + "_org_" + draw(34),
    "GitHub": "gh" + "p_" + draw(36),
    "GitHub, fine-grained": "github" + "_pat_" + draw(60),
    "GitLab": "gl" + "pat-" + draw(20),
    "OpenAI": "sk-" + "proj-" + draw(48),
    "AWS key id": "AK" + "IA" + draw(16, _UPPER),
    "AWS temporary key id": "AS" + "IA" + draw(16, _UPPER),
    "AWS secret": "aws_secret_" + 'access_key = "' + draw(40) + '"',
    "AWS secret, bare": "AWS_SECRET_" + "ACCESS_KEY=" + draw(40),
    "Google": "AI" + "za" + draw(35),
    "Slack": "xo" + "xb-" + "123456789012-123456789012-" + draw(24),
    "Slack address": "https://hooks.slack"
    + ".com/services/T"
    + draw(8, _UPPER)
    + "/B"
    + draw(8, _UPPER)
    + "/"
    + draw(24),
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + draw(60),
    "npm": "npm" + "_" + draw(36),
    "Stripe": "sk" + "_live_" + draw(24),
    "Weights and Biases": "WANDB_" + "API_KEY=" + draw(40, "0123456789abcdef"),
    "Synapse": "SYNAPSE_AUTH_" + 'TOKEN="' + draw(60) + '"',
    "web token": _JWT,
    "RSA key": "-----BEGIN RSA PRIVATE" + " KEY-----",
    "OpenSSH key": "-----BEGIN OPENSSH PRIVATE" + " KEY-----",
    "PGP key": "-----BEGIN PGP PRIVATE" + " KEY BLOCK-----",
    "PuTTY key": "PuTTY-User-" + "Key-File-2: ssh-rsa",
    "password in an address": "https://anna" + ":" + draw(12) + "@example.org/x.git",
    "password of a database": "postgresql://anna" + ":" + draw(12) + "@db:5432/eeg",
    "bearer": "Authorization: Bear" + "er " + draw(40),
    "password": "pass" + 'word: "' + draw(12) + '"',
    "password in YAML": "pass" + "word: " + draw(14),
}
#: What our files are full of and what is no secret.
HARMLESS = [
    "sha256: 3ec06c62289ed63ef3092111f8f5ae756e4a56d2cc39783ac543a6e12c059571",
    "commit 2fee5c78c1a0d4f3b2a190817263544536271809",
    "tokens: 4096, tokenizer: qwen2, label_weight: 40.0",
    "https://doi.org/10.1038/s41597-023-02650-w",
    "see https://huggingface.co/lab/eeg-copilot@v1",
    "password: null",
    "basic controls were run on 140 trials; the bearer of the cap sat still",
    "api_key: null",
    "sk-learn, task-and-data-organisation-of-a-corpus",
    "EEG code: 0123456789 0123456789 0123456789 0123456789",
    'The "secret" of this token: none.',
]


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_secrets_are_found_in_every_kind_of_text(kind):
    secret = PLANTED[kind]
    places = {
        "README.md": f"# Title\n\nUse `{secret}` to load it.\n",
        MANIFEST: json.dumps({"facts": {"deep": [{"note": secret}]}}),
        "app.py": f"KEY = '''{secret}'''\n",
        "params": secret,
        "Modelfile": f"FROM x\nSYSTEM {secret}\n",
        "recipe.yaml": f"note: |\n  {secret}\n",
    }
    missed = [name for name, text in places.items() if not find_secrets(name, text.encode())]
    assert missed == []


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_found_is_not_repeated(kind):
    told = " ".join(find_secrets("x.json", json.dumps(PLANTED[kind]).encode()))
    assert told
    assert not any(word in told for word in PLANTED[kind].split() if len(word) > 16)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_our_files_are_full_of_is_no_secret(text):
    assert find_secrets("x.json", json.dumps({"note": text}).encode()) == []
    assert find_secrets("x.md", text.encode()) == []


def test_the_token_in_use_is_found_in_weights_and_tables_too(tmp_path, monkeypatch):
    token = "a-token-of-no-known-form-" + draw(12)
    monkeypatch.setenv("HF_TOKEN", token)
    weights = tmp_path / "model.safetensors"
    border = (1 << 22) - 10  # across two blocks
    weights.write_bytes(b"\0" * border + token.encode() + b"\0" * 100)
    assert find_secrets("model.safetensors", weights) == ["the token of this machine"]
    weights.write_bytes(b"\0" * border)
    assert find_secrets("model.safetensors", weights) == []


def test_weights_are_not_taken_for_text(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(_RNG.randbytes(3_000_000))
    assert find_secrets("model.safetensors", path) == []


def test_secrets_in_the_head_of_weights_are_found(tmp_path):
    """Whoever wrote a file may have left a path in its metadata, which is text whatever follows."""
    header = json.dumps({"__metadata__": {"from": "/ho" + "me/anna/eeg"}}).encode()
    path = tmp_path / "codec.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 1000)
    assert find_secrets("codec.safetensors", path) == ["a path of this machine"]
