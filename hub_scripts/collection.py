"""One collection on the Hub that holds the repositories of one work."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from huggingface_hub import HfApi

from dataset_builder.errors import InputError
from hub_scripts.patience import persist

#: The Hub takes titles below this length.
_TITLE_LENGTH = 60


@dataclass(frozen=True)
class Member:
    """A repository of a collection."""

    repo_id: str
    repo_type: str


def check_title(title: str) -> None:
    """Refuse a title that the Hub would refuse.

    Raises
    ------
    InputError
        With the accepted length.
    """
    if not 0 < len(title.strip()) < _TITLE_LENGTH:
        raise InputError(f"--collection: found {len(title.strip())} characters, accepted 1 to {_TITLE_LENGTH - 1}")


def link_repositories(
    title: str,
    members: Sequence[Member],
    api: HfApi,
    *,
    public: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put repositories into the collection of that title, which is made if there is none; none is put in twice.

    Parameters
    ----------
    title : str
    members : sequence of Member
        All of one namespace, which the collection belongs to.
    api : HfApi
    public : bool
        Whether a new collection can be seen by all.
    sleep : callable
        Waits between attempts; replaceable for tests.

    Returns
    -------
    str
        The collection's address.

    Raises
    ------
    HubError
        If the Hub refuses, or still fails after the last attempt.
    """
    namespace = members[0].repo_id.split("/")[0]

    def attempt() -> str:
        found = api.create_collection(title.strip(), namespace=namespace, private=not public, exists_ok=True)
        for member in members:
            api.add_collection_item(found.slug, member.repo_id, item_type=member.repo_type, exists_ok=True)  # type: ignore[arg-type]
        return f"{api.endpoint}/collections/{found.slug}"

    return persist(attempt, f"collection {title.strip()!r}", sleep)
