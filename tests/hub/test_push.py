"""Publishing against a strict local server, with the real client in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished import CORPUS_README, finish_chain, finish_corpus, finish_stage
from hub_server import LFS_LIMIT, TOKEN, HubServer

from dataset_builder.manifest import read_manifest

ROOT = Path(__file__).parents[2]


class Client:
    """Runs commands as a person would, with a cache of its own."""

    def __init__(self, server: HubServer, home: Path) -> None:
        drop = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE")
        self.env = {key: value for key, value in os.environ.items() if key not in drop} | {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT),
        }

    def python(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=120, check=False)

    def push(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "copilot.cli", "push", *map(str, arguments), **env)


@pytest.fixture
def server():
    with HubServer() as running:
        yield running


@pytest.fixture
def client(server, tmp_path):
    return Client(server, tmp_path / "hf-home")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return finish_chain(tmp_path_factory.mktemp("chain"))


def test_dry_run_talks_to_nobody(server, client, places):
    done = client.push("gguf", places["gguf"], "--repo-id", "lab/copilot-GGUF")
    assert done.returncode == 0, done.stderr
    assert "eeg-copilot-Q8_0.gguf" in done.stdout
    assert "private if new" in done.stdout
    assert "dry run" in done.stdout
    assert server.requests == []


def test_push_again_and_back(server, client, places, tmp_path):
    to = ("--repo-id", "lab/copilot-GGUF", "--yes")
    done = client.push("gguf", places["gguf"], *to)
    assert done.returncode == 0, done.stderr
    repo = server.repo("models", "lab/copilot-GGUF")
    assert repo.private
    assert len(repo.titles) == 2, "the first commit of the server and one of ours"
    manifest = read_manifest(places["gguf"])
    assert set(server.files("models", repo.name)) == {item.name for item in manifest.outputs} | {
        "README.md",
        "manifest.json",
        ".gitattributes",
    }

    again = client.push("gguf", places["gguf"], *to)
    assert again.returncode == 0, again.stderr
    assert "nothing changed" in again.stdout
    assert len(repo.titles) == 2

    fetch = "import sys, huggingface_hub as hub; hub.snapshot_download('lab/copilot-GGUF', local_dir=sys.argv[1])"
    assert client.python("-c", fetch, str(tmp_path / "back")).returncode == 0
    for item in manifest.outputs:
        assert (tmp_path / "back" / item.name).read_bytes() == (places["gguf"] / item.name).read_bytes()
    assert "# copilot-GGUF" in (tmp_path / "back" / "README.md").read_text()


def test_dataset_keeps_its_configs_and_loses_old_shards(server, client, tmp_path):
    to = ("--repo-id", "lab/eeg-corpus", "--yes")
    finish_corpus(tmp_path / "corpus")
    assert client.push("dataset", tmp_path / "corpus", *to).returncode == 0
    repo = server.repo("datasets", "lab/eeg-corpus")
    files = dict(repo.commits[repo.branches["main"]])
    repo.commit("main", files | {"notes/by-someone-else.txt": files["README.md"]}, "a note")

    facts = read_manifest(tmp_path / "corpus").facts
    newer = {"README.md": CORPUS_README.replace(b"-abc", b"-def"), "data/train-00000-of-00001-def.parquet": b"PAR1\x00"}
    finish_stage(tmp_path / "corpus", "corpus", newer, facts=facts)
    done = client.push("dataset", tmp_path / "corpus", *to)
    assert done.returncode == 0, done.stderr
    assert "removed 1" in done.stdout
    now = server.files("datasets", "lab/eeg-corpus")
    assert "data/train-00000-of-00001-def.parquet" in now
    assert "data/train-00000-of-00001-abc.parquet" not in now
    assert "notes/by-someone-else.txt" in now
    assert b"path: data/train-00000-of-00001-def.parquet" in now["README.md"]


def test_a_pushed_corpus_loads_by_name(server, client, tmp_path):
    """The front matter that the card took over is what `load_dataset` reads."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"emotion": ["joy", "fear"], "clip": [1, 2]}), sink)
    finish_corpus(tmp_path / "corpus", parquet=sink.getvalue().to_pybytes())
    assert client.push("dataset", tmp_path / "corpus", "--repo-id", "lab/eeg-corpus", "--yes").returncode == 0
    load = "from datasets import load_dataset; print(load_dataset('lab/eeg-corpus', split='train').to_list())"
    done = client.python("-c", load)
    assert done.stdout.strip() == "[{'emotion': 'joy', 'clip': 1}, {'emotion': 'fear', 'clip': 2}]", done.stderr


@pytest.mark.parametrize(
    ("method", "pattern", "status"),
    [("POST", "/commit/", 412), ("POST", "/commit/", 503), ("POST", "/commit/", 0), ("POST", "repos/create", 502)],
)
def test_a_stumbling_hub_is_tried_again(server, client, places, method, pattern, status):
    server.fail_next(method, pattern, status)
    done = client.push("model", places["merged"], "--repo-id", "lab/copilot", "--yes")
    assert done.returncode == 0, done.stderr
    assert server.count(f"{method} .*{pattern}") == 2
    assert len(server.repo("models", "lab/copilot").titles) == 2


