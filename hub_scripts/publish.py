"""Push a payload: one commit, private by default, nothing when nothing changed, bounded patience with the network."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from dataset_builder.errors import InputError
from hub_scripts.patience import persist
from hub_scripts.payload import Payload, PayloadFile
from hub_scripts.plan import Plan, find_proposal, find_repository, make_plan

Gate = Literal["auto", "manual"]


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
        Whether the repository is to be public. An existing public one is refused unless this is set.
    gated : str, False or None
        Who may read files: everybody who asks (``"auto"``), those you let in (``"manual"``), all who see the repository
        (False). None: data sets get ``"manual"`` with their first push, everything else stays as it is.
    create_pr : bool
        Propose the commit as a pull request.
    tag : str, optional
        Name of a version; never moved once it exists.
    """

    repo_id: str
    revision: str = "main"
    public: bool = False
    gated: Gate | Literal[False] | None = None
    create_pr: bool = False
    tag: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a push did. `url` is None when nothing had changed; `notes` tells what was done beside the commit."""

    url: str | None
    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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

    Unchanged files are not sent, nor are large files that an interrupted push already brought there. When somebody
    else commits in between, or the line breaks, the difference is worked out again from the new state: a commit or a
    proposal whose answer was lost is recognised and not repeated.

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
        If the repository is public and `target` is not, a tag would have to move, or ``HF_HUB_OFFLINE`` is set.
    """
    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set: nothing was sent; unset it to push")
    return persist(_Effort(payload, target, api).attempt, target.repo_id, sleep)


@dataclass
class _Effort:
    """One push over all its attempts: what was begun is remembered, everything else is read from the Hub anew."""

    payload: Payload
    target: Target
    api: HfApi
    begun: Outcome | None = None
    over_lfs: bool = False
    where: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.where = {"repo_id": self.target.repo_id, "repo_type": self.payload.repo_type}

    def attempt(self) -> Outcome:
        info = self._open_repository()
        plan = make_plan(self.payload, self.api, self.target.repo_id, str(info.sha))
        self._check_tag(plan)
        notes = self._set_gate(info, plan)
        outcome = self._settle(plan)
        notes += [] if self.target.create_pr else [*self._make_public(info), *self._set_tag()]
        return replace(outcome, notes=tuple(notes))

    def _open_repository(self) -> Any:
        """Make sure that repository and branch exist; return what the Hub tells of the branch."""
        info = find_repository(self.payload, self.api, self.target.repo_id)
        if info is None:
            if self.target.create_pr:
                raise InputError(f"--pr: there is no {self.payload.repo_type} {self.target.repo_id} to propose this to")
            sdk = self.payload.sdk or None
            self.api.create_repo(**self.where, private=not self.target.public, exist_ok=True, space_sdk=sdk)
            info = self.api.repo_info(**self.where)
        if not info.private and not self.target.public:
            raise InputError(f"{self.target.repo_id}: is public; add --public --licence-confirmed to push there")
        if self.target.revision == "main":
            return info
        self.api.create_branch(**self.where, branch=self.target.revision, exist_ok=True)
        return self.api.repo_info(**self.where, revision=self.target.revision)

    def _settle(self, plan: Plan) -> Outcome:
        """Commit, or find that it is there already."""
        if plan.is_done:
            return replace(self.begun, url=self._address(f"commit/{plan.head}")) if self.begun else Outcome(url=None)
        if self.target.create_pr:
            number = find_proposal(self.payload, self.api, self.target.repo_id)
            if number is not None:
                return replace(self.begun or Outcome(url=None), url=self._address(f"discussions/{number}"))
        self.begun = Outcome(None, tuple(file.name for file in plan.changed), plan.stale)
        commit = self._commit(plan)
        return replace(self.begun, url=str(commit.pr_url or commit.commit_url))

    def _commit(self, plan: Plan) -> CommitInfo:
        try:
            return self._send(plan)
        except ConnectionError as error:
            # A server without Xet answers 404 to the wish for a Xet token; open files always go over LFS.
            if self.over_lfs or "xet-write-token" not in str(error) or "404" not in str(error):
                raise
            self.over_lfs = True
            return self._send(plan)

    def _send(self, plan: Plan) -> CommitInfo:
        kind, target = self.payload.kind, self.target
        with ExitStack() as opened:
            added = [self._add(file, opened) for file in plan.changed]
            removed = [CommitOperationDelete(path_in_repo=name) for name in plan.stale]
            return self.api.create_commit(
                **self.where,
                operations=[*added, *removed],
                commit_message=f"{kind}: {len(added)} files, {len(removed)} removed",
                commit_description=f"payload sha256:{self.payload.digest}",
                revision=target.revision,
                parent_commit=plan.head,
                create_pr=target.create_pr,
            )

    def _add(self, file: PayloadFile, opened: ExitStack) -> CommitOperationAdd:
        content = file.content
        as_stream = self.over_lfs and isinstance(content, Path)
        source = opened.enter_context(content.open("rb")) if as_stream and isinstance(content, Path) else content
        operation = CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=source)
        if operation.upload_info.sha256.hex() != file.sha256:
            raise InputError(f"{file.name}: changed while it was being pushed; nothing was committed, push again")
        return operation

    def _set_gate(self, info: Any, plan: Plan) -> list[str]:
        """Close the gate before the first data arrive behind it."""
        wanted = self.target.gated
        if wanted is None and self.payload.kind == "dataset" and plan.first and not getattr(info, "gated", None):
            wanted = "manual"
        if wanted is None or self.target.create_pr or (getattr(info, "gated", None) or False) == wanted:
            return []
        self.api.update_repo_settings(**self.where, gated=wanted)
        return [f"gated: {wanted}" if wanted else "no longer gated"]

    def _make_public(self, info: Any) -> list[str]:
        """Open an existing private repository, last, when all that is to be seen is there."""
        if not (self.target.public and info.private):
            return []
        self.api.update_repo_settings(**self.where, private=False)
        return ["made public"]

    def _check_tag(self, plan: Plan) -> None:
        """Refuse before anything is sent to move a tag."""
        at = self._find_tag()
        if at is not None and (not plan.is_done or at != plan.head):
            held = make_plan(self.payload, self.api, self.target.repo_id, at)
            if not (plan.is_done and held.is_done):
                raise InputError(f"--tag: {self.target.tag!r} exists and holds other files; tags are not moved")

    def _set_tag(self) -> list[str]:
        if self.target.tag is None or self._find_tag() is not None:
            return []
        try:
            self.api.create_tag(**self.where, tag=self.target.tag, revision=self.target.revision)
        except HfHubHTTPError as error:
            if error.response is None or error.response.status_code != 409:
                raise
        return [f"tagged {self.target.tag}"]

    def _find_tag(self) -> str | None:
        """Return the commit of the tag, or None if there is no such tag."""
        if self.target.tag is None:
            return None
        if self.target.tag not in {tag.name for tag in self.api.list_repo_refs(**self.where).tags}:
            return None
        try:
            return str(self.api.repo_info(**self.where, revision=self.target.tag).sha)
        except RevisionNotFoundError:
            return None

    def _address(self, rest: str) -> str:
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[self.payload.repo_type]
        return f"{self.api.endpoint}/{prefix}{self.target.repo_id}/{rest}"
