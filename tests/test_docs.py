"""The documents tell the truth: commands parse, links lead somewhere, every registered name is explained."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from copilot.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path for path in ROOT.glob("*.md"))
#: Registry -> where it lives. Each of its names must stand in the README, in code font.
REGISTRIES = {
    "codecs": ("dataset_builder.codecs", "CODECS"),
    "sources": ("dataset_builder.sources", "SOURCES"),
    "bases": ("model_recipes.bases", "BASES"),
    "prompt styles": ("dataset_builder.prompts", "STYLES"),
    "row formats": ("dataset_builder.exports", "ROW_FORMATS"),
    "protocols": ("dataset_builder.splits", "PROTOCOLS"),
    "record formats": ("copilot.record", "FORMATS"),
}


@pytest.fixture(scope="module")
def readme() -> str:
    """Return the README's text."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def read_commands(text: str) -> list[list[str]]:
    """Return every ``eeg-copilot`` command of the shell blocks of `text`, continued lines joined."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if line and not line.startswith("#")]
    return [line[line.index(word) :] for line in words for word in line if word.split("/")[-1] == "eeg-copilot"]


def read_links(text: str) -> list[str]:
    """Return the local targets of Markdown links, images and HTML images, without anchors."""
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    return [target.split("#")[0] for target in local]


def parses(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    """Tell whether a command line is accepted; ``--help`` is."""
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:
        return stop.code == 0
    return True


def test_the_commands_of_the_readme_are_found(readme):
    assert len(read_commands(readme)) > 15


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_parse(path):
    for _, command, *arguments in read_commands(path.read_text(encoding="utf-8")):
        if command in ("--help", "-h"):
            continue
        assert command in COMMANDS, f"{path.name}: no command {command!r}"
        parser = importlib.import_module(COMMANDS[command][0]).make_parser()
        assert parses(parser, arguments), f"{path.name}: eeg-copilot {command} {shlex.join(arguments)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    missing = [target for target in read_links(path.read_text(encoding="utf-8")) if not (path.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(path):
    """A path in code font that starts with one of our folders is a promise."""
    text = path.read_text(encoding="utf-8")
    folders = "dataset_builder|model_recipes|copilot|cards|hub_scripts|tests|benchmarks"
    named = re.findall(rf"`((?:{folders})/[\w./-]+\.(?:py|yaml|jinja|md|json))`", text)
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_documented(command, readme):
    assert f"eeg-copilot {command}" in readme


@pytest.mark.parametrize("command", COMMANDS)
def test_command_explains_itself(command):
    parser = importlib.import_module(COMMANDS[command][0]).make_parser()
    assert parser.prog == f"eeg-copilot {command}"
    assert parser.description
    unexplained = [action.dest for action in parser._actions if not action.help]
    assert not unexplained


@pytest.mark.parametrize("registry", REGISTRIES)
def test_registered_names_are_documented(registry, readme):
    module, name = REGISTRIES[registry]
    names = getattr(importlib.import_module(module), name)
    assert names, f"{module}.{name} is empty"
    assert not [entry for entry in names if f"`{entry}`" not in readme]


def test_make_targets_in_documents_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([\w-]+)`|^\$? ?make ([\w-]+)", text, flags=re.MULTILINE))
        assert {a or b for a, b in named} <= targets


def test_research_use_is_said_first(readme):
    assert re.search(r"research use only", readme, flags=re.IGNORECASE)
    assert re.search(r"not a medical device", readme, flags=re.IGNORECASE)
