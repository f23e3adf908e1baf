"""Branches, tags, commits, squashing."""

from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.hub.steps import Desk, refuses, step


@step("a branch is made once, and again only with exist_ok")
def _branch(desk: Desk) -> None:
    desk.api.create_repo("lab/h")
    desk.api.create_branch("lab/h", branch="dev")
    refuses(HfHubHTTPError, lambda: desk.api.create_branch("lab/h", branch="dev"), "409")
    desk.api.create_branch("lab/h", branch="dev", exist_ok=True)


@step("commits on a branch leave main alone")
def _commit(desk: Desk) -> None:
    desk.api.upload_file(repo_id="lab/h", path_in_repo="x.txt", path_or_fileobj=b"x", revision="dev")
    assert not desk.api.file_exists("lab/h", "x.txt")
    assert desk.api.file_exists("lab/h", "x.txt", revision="dev")


@step("a tag is made once, and again only with exist_ok")
def _tag(desk: Desk) -> None:
    desk.api.create_tag("lab/h", tag="v1", tag_message="first", revision="dev")
    refuses(HfHubHTTPError, lambda: desk.api.create_tag("lab/h", tag="v1"), "409")
    desk.api.create_tag("lab/h", tag="v1", exist_ok=True)
    assert desk.api.repo_info("lab/h", revision="v1").sha == desk.api.repo_info("lab/h", revision="dev").sha


@step("refs tell branches and tags")
def _refs(desk: Desk) -> None:
    refs = desk.api.list_repo_refs("lab/h")
    assert [ref.name for ref in refs.branches] == ["main", "dev"]
    assert [ref.ref for ref in refs.tags] == ["refs/tags/v1"]


@step("nobody commits to a tag")
def _no_commit(desk: Desk) -> None:
    upload = {"repo_id": "lab/h", "path_in_repo": "y.txt", "path_or_fileobj": b"y"}
    refuses(HfHubHTTPError, lambda: desk.api.upload_file(**upload, revision="v1"), "400")


@step("an unknown revision is not found")
def _unknown(desk: Desk) -> None:
    refuses(RevisionNotFoundError, lambda: desk.api.repo_info("lab/h", revision="nope"))


@step("commits are listed, newest first")
def _commits(desk: Desk) -> None:
    titles = [commit.title for commit in desk.api.list_repo_commits("lab/h", revision="dev")]
    assert titles == ["Upload x.txt with huggingface_hub", "initial commit"]


@step("squashing leaves one commit and all files")
def _squash(desk: Desk) -> None:
    desk.api.super_squash_history("lab/h", branch="dev", commit_message="one")
    assert [commit.title for commit in desk.api.list_repo_commits("lab/h", revision="dev")] == ["one"]
    assert desk.api.file_exists("lab/h", "x.txt", revision="dev")


@step("branches and tags are deleted")
def _delete(desk: Desk) -> None:
    desk.api.delete_branch("lab/h", branch="dev")
    desk.api.delete_tag("lab/h", tag="v1")
    refs = desk.api.list_repo_refs("lab/h")
    assert ([ref.name for ref in refs.branches], refs.tags) == (["main"], [])
    refuses(HfHubHTTPError, lambda: desk.api.delete_branch("lab/h", branch="main"), "400")
