"""Bounded patience with the network: what may succeed later, how long to wait, and what to say when it did not."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError

from cards.private import find_private
from dataset_builder.errors import CopilotError

Result = TypeVar("Result")

#: Seconds to wait before each further attempt.
PATIENCE_S = (1.0, 2.0, 4.0, 8.0, 15.0)
#: The longest ``Retry-After`` that is worth waiting for.
LONGEST_WAIT_S = 300.0

#: How transport errors are called, whichever library the client uses for HTTP.
_BROKEN_LINE = {
    "ConnectionError",
    "TimeoutError",
    "TransportError",
    "LocalEntryNotFoundError",
    "IncompleteSnapshotError",
}
#: Status in the words of the Xet client, whose errors carry no answer.
_STATUS = re.compile(r"(?:status|error|code)\D{0,24}?\b([45]\d\d)\b", re.IGNORECASE)


class HubError(CopilotError):
    """The Hub refused or could not be reached. The message is one line."""


def persist(attempt: Callable[[], Result], what: str, sleep: Callable[[float], None]) -> Result:
    """Call `attempt` until it succeeds, refuses for good, or patience ends.

    Parameters
    ----------
    attempt : callable
        Has to look at the state anew each time: the attempt before may have succeeded without an answer.
    what : str
        Name for messages.
    sleep : callable
        Waits, in seconds.

    Raises
    ------
    HubError
        With one line that tells what the Hub or the line said last.
    """
    for wait in (*PATIENCE_S, None):
        try:
            return attempt()
        except CopilotError:
            raise
        except Exception as error:  # each version of the client has its own transport errors
            asked = read_retry_after(error)
            if wait is None or not is_transient(error) or asked > LONGEST_WAIT_S:
                raise HubError(f"{what}: {say(error)}") from error
            sleep(max(wait, asked))
    raise AssertionError("the last attempt returns or raises")


def is_transient(error: BaseException) -> bool:
    """Tell whether an attempt may succeed later: the branch moved (412), the server is busy or broke, the line did."""
    links = list(_walk(error))
    if any(type(link).__name__ == "OfflineModeIsEnabled" for link in links):
        return False
    for link in links:
        if status := _read_own_status(link):
            return status in (408, 412, 429) or (status >= 500 and status != 507)
    names = {kind.__name__ for link in links for kind in type(link).__mro__}
    return bool(names & _BROKEN_LINE) or type(error) is RuntimeError  # the latter: Xet, whatever went wrong


def read_status(error: BaseException) -> int:
    """Return the HTTP status behind an error, 0 if there was no answer."""
    return next(filter(None, map(_read_own_status, _walk(error))), 0)


def _read_own_status(link: BaseException) -> int:
    response = getattr(link, "response", None)
    if isinstance(link, HfHubHTTPError) and response is not None:
        return int(response.status_code)
    found = _STATUS.findall(str(link)) if isinstance(link, ConnectionError | RuntimeError) else []
    return int(found[-1]) if found else 0


def read_retry_after(error: BaseException) -> float:
    """Return the seconds that the Hub asks to wait, 0 if it does not say; both forms of RFC 9110 are known."""
    for link in _walk(error):
        text = str(getattr(getattr(link, "response", None), "headers", {}).get("Retry-After") or "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            continue
    return 0.0


def say(error: BaseException) -> str:
    """Return one line about what went wrong, without addresses that carry a signature and without local paths."""
    status = read_status(error)
    if status == 401:
        return "401 not signed in, or no right to this repository; sign in with: hf auth login"
    if status == 507:
        return "507 no room left in this account; free some and run the same command again, nothing is sent twice"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"\?[^\s\"')]+", "", lines[-1]) if lines else "no further message"
    if find_private(text):
        text = "no further message"
    told = f"{status} " if status and str(status) not in text[:4] else ""
    return f"{told}{type(error).__name__}: {text}"


def _walk(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it: the client wraps what happens in its threads."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
