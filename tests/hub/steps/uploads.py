"""Files and folders go up: small and large, again, partly, changed, copied, deleted."""

import io

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from tests.hub.steps import CARD, Desk, noise, refuses, step

LARGE = noise(12_000_000)


def _names(desk: Desk) -> set[str]:
    return set(desk.api.list_repo_files("lab/up"))


@step("a folder goes up: card, small files, a large one, a repetitive one")
def _folder(desk: Desk) -> None:
    desk.api.create_repo("lab/up")
    desk.write("f/README.md", CARD)
    desk.write("f/config.json", "{}")
    desk.write("f/m.gguf", LARGE)
    desk.write("f/sub/w.safetensors", noise(2_000, 3))
    desk.write("f/sub/same.bin", b"\0\1\2\3" * 250_000)
    desk.api.upload_folder(repo_id="lab/up", folder_path=desk.folder / "f", commit_message="first")
    assert _names(desk) == {".gitattributes", "README.md", "config.json", "m.gguf", "sub/w.safetensors", "sub/same.bin"}


@step("the same folder again makes no commit")
def _again(desk: Desk) -> None:
    before = desk.api.repo_info("lab/up").sha
    desk.api.upload_folder(repo_id="lab/up", folder_path=desk.folder / "f")
    assert desk.api.repo_info("lab/up").sha == before


@step("delete_patterns removes what the folder no longer has")
def _patterns(desk: Desk) -> None:
    desk.write("g/config.json", '{"a": 1}')
    desk.api.upload_folder(repo_id="lab/up", folder_path=desk.folder / "g", delete_patterns="sub/*")
    assert _names(desk) == {".gitattributes", "README.md", "config.json", "m.gguf"}


@step("bytes and open files go up, large ones too")
def _upload_file(desk: Desk) -> None:
    desk.api.upload_file(repo_id="lab/up", path_in_repo="a/one.txt", path_or_fileobj=b"one")
    desk.api.upload_file(repo_id="lab/up", path_in_repo="a/two.gguf", path_or_fileobj=io.BytesIO(noise(2_000, 5)))
    assert {"a/one.txt", "a/two.gguf"} <= _names(desk)


@step("trees and paths tell size and digest")
def _tree(desk: Desk) -> None:
    rows = {row.path: row for row in desk.api.list_repo_tree("lab/up", recursive=True, expand=True)}
    assert rows["m.gguf"].size == rows["m.gguf"].lfs.size == len(LARGE)
    assert rows["a/one.txt"].blob_id == "43dd47ea691c90a5fa7827892c70241913351963"
    assert rows["a/one.txt"].last_commit.title
    assert [row.path for row in desk.api.list_repo_tree("lab/up", "a")] == ["a/one.txt", "a/two.gguf"]
    found = desk.api.get_paths_info("lab/up", ["a", "config.json", "none"])
    assert [row.path for row in found] == ["a", "config.json"]
    refuses(EntryNotFoundError, lambda: list(desk.api.list_repo_tree("lab/up", "none")))


@step("a commit on an old parent is refused, on the present one made")
def _parent(desk: Desk) -> None:
    add = [CommitOperationAdd("b.txt", b"b")]
    old = desk.api.list_repo_commits("lab/up")[1].commit_id
    refuses(HfHubHTTPError, lambda: desk.api.create_commit("lab/up", add, commit_message="b", parent_commit=old), "412")
    head = desk.api.repo_info("lab/up").sha
    made = desk.api.create_commit("lab/up", add, commit_message="b", parent_commit=head)
    assert made.oid == desk.api.repo_info("lab/up").sha


@step("files are copied without being sent again, and folders deleted")
def _copy(desk: Desk) -> None:
    operations = [CommitOperationCopy("m.gguf", "copy.gguf"), CommitOperationCopy("b.txt", "c.txt")]
    desk.api.create_commit("lab/up", [*operations, CommitOperationDelete("a/")], commit_message="copy")
    rows = {row.path: row for row in desk.api.list_repo_tree("lab/up", recursive=True)}
    assert rows["copy.gguf"].lfs.sha256 == rows["m.gguf"].lfs.sha256
    assert "c.txt" in rows
    assert "a/one.txt" not in rows


@step("deleting what is not there is refused")
def _delete(desk: Desk) -> None:
    refuses(EntryNotFoundError, lambda: desk.api.delete_file("none.txt", "lab/up"), "404")


@step("an empty file is a file")
def _empty(desk: Desk) -> None:
    desk.api.upload_file(repo_id="lab/up", path_in_repo="empty.txt", path_or_fileobj=b"")
    assert desk.api.get_paths_info("lab/up", ["empty.txt"])[0].size == 0


@step("the server honours .gitignore")
def _ignore(desk: Desk) -> None:
    desk.api.upload_file(repo_id="lab/up", path_in_repo=".gitignore", path_or_fileobj=b"*.log\n")
    desk.write("h/run.log", "no")
    desk.write("h/run.txt", "yes")
    desk.api.upload_folder(repo_id="lab/up", folder_path=desk.folder / "h")
    assert "run.txt" in _names(desk)
    assert "run.log" not in _names(desk)


@step("trees of hundreds of files come page by page")
def _many(desk: Desk) -> None:
    add = [CommitOperationAdd(f"many/{number:03}.txt", b"%d" % number) for number in range(300)]
    desk.api.create_commit("lab/up", add, commit_message="many")
    assert sum(name.startswith("many/") for name in _names(desk)) == 300


@step("a Space is a repository with an app")
def _space(desk: Desk) -> None:
    desk.api.create_repo("lab/space", repo_type="space", space_sdk="gradio")
    desk.write("s/README.md", "---\ntitle: A Space\nsdk: gradio\nsdk_version: 6.0.0\napp_file: app.py\n---\n")
    desk.write("s/app.py", "import gradio\n")
    desk.api.upload_folder(repo_id="lab/space", repo_type="space", folder_path=desk.folder / "s")
    assert desk.api.get_space_runtime("lab/space").stage == "RUNNING"
