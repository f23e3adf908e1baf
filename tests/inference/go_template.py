"""A strict reader of the part of Go's text/template that our template uses: if, else if, else, range, eq, fields.

Anything else is refused, so that a template cannot leave this subset unnoticed. White space is trimmed as Go does it
(https://pkg.go.dev/text/template): by ``{{-`` before an action and ``-}}`` after it.
"""

import re
from collections.abc import Mapping
from typing import Any

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """Render a template."""
    steps = _cut(template)
    text, rest = _render(steps, data)
    if rest:
        raise ValueError(f"unexpected {rest[0][1]}")
    return text


def _cut(template: str) -> list[tuple[str, str]]:
    """Return texts and actions in their order."""
    steps, place, trim = [], 0, False
    for match in _ACTION.finditer(template):
        text = template[place : match.start()]
        text = text.lstrip() if trim else text
        steps += [("text", text.rstrip() if match[1] else text), ("action", match[2])]
        place, trim = match.end(), bool(match[3])
    tail = template[place:]
    if "{{" in tail or "}}" in tail:
        raise ValueError("an action is not closed")
    return [*steps, ("text", tail.lstrip() if trim else tail)]


def _render(steps: list[tuple[str, str]], data: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Render up to the ``else`` or ``end`` that belongs to somebody outside."""
    out = ""
    while steps:
        kind, value = steps[0]
        if kind == "text":
            out, steps = out + value, steps[1:]
        elif value == "end" or value.split()[0] == "else":
            return out, steps
        elif value.startswith("if "):
            text, steps = _render_if(value[3:], steps[1:], data)
            out += text
        elif value.startswith("range "):
            text, steps = _render_range(value[6:], steps[1:], data)
            out += text
        else:
            out, steps = out + str(_read(value, data)), steps[1:]
    return out, []


def _render_if(
    condition: str, steps: list[tuple[str, str]], data: Mapping[str, Any]
) -> tuple[str, list[tuple[str, str]]]:
    holds = _holds(condition, data)
    text, steps = _render(steps, data)
    shown = text if holds else ""
    while steps and steps[0][1] != "end":
        branch = steps[0][1].removeprefix("else").strip()
        text, steps = _render(steps[1:], data)
        if branch and not branch.startswith("if "):
            raise ValueError(f"unknown branch {branch}")
        taken = not holds and (not branch or _holds(branch[3:], data))
        shown, holds = (text if taken else shown), holds or taken
    if not steps:
        raise ValueError("if without end")
    return shown, steps[1:]


def _render_range(
    name: str, steps: list[tuple[str, str]], data: Mapping[str, Any]
) -> tuple[str, list[tuple[str, str]]]:
    items, inside = _read(name, data), steps
    out = "".join(_render(inside, item)[0] for item in items)
    rest = _render(inside, items[0] if items else {})[1]
    if not rest or rest[0][1] != "end":
        raise ValueError("range without end")
    return out, rest[1:]


def _holds(condition: str, data: Mapping[str, Any]) -> bool:
    if found := re.fullmatch(r'eq (\.\w+) "([^"\\]*)"', condition):
        return bool(_read(found[1], data) == found[2])
    return bool(_read(condition, data))


def _read(name: str, data: Mapping[str, Any]) -> Any:
    if not re.fullmatch(r"\.\w+", name):
        raise ValueError(f"unknown action {name}")
    return data.get(name[1:], "")
