"""The difference between a payload and a repository, worked out from digests alone."""

import json
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cards.assets import ASSETS
from dataset_builder.manifest import MANIFEST
from hub_scripts.payload import Payload, PayloadFile

#: Open proposals that are compared with a payload before a new one is made.
_PROPOSALS = 20


@dataclass(frozen=True)
class Plan:
    """What one commit has to do.

    Parameters
    ----------
    head : str
        The commit that it starts from.
    changed : tuple of PayloadFile
        New and changed files.
    stale : tuple of str
        Files of an earlier push of ours that the stage no longer has.
    first : bool
        True if nothing of ours was there.
    """

    head: str
    changed: tuple[PayloadFile, ...]
    stale: tuple[str, ...]
    first: bool

    @property
    def is_done(self) -> bool:
        """True if the repository already holds all of it."""
        return not self.changed and not self.stale


def make_plan(payload: Payload, api: HfApi, repo_id: str, head: str) -> Plan:
    """Compare a payload with a commit.

    Files that an earlier push of ours listed in its manifest, or put beside its card, and that are no longer part of
    the stage will be deleted; files of anybody else are left alone.
    """
    remote = _list_files(payload, api, repo_id, head)
    changed = tuple(file for file in payload.files if not _is_same(file, remote.get(file.name)))
    earlier = _list_earlier(payload, api, repo_id, head) if MANIFEST in remote else set()
    # What lies beside a card is in no manifest: it is known by its name.
    earlier |= {name for name in remote if name.startswith(ASSETS) and MANIFEST in remote}
    stale = sorted((earlier & set(remote)) - {file.name for file in payload.files})
    return Plan(head=head, changed=changed, stale=tuple(stale), first=MANIFEST not in remote)


def find_proposal(payload: Payload, api: HfApi, repo_id: str) -> int | None:
    """Return the number of an open pull request that already proposes exactly this payload, or None."""
    where: dict[str, Any] = {"repo_id": repo_id, "repo_type": payload.repo_type}
    refs = api.list_repo_refs(**where, include_pull_requests=True).pull_requests or []
    newest = sorted(refs, key=lambda ref: int(ref.ref.rpartition("/")[2]), reverse=True)
    for ref in newest[:_PROPOSALS]:
        number = int(ref.ref.rpartition("/")[2])
        same = make_plan(payload, api, repo_id, ref.target_commit).is_done
        if same and api.get_discussion_details(**where, discussion_num=number).status in ("open", "draft"):
            return number
    return None


def _list_files(payload: Payload, api: HfApi, repo_id: str, head: str) -> dict[str, RepoFile]:
    rows = api.list_repo_tree(repo_id, repo_type=payload.repo_type, revision=head, recursive=True)
    return {row.path: row for row in rows if isinstance(row, RepoFile)}


def _is_same(file: PayloadFile, remote: RepoFile | None) -> bool:
    if remote is None or remote.size != file.bytes:
        return False
    return remote.lfs.sha256 == file.sha256 if remote.lfs else remote.blob_id == file.git_sha1


def _list_earlier(payload: Payload, api: HfApi, repo_id: str, head: str) -> set[str]:
    """Return the files that an earlier push listed in the manifest at that commit.

    A manifest that cannot be fetched is an error and not an empty list, else old files would stay beside new ones.
    """
    path = api.hf_hub_download(repo_id, MANIFEST, repo_type=payload.repo_type, revision=head)
    try:
        with open(path, encoding="utf-8") as stream:
            return {str(item["name"]) for item in json.load(stream)["outputs"]}
    except (ValueError, KeyError, TypeError):
        return set()  # not a manifest of ours: then nothing there is ours to delete


def find_repository(payload: Payload, api: HfApi, repo_id: str, revision: str | None = None) -> Any | None:
    """Return what the Hub tells of a repository, or None if there is none (or none that this token may see)."""
    try:
        return api.repo_info(repo_id, repo_type=payload.repo_type, revision=revision)
    except RepositoryNotFoundError as error:
        if error.response is not None and error.response.status_code == 401:
            raise
        return None
