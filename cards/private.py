"""What must never leave a machine: places on it, and secrets."""

import re

_PRIVATE: dict[str, re.Pattern[str]] = {
    "a path of this machine": re.compile(
        r"(?<![\w./)\]])(?<![\w/]-)/(?:home|Users|root|tmp|mnt|media|scratch|workspace|work|private|var|srv|data\d?)/\w"
        r"|file:/{2,}|\b[A-Za-z]:\\{1,2}\w|(?<![\w.])~/\w"
    ),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an access token": re.compile(
        r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bsk-[A-Za-z0-9_-]{32,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
        r"|\bxox[abprs]-[\w-]{20,}"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"),
}


def find_private(text: str) -> list[str]:
    """Name what a text gives away: paths of a machine, tokens, keys. The findings themselves are not repeated."""
    return [what for what, pattern in _PRIVATE.items() if pattern.search(text)]
