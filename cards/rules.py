"""The Hub's closed lists as the linter knows them; see ``hub_rules.yaml`` for where they come from."""

from functools import cache
from importlib.resources import files

import yaml


@cache
def list_words(name: str) -> frozenset[str]:
    """Return one closed list of ``hub_rules.yaml``, for example ``"licences"`` or ``"tasks"``."""
    return frozenset(_read_rules()[name].split())


@cache
def list_languages() -> frozenset[str]:
    """Return all codes of ISO 639-1 and ISO 639-3, and the two words that the Hub takes beside them."""
    lines = files("cards").joinpath("iso_639.txt").read_text(encoding="utf-8").splitlines()
    codes = " ".join(line for line in lines if not line.startswith("#")).split()
    return frozenset(codes) | {"multilingual", "code"}


@cache
def _read_rules() -> dict[str, str]:
    rules: dict[str, str] = yaml.safe_load(files("cards").joinpath("hub_rules.yaml").read_text(encoding="utf-8"))
    return rules
