"""What the unmodified Hub client can do, step by step, each area in a process of its own (``python -m``).

An area is a module; its steps run in order, in one process, against the server that the environment names. A step is a
function with a sentence; it passes if it returns.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Areas in the order in which they are told; each is a module here.
AREAS = ("repositories", "uploads", "history", "proposals", "access", "cards", "downloads", "commands", "tables")
#: Module -> its steps.
STEPS: dict[str, list[tuple[str, Callable[["Desk"], None]]]] = {}


class Desk:
    """What a step works with: the client, a folder, and two kinds of content."""

    def __init__(self, folder: Path) -> None:
        from huggingface_hub import HfApi

        self.api, self.folder = HfApi(), folder
        self.kept: dict[str, Any] = {}

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def step(sentence: str) -> Callable[[Callable[[Desk], None]], Callable[[Desk], None]]:
    """Add a function to the steps of its module."""

    def register(function: Callable[[Desk], None]) -> Callable[[Desk], None]:
        STEPS.setdefault(function.__module__.rpartition(".")[2], []).append((sentence, function))
        return function

    return register


def refuses(kind: type[BaseException], call: Callable[[], object], told: str = "") -> None:
    """Expect an error: with that status if `told` is a number, else with these words in its message."""
    caught: BaseException | None = None
    try:
        call()
    except kind as error:
        caught = error
    assert caught is not None, f"was not refused; expected {kind.__name__}"
    response = getattr(caught, "response", None)
    found = str(response.status_code) if told.isdigit() and response is not None else str(caught)
    assert told.lower() in found.lower(), f"expected {told!r}, found {found}"


def noise(size: int, seed: int = 17) -> bytes:
    """Return bytes that no compression shortens and no other file shares."""
    import random

    return random.Random(seed).randbytes(size)


CARD = """---
license: apache-2.0
language: en
tags:
- eeg
---

# A card
"""