def test_a_commit_whose_answer_was_lost_is_not_repeated(server, client, places):
    server.fail_next("POST", "/commit/", 0, after=True)
    done = client.push("model", places["merged"], "--repo-id", "lab/copilot", "--yes")
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stdout
    assert len(server.repo("models", "lab/copilot").titles) == 2


def test_somebody_else_is_quicker(server, client, places):
    """The head moves between reading the tree and committing: the difference is worked out again, nothing is lost."""
    to = ("--repo-id", "lab/copilot", "--yes")
    assert client.push("model", places["base"], *to).returncode == 0
    repo = server.repo("models", "lab/copilot")

    def meddle() -> None:
        files = dict(repo.commits[repo.branches["main"]])
        repo.commit("main", files | {"config.json": files["README.md"], "theirs.md": files["README.md"]}, "theirs")

    server.before_next("POST", "/commit/", meddle)
    done = client.push("model", places["merged"], *to)
    assert done.returncode == 0, done.stderr
    now = server.files("models", "lab/copilot")
    assert now["config.json"] == (places["merged"] / "config.json").read_bytes()
    assert "theirs.md" in now
    assert len(repo.titles) == 4


def test_patience_ends(server, places):
    from huggingface_hub import HfApi

    from cards.render import CardNames
    from hub_scripts.payload import collect_payload
    from hub_scripts.publish import PATIENCE_S, HubError, Target, push

    class Busy(HfApi):
        calls = 0

        def repo_info(self, *_, **__):
            self.calls += 1
            raise ConnectionError("line is dead")

    waited: list[float] = []
    api = Busy()
    payload = collect_payload("model", places["merged"], CardNames(repo_id="lab/copilot"))
    with pytest.raises(HubError, match="lab/copilot: ConnectionError: line is dead"):
        push(payload, Target("lab/copilot"), api, sleep=waited.append)
    assert waited == list(PATIENCE_S)
    assert api.calls == len(PATIENCE_S) + 1


def test_branch_and_pull_request(server, client, places):
    to = ("--repo-id", "lab/copilot", "--yes")
    done = client.push("model", places["merged"], *to, "--revision", "v1")
    assert done.returncode == 0, done.stderr
    assert "config.json" in server.files("models", "lab/copilot", "v1")
    assert "config.json" not in server.files("models", "lab/copilot")
    done = client.push("model", places["merged"], *to, "--pr")
    assert done.returncode == 0, done.stderr
    assert "/discussions/1" in done.stdout
    assert "config.json" in server.files("models", "lab/copilot", "refs/pr/1")
    assert "config.json" not in server.files("models", "lab/copilot")


def test_large_file_is_sent_once(server, client, tmp_path):
    facts = {"base": {"licence": "apache-2.0"}}
    large = bytes(range(256)) * (LFS_LIMIT // 256 + 1)
    finish_stage(tmp_path / "base", "base", {"model.safetensors": large, "config.json": b"{}"}, facts=facts)
    to = ("--repo-id", "lab/base", "--yes")
    assert client.push("model", tmp_path / "base", *to).returncode == 0
    assert server.files("models", "lab/base")["model.safetensors"] == large
    finish_stage(tmp_path / "base", "base", {"model.safetensors": large, "config.json": b"{ }"}, facts=facts)
    assert client.push("model", tmp_path / "base", *to).returncode == 0
    assert server.count("PUT /lfs/") == 1
    fetch = "import huggingface_hub as hub; print(hub.hf_hub_download('lab/base', 'model.safetensors'))"
    done = client.python("-c", fetch)
    assert Path(done.stdout.strip()).read_bytes() == large


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--public",), "--licence-confirmed"),
        (("--pr", "--revision", "v1"), "--pr"),
        (("--base-model", "../pruned"), "namespace/name"),
    ],
)
def test_refusals_before_any_request(server, client, places, options, message):
    done = client.push("model", places["merged"], "--repo-id", "lab/copilot", "--yes", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert server.requests == []


def test_an_existing_public_repository_is_not_filled_by_accident(server, client, places):
    to = ("--repo-id", "lab/copilot", "--yes")
    assert client.push("model", places["merged"], *to, "--public", "--licence-confirmed").returncode == 0
    repo = server.repo("models", "lab/copilot")
    assert not repo.private
    done = client.push("model", places["base"], *to)
    assert done.returncode == 2
    assert "is public" in done.stderr
    assert len(repo.titles) == 2


@pytest.mark.parametrize(
    ("env", "repo_id", "message"),
    [
        ({"HF_TOKEN": "hf_wrong"}, "lab/copilot", "hf auth login"),
        ({}, "someone/copilot", "403"),
        ({"HF_HUB_OFFLINE": "1"}, "lab/copilot", "ffline"),
    ],
)
def test_the_hub_says_no(server, client, places, env, repo_id, message):
    done = client.push("model", places["merged"], "--repo-id", repo_id, "--yes", **env)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert server.repos == {}
