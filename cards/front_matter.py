"""The YAML block at the top of a card, read as strictly as the Hub reads it."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

#: What PyYAML lets through of its own on damaged text: dates that are none, keys that cannot be keys, endless nesting.
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses a key given twice, as the Hub's parser does, and aliases, which can grow without bounds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return a node that is no alias; see `yaml.SafeLoader`."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", self.peek_event().start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; see `yaml.SafeLoader`."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        if twice := [str(key) for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def split_card(text: str) -> tuple[str | None, str]:
    """Return the YAML text between the ``---`` lines at the very top, None if there is none, and what follows."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?(?:\n|$)", text, flags=re.DOTALL)
    return (match.group(1), text[match.end() :]) if match else (None, text)


def read_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the YAML block at the very top of a card, and what is wrong with it (empty if nothing is)."""
    block, _ = split_card(text)
    if block is None:
        return {}, "front matter: none at the very top; the Hub would see no metadata"
    try:
        header = yaml.load(block, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        return {}, f"front matter: not valid YAML ({getattr(error, 'problem', None) or type(error).__name__})"
    except _DAMAGE as error:
        return {}, f"front matter: not valid YAML ({type(error).__name__})"
    if not isinstance(header, dict):
        return {}, f"front matter: expected a mapping of keys, found {type(header).__name__}"
    return header, ""
