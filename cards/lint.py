"""Problems of a card that the Hub would refuse, ignore or, worst, publish."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from cards.vocabulary import LIBRARIES, LICENCES, RELATIONS, SIZES, TASKS, is_hub_id, is_language

_PLACEHOLDERS = re.compile(
    r"more information needed|please[- ]specify|\busername/|\bnamespace/name\b|\byour[-_ ](?:user)?name\b"
    r"|\bTODO\b|\bFIXME\b|\blorem ipsum\b|\{\{\s|\{%",
    re.IGNORECASE,
)

#: What must never leave a machine: places on it, and secrets.
_PRIVATE: dict[str, re.Pattern[str]] = {
    "a path of this machine": re.compile(
        r"(?<![\w.:/)\]-])/(?:home|Users|root|tmp|mnt|media|scratch|workspace|work|private|var|srv|data\d?)/\w"
        r"|file:/{2,}|\b[A-Za-z]:\\{1,2}\w|(?<![\w.])~/\w"
    ),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an access token": re.compile(
        r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{32,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abpr]-[\w-]{20,}"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}


def lint_card(text: str) -> list[str]:
    """List what is wrong with a card.

    Parameters
    ----------
    text : str
        A README.md with YAML front matter.

    Returns
    -------
    list of str
        One line per problem; empty if the card may be published.
    """
    header, problem = read_front_matter(text)
    if problem:
        return [problem, *_lint_words(text)]
    problems = [*_lint_licence(header), *_lint_language(header), *_lint_lists(header), *_lint_ids(header)]
    return problems + _lint_configs(header) + _lint_words(text)


def read_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the YAML block at the very top of a card, and what is wrong with it (empty if nothing is)."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", text, flags=re.DOTALL)
    if not match:
        return {}, "front matter: none at the very top; the Hub would see no metadata"
    try:
        header = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        return {}, f"front matter: not valid YAML ({getattr(error, 'problem', None) or type(error).__name__})"
    if not isinstance(header, dict):
        return {}, f"front matter: expected a mapping of keys, found {type(header).__name__}"
    return header, ""


def find_private(text: str) -> list[str]:
    """Name what a text gives away: paths of a machine, tokens, keys. The findings themselves are not repeated."""
    return [what for what, pattern in _PRIVATE.items() if pattern.search(text)]


def _lint_licence(header: dict[str, Any]) -> Iterator[str]:
    licences = _as_list(header.get("license"))
    if not licences:
        yield "license: missing"
    yield from (f"license: {name!r} is not an identifier of the Hub" for name in licences if name not in LICENCES)
    if "other" in licences:
        yield from (
            f"{key}: needed with license: other" for key in ("license_name", "license_link") if not header.get(key)
        )


def _lint_language(header: dict[str, Any]) -> Iterator[str]:
    for code in _as_list(header.get("language")):
        if code is False:
            yield "language: no is read as false; quote it"
        elif not is_language(code):
            yield f"language: {code!r} is not a lower-case ISO 639 code"


def _lint_lists(header: dict[str, Any]) -> Iterator[str]:
    allowed = {
        "size_categories": SIZES,
        "task_categories": TASKS,
        "library_name": LIBRARIES,
        "base_model_relation": RELATIONS,
    }
    for key, words in allowed.items():
        for word in _as_list(header.get(key)):
            if word not in words:
                yield f"{key}: {word!r} is not one of {', '.join(sorted(words))}"
    if not all(isinstance(tag, str) for tag in _as_list(header.get("tags"))):
        yield "tags: every tag must be text"


def _lint_ids(header: dict[str, Any]) -> Iterator[str]:
    for key in ("base_model", "datasets"):
        for name in _as_list(header.get(key)):
            if not is_hub_id(name):
                yield f"{key}: {name!r} is not of the form namespace/name"
    if header.get("base_model_relation") and not header.get("base_model"):
        yield "base_model_relation: given without base_model"


def _lint_configs(header: dict[str, Any]) -> list[str]:
    configs = _as_list(header.get("configs"))
    if not all(isinstance(config, dict) and config.get("config_name") for config in configs):
        return ["configs: every config needs a config_name"]
    defaults = [config["config_name"] for config in configs if config.get("default")]
    return [f"configs: {len(defaults)} are marked default; one can be"] if len(defaults) > 1 else []


def _lint_words(text: str) -> list[str]:
    placeholders = sorted({match.group() for match in _PLACEHOLDERS.finditer(text)})
    return [f"text: placeholder {word!r}" for word in placeholders] + [
        f"text: holds {what}" for what in find_private(text)
    ]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
