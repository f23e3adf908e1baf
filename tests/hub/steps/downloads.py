"""Files come down: into the cache, into a folder, by revision."""

from pathlib import Path

from huggingface_hub import HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub.steps import CARD, Desk, noise, refuses, step

LARGE, REPEATED = noise(12_000_000, 23), noise(70_000, 29) * 40


@step("files that went up come down byte for byte")
def _equal(desk: Desk) -> None:
    desk.api.create_repo("lab/d")
    for name, data in {"README.md": CARD, "sub/m.gguf": LARGE, "same.gguf": REPEATED}.items():
        desk.write(f"f/{name}", data)
    desk.api.upload_folder(repo_id="lab/d", folder_path=desk.folder / "f")
    assert Path(hf_hub_download("lab/d", "sub/m.gguf")).read_bytes() == LARGE
    assert Path(hf_hub_download("lab/d", "same.gguf")).read_bytes() == REPEATED
    assert Path(hf_hub_download("lab/d", "README.md")).read_text() == CARD


@step("a tag gives what was there then")
def _tag(desk: Desk) -> None:
    desk.api.create_tag("lab/d", tag="v1")
    desk.api.upload_file(repo_id="lab/d", path_in_repo="README.md", path_or_fileobj=CARD.encode() + b"more\n")
    assert Path(hf_hub_download("lab/d", "README.md", revision="v1")).read_text() == CARD
    assert Path(hf_hub_download("lab/d", "README.md")).read_text().endswith("more\n")


@step("what is not there is told apart: file, revision, repository")
def _missing(desk: Desk) -> None:
    refuses(EntryNotFoundError, lambda: hf_hub_download("lab/d", "none.txt"))
    refuses(RevisionNotFoundError, lambda: hf_hub_download("lab/d", "README.md", revision="nope"))
    refuses(RepositoryNotFoundError, lambda: hf_hub_download("lab/none", "README.md"))


@step("a snapshot comes into the cache, into a folder, and from the cache alone")
def _snapshot(desk: Desk) -> None:
    cached = Path(snapshot_download("lab/d"))
    assert (cached / "sub/m.gguf").stat().st_size == len(LARGE)
    folder = Path(snapshot_download("lab/d", local_dir=desk.folder / "back"))
    assert (folder / "same.gguf").read_bytes() == REPEATED
    assert Path(snapshot_download("lab/d", local_files_only=True)) == cached


@step("the file system lists and reads a range")
def _file_system(desk: Desk) -> None:
    system = HfFileSystem()
    assert {row["name"] for row in system.ls("lab/d/sub")} == {"lab/d/sub/m.gguf"}
    with system.open("lab/d/sub/m.gguf", "rb", block_size=1 << 16) as stream:
        stream.seek(5_000_000)
        assert stream.read(1000) == LARGE[5_000_000:5_001_000]
