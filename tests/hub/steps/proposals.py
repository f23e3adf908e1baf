"""Pull requests and discussions."""

from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from tests.hub.steps import Desk, noise, refuses, step


@step("a proposal without a commit is a draft, and a commit may follow")
def _draft(desk: Desk) -> None:
    desk.api.create_repo("lab/p")
    made = desk.api.create_pull_request("lab/p", "a folder")
    assert (made.num, made.status) == (1, "draft")
    desk.write("f/a.txt", "a")
    desk.write("f/w.safetensors", noise(2_000))
    desk.api.upload_folder(repo_id="lab/p", folder_path=desk.folder / "f", revision="refs/pr/1")
    assert not desk.api.file_exists("lab/p", "a.txt")


@step("a file is proposed")
def _file(desk: Desk) -> None:
    made = desk.api.upload_file(repo_id="lab/p", path_in_repo="b.txt", path_or_fileobj=b"b", create_pr=True)
    assert made.pr_num == 2
    assert desk.api.get_discussion_details("lab/p", 2).status == "open"


@step("a commit goes to an open proposal")
def _more(desk: Desk) -> None:
    add = [CommitOperationAdd("c.txt", b"c")]
    desk.api.create_commit("lab/p", add, commit_message="c", revision="refs/pr/2")
    assert desk.api.file_exists("lab/p", "c.txt", revision="refs/pr/2")


@step("a draft is opened and merged")
def _merge(desk: Desk) -> None:
    refuses(HfHubHTTPError, lambda: desk.api.merge_pull_request("lab/p", 1), "400")
    desk.api.change_discussion_status("lab/p", 1, "open")
    desk.api.merge_pull_request("lab/p", 1)
    assert desk.api.get_discussion_details("lab/p", 1).status == "merged"
    assert {"a.txt", "w.safetensors"} <= set(desk.api.list_repo_files("lab/p"))


@step("refs and lists tell proposals")
def _refs(desk: Desk) -> None:
    refs = desk.api.list_repo_refs("lab/p", include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1", "refs/pr/2"]
    assert [d.num for d in desk.api.get_repo_discussions("lab/p", discussion_status="open")] == [2]


@step("a folder is proposed")
def _folder(desk: Desk) -> None:
    desk.write("f/d.txt", "d")
    assert desk.api.upload_folder(repo_id="lab/p", folder_path=desk.folder / "f", create_pr=True).pr_num == 3
    assert desk.api.file_exists("lab/p", "d.txt", revision="refs/pr/3")


@step("people talk")
def _talk(desk: Desk) -> None:
    number = desk.api.create_discussion("lab/p", "A question", description="why?").num
    assert desk.api.comment_discussion("lab/p", number, "because").content == "because"
    assert desk.api.rename_discussion("lab/p", number, "An answer").new_title == "An answer"
    assert desk.api.get_discussion_details("lab/p", number).title == "An answer"
