"""Tokens and gates: who sees a repository, who reads its files, who writes."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.hub.steps import Desk, refuses, step
from tests.hub_server.store import READER_TOKEN

GUEST, NOBODY = HfApi(token=READER_TOKEN), HfApi(token=False)


@step("a private repository is not there for others")
def _private(desk: Desk) -> None:
    desk.api.create_repo("lab/a", private=True)
    desk.api.upload_file(repo_id="lab/a", path_in_repo="x.txt", path_or_fileobj=b"x")
    for other in (GUEST, NOBODY):
        refuses(RepositoryNotFoundError, lambda other=other: other.model_info("lab/a"))


@step("a token that nobody has is refused")
def _bad(desk: Desk) -> None:
    refuses(HfHubHTTPError, lambda: HfApi(token="hf_wrong").whoami(), "401")


@step("a reader reads what is public and writes nothing")
def _reader(desk: Desk) -> None:
    desk.api.update_repo_settings("lab/a", private=False)
    assert GUEST.file_exists("lab/a", "x.txt")
    upload = {"repo_id": "lab/a", "path_in_repo": "y.txt", "path_or_fileobj": b"y"}
    refuses(HfHubHTTPError, lambda: GUEST.upload_file(**upload), "403")
    refuses(HfHubHTTPError, lambda: GUEST.delete_repo("lab/a"), "403")


@step("a gate lets see but not read")
def _gate(desk: Desk) -> None:
    desk.api.update_repo_settings("lab/a", gated="manual")
    assert NOBODY.model_info("lab/a").gated == "manual"
    for other in (GUEST, NOBODY):
        fetch = {"repo_id": "lab/a", "filename": "x.txt", "local_dir": desk.folder / "closed"}
        refuses(GatedRepoError, lambda other=other, fetch=fetch: other.hf_hub_download(**fetch))
        refuses(GatedRepoError, lambda other=other: other.auth_check("lab/a"))


@step("whoever is let in reads")
def _grant(desk: Desk) -> None:
    desk.api.grant_access("lab/a", "guest")
    assert [request.username for request in desk.api.list_accepted_access_requests("lab/a")] == ["guest"]
    assert Path(GUEST.hf_hub_download("lab/a", "x.txt", local_dir=desk.folder / "open")).read_text() == "x"


@step("whoever is put out reads no longer")
def _reject(desk: Desk) -> None:
    desk.api.reject_access_request("lab/a", "guest", rejection_reason="no")
    refuses(GatedRepoError, lambda: GUEST.auth_check("lab/a"))
