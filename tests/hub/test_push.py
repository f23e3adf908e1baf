"""Publishing against a strict local server, with the real client."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from finished import CORPUS_README, finish_chain, finish_corpus, finish_stage, make_rows
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from cards.render import CardNames
from copilot.cli import main
from dataset_builder.manifest import read_manifest
from hub_scripts import publish
from hub_scripts.patience import HubError
from hub_scripts.payload import collect_payload
from tests.hub_server import LFS_LIMIT, TOKEN


class Told(NamedTuple):
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str


Push = Callable[..., Told]


@pytest.fixture
def push(hub, capsys) -> Push:
    """Return what runs ``eeg-copilot push`` as a person would."""

    def run(*arguments: object) -> Told:
        code = main(["push", *map(str, arguments)])
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    return finish_chain(tmp_path_factory.mktemp("chain"))


def test_dry_run_talks_to_nobody(hub, push, places):
    done = push("gguf", places["gguf"], "--repo-id", "lab/copilot-GGUF")
    assert done.code == 0, done.err
    assert "eeg-copilot-Q8_0.gguf" in done.out
    assert "private if new" in done.out
    assert "dry run" in done.out
    assert hub.requests == []


def test_push_again_and_back(hub, push, places, tmp_path):
    to = ("--repo-id", "lab/copilot-GGUF", "--yes")
    done = push("gguf", places["gguf"], *to)
    assert done.code == 0, done.err
    repo = hub.repo("models", "lab/copilot-GGUF")
    assert repo.private
    assert len(repo.titles) == 2, "the first commit of the server and one of ours"
    manifest = read_manifest(places["gguf"])
    assert set(hub.files("models", repo.name)) == {item.name for item in manifest.outputs} | {
        "README.md",
        "manifest.json",
        ".gitattributes",
    }

    again = push("gguf", places["gguf"], *to)
    assert again.code == 0, again.err
    assert "nothing changed" in again.out
    assert len(repo.titles) == 2

    snapshot_download("lab/copilot-GGUF", local_dir=tmp_path / "back")
    for item in manifest.outputs:
        assert (tmp_path / "back" / item.name).read_bytes() == (places["gguf"] / item.name).read_bytes()
    assert "# copilot-GGUF" in (tmp_path / "back" / "README.md").read_text()


def test_dataset_keeps_its_configs_and_loses_old_shards(hub, push, tmp_path):
    to = ("--repo-id", "lab/eeg-corpus", "--yes")
    finish_corpus(tmp_path / "corpus")
    assert push("dataset", tmp_path / "corpus", *to).code == 0
    repo = hub.repo("datasets", "lab/eeg-corpus")
    files = dict(repo.tree("main"))
    repo.commit("main", files | {"notes/by-someone-else.txt": files["README.md"]}, "a note")

    facts = read_manifest(tmp_path / "corpus").facts
    newer = {
        "README.md": CORPUS_README.replace(b"-abc", b"-def"),
        "data/train-00000-of-00001-def.parquet": make_rows(9),
    }
    finish_stage(tmp_path / "corpus", "corpus", newer, facts=facts)
    done = push("dataset", tmp_path / "corpus", *to)
    assert done.code == 0, done.err
    assert "removed 1" in done.out
    now = hub.files("datasets", "lab/eeg-corpus")
    assert "data/train-00000-of-00001-def.parquet" in now
    assert "data/train-00000-of-00001-abc.parquet" not in now
    assert "notes/by-someone-else.txt" in now
    assert b"path: data/train-00000-of-00001-def.parquet" in now["README.md"]


@pytest.mark.parametrize(
    ("method", "pattern", "kind"),
    [("POST", "/commit/", 412), ("POST", "/commit/", 503), ("POST", "/commit/", "drop"), ("POST", "repos/create", 502)],
)
def test_a_stumbling_hub_is_tried_again(hub, push, places, method, pattern, kind):
    hub.faults.plan(method, pattern, kind)
    done = push("model", places["merged"], "--repo-id", "lab/copilot", "--yes")
    assert done.code == 0, done.err
    assert hub.count(f"{method} .*{pattern}") == 2
    assert len(hub.repo("models", "lab/copilot").titles) == 2


def test_a_commit_whose_answer_was_lost_is_not_repeated(hub, push, places):
    hub.faults.plan("POST", "/commit/", "lost")
    done = push("model", places["merged"], "--repo-id", "lab/copilot", "--yes")
    assert done.code == 0, done.err
    assert "pushed 4 files" in done.out
    assert len(hub.repo("models", "lab/copilot").titles) == 2


def test_somebody_else_is_quicker(hub, push, places):
    """The head moves between reading the tree and committing: the difference is worked out again, nothing is lost."""
    to = ("--repo-id", "lab/copilot", "--yes")
    assert push("model", places["base"], *to).code == 0
    repo = hub.repo("models", "lab/copilot")

    def meddle() -> None:
        files = dict(repo.tree("main"))
        repo.commit("main", files | {"config.json": files["README.md"], "theirs.md": files["README.md"]}, "theirs")

    hub.faults.before_next("POST", "/commit/", meddle)
    done = push("model", places["merged"], *to)
    assert done.code == 0, done.err
    now = hub.files("models", "lab/copilot")
    assert now["config.json"] == (places["merged"] / "config.json").read_bytes()
    assert "theirs.md" in now
    assert len(repo.titles) == 4


def test_patience_ends(hub, places, monkeypatch):
    class Busy(HfApi):
        calls = 0

        def repo_info(self, *_, **__):
            self.calls += 1
            raise ConnectionError("line is dead")

    waited: list[float] = []
    monkeypatch.setattr("hub_scripts.patience.PATIENCE_S", (1.0, 2.0))
    api = Busy()
    payload = collect_payload("model", places["merged"], CardNames(repo_id="lab/copilot"))
    with pytest.raises(HubError, match="lab/copilot: ConnectionError: line is dead"):
        publish.push(payload, publish.Target("lab/copilot"), api, sleep=waited.append)
    assert waited == [1.0, 2.0]
    assert api.calls == 3


def test_branch_and_pull_request(hub, push, places):
    to = ("--repo-id", "lab/copilot", "--yes")
    done = push("model", places["merged"], *to, "--revision", "v1")
    assert done.code == 0, done.err
    assert "config.json" in hub.files("models", "lab/copilot", "v1")
    assert "config.json" not in hub.files("models", "lab/copilot")
    done = push("model", places["merged"], *to, "--pr")
    assert done.code == 0, done.err
    assert "/discussions/1" in done.out
    assert "config.json" in hub.files("models", "lab/copilot", "refs/pr/1")
    assert "config.json" not in hub.files("models", "lab/copilot")


def test_large_file_is_sent_once(hub, push, tmp_path):
    facts = {"base": {"licence": "apache-2.0"}}
    large = bytes(range(256)) * (LFS_LIMIT // 256 + 1)
    finish_stage(tmp_path / "base", "base", {"model.safetensors": large, "config.json": b"{}"}, facts=facts)
    to = ("--repo-id", "lab/base", "--yes")
    assert push("model", tmp_path / "base", *to).code == 0
    assert hub.files("models", "lab/base")["model.safetensors"] == large
    finish_stage(tmp_path / "base", "base", {"model.safetensors": large, "config.json": b"{ }"}, facts=facts)
    assert push("model", tmp_path / "base", *to).code == 0
    assert hub.count("PUT /lfs/") == 1
    assert Path(hf_hub_download("lab/base", "model.safetensors")).read_bytes() == large


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--public",), "--licence-confirmed"),
        (("--pr", "--revision", "v1"), "--pr"),
        (("--base-model", "../pruned"), "namespace/name"),
    ],
)
def test_refusals_before_any_request(hub, push, places, options, message):
    done = push("model", places["merged"], "--repo-id", "lab/copilot", "--yes", *options)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert hub.requests == []


def test_an_existing_public_repository_is_not_filled_by_accident(hub, push, places):
    to = ("--repo-id", "lab/copilot", "--yes")
    assert push("model", places["merged"], *to, "--public", "--licence-confirmed").code == 0
    repo = hub.repo("models", "lab/copilot")
    assert not repo.private
    done = push("model", places["base"], *to)
    assert done.code == 2
    assert "is public" in done.err
    assert len(repo.titles) == 2


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [("hf_wrong", "lab/copilot", "hf auth login"), (TOKEN, "someone/copilot", "403")],
)
def test_the_hub_says_no(hub, push, places, monkeypatch, token, repo_id, message):
    monkeypatch.setenv("HF_TOKEN", token)
    done = push("model", places["merged"], "--repo-id", repo_id, "--yes")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert hub.repos == {}
