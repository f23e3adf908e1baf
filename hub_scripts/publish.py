"""Push a payload: one commit, private by default, nothing when nothing changed, bounded patience with the network."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from dataset_builder.errors import CopilotError, InputError
from dataset_builder.manifest import MANIFEST
from hub_scripts.payload import Payload, PayloadFile

#: Seconds to wait before each further attempt.
PATIENCE_S = (1.0, 4.0, 15.0)


class HubError(CopilotError):
    """The Hub refused or could not be reached. The message is one line."""


@dataclass(frozen=True)
class Target:
    """Where a push goes.

    Parameters
    ----------
    repo_id : str
        ``namespace/name``.
    revision : str
        Branch; made from ``main`` if it does not exist.
    public : bool
        Whether a new repository is public. An existing public one is refused unless this is set.
    create_pr : bool
        Propose the commit as a pull request.
    """

    repo_id: str
    revision: str = "main"
    public: bool = False
    create_pr: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a push did. `url` is None when nothing had changed."""

    url: str | None
    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


def check_licence(payload: Payload, *, public: bool, confirmed: bool) -> None:
    """Refuse a public push whose licence nobody has confirmed, or is not known at all.

    Raises
    ------
    InputError
        With what is missing.
    """
    if not public:
        return
    if payload.licence == "unknown":
        raise InputError("--public: no manifest tells the licence of what this was made from; push it private")
    if not confirmed:
        raise InputError(f"--public: confirm with --licence-confirmed that {payload.licence!r} lets you publish this")


def push(payload: Payload, target: Target, api: HfApi, sleep: Callable[[float], None] = time.sleep) -> Outcome:
    """Bring the repository to what `payload` holds, in one commit.

    Unchanged files are not sent. Files that an earlier push of ours listed in its manifest and that are no longer part
    of the stage are deleted; files of anybody else are left alone. When somebody else commits in between, or the line
    breaks, the difference is worked out again from the new state, so that a commit whose answer was lost is not
    repeated.

    Parameters
    ----------
    payload : Payload
    target : Target
    api : HfApi
        Holds endpoint and token.
    sleep : callable
        Waits between attempts; replaceable for tests.

    Returns
    -------
    Outcome

    Raises
    ------
    HubError
        If the Hub refuses, or still fails after the last attempt.
    InputError
        If the repository is public and `target` is not.
    """
    waits = () if target.create_pr else PATIENCE_S  # a repeated proposal would be a second one
    for wait in (*waits, None):
        try:
            return _push_once(payload, target, api)
        except CopilotError:
            raise
        except Exception as error:  # each version of the client has its own transport errors
            if wait is None or not is_transient(error):
                raise HubError(f"{target.repo_id}: {_say(error)}") from error
            sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def is_transient(error: BaseException) -> bool:
    """Tell whether an attempt may succeed later: the branch moved (412), the server is busy or broke, the line did."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return error.response.status_code in (412, 429) or error.response.status_code >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OfflineModeIsEnabled" not in names and bool(names & {"ConnectionError", "TimeoutError", "TransportError"})


def _push_once(payload: Payload, target: Target, api: HfApi) -> Outcome:
    head = _open_repository(payload, target, api)
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": payload.repo_type}
    remote = {
        entry.path: entry
        for entry in api.list_repo_tree(**where, revision=head, recursive=True)
        if isinstance(entry, RepoFile)
    }
    changed = [file for file in payload.files if not _is_same(file, remote.get(file.name))]
    stale = sorted(_list_earlier(payload, target, api, head, remote) - {file.name for file in payload.files})
    if not changed and not stale:
        return Outcome(url=None)
    commit = api.create_commit(
        **where,
        operations=[
            *(CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content) for file in changed),
            *(CommitOperationDelete(path_in_repo=name) for name in stale),
        ],
        commit_message=f"{payload.kind}: {len(changed)} files, {len(stale)} removed",
        revision=target.revision,
        parent_commit=head,
        create_pr=target.create_pr,
    )
    uploaded = tuple(file.name for file in changed)
    return Outcome(url=str(commit.pr_url or commit.commit_url), uploaded=uploaded, deleted=tuple(stale))


def _open_repository(payload: Payload, target: Target, api: HfApi) -> str:
    """Make sure that repository and branch exist; return the branch's head."""
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": payload.repo_type}
    try:
        info = api.repo_info(**where)
    except RepositoryNotFoundError:
        api.create_repo(**where, private=not target.public, exist_ok=True)
        info = api.repo_info(**where)
    if not info.private and not target.public:
        raise InputError(f"{target.repo_id}: is public; add --public --licence-confirmed to push there")
    if target.revision != "main":
        api.create_branch(**where, branch=target.revision, exist_ok=True)
        info = api.repo_info(**where, revision=target.revision)
    return str(info.sha)


def _is_same(file: PayloadFile, remote: RepoFile | None) -> bool:
    if remote is None or remote.size != file.bytes:
        return False
    return remote.lfs.sha256 == file.sha256() if remote.lfs else remote.blob_id == file.git_sha1()


def _list_earlier(payload: Payload, target: Target, api: HfApi, head: str, remote: dict[str, RepoFile]) -> set[str]:
    """Return the files in the repository that an earlier push listed in the manifest there."""
    if MANIFEST not in remote:
        return set()
    try:
        path = api.hf_hub_download(target.repo_id, MANIFEST, repo_type=payload.repo_type, revision=head)
        with open(path, encoding="utf-8") as stream:
            listed = {item["name"] for item in json.load(stream)["outputs"]}
    except (EntryNotFoundError, ValueError, KeyError, TypeError):
        return set()  # not a manifest of ours: then nothing there is ours to delete
    return listed & set(remote)


def _say(error: BaseException) -> str:
    """Return the first line of what went wrong, with the status if there was an answer."""
    response = getattr(error, "response", None)
    status = f"{response.status_code} " if response is not None else ""
    if status.startswith("401"):
        return "401 not signed in, or no right to this repository; sign in with: hf auth login"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{status}{type(error).__name__}: {lines[-1] if lines else 'no further message'}"
