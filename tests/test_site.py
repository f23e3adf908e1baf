"""The documentation as a site: it builds strictly, asks nobody for anything, and its pages tell the truth."""

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import parses

from copilot.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def load_hooks():
    """Import docs/hooks.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks


@pytest.mark.slow
def test_site_builds_strictly_and_asks_nobody(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "tutorial.html", "results.html", "recipes.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]*\bsrc="(?:https?:)?//[^"]*"', text)
        fetched += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(?:https?:)?//[^"]*"', text)
        assert not fetched, page.name
    assert not (tmp_path / "site" / "hooks.py").exists()


def test_every_recipe_and_result_is_listed():
    hooks = load_hooks()
    recipes, results = hooks.on_page_markdown("<!-- recipes -->"), hooks.on_page_markdown("<!-- results -->")
    paths = [
        path for root in ("dataset_builder", "model_recipes") for path in (ROOT / root / "recipes").rglob("*.yaml")
    ]
    assert [path.name for path in paths if f"### `{path.name}`" not in recipes] == []
    files = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert files
    assert [path.stem for path in files if f"## {path.stem}\n" not in results] == []
    assert results.count("Machine: ") == len(files)


def test_a_result_of_rows_becomes_a_table():
    hooks = load_hooks()
    tables = list(hooks._render_tables({"ratio": 4.79974, "files": [{"name": "F16", "bytes": 3}, {"name": "a|b"}]}))
    assert "| ratio | 4.8 |" in tables[0]
    assert "| F16 | 3 |" in tables[2]
    assert r"| a\|b |  |" in tables[2]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_pages_parse(path):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^eeg-copilot .*", text, flags=re.MULTILINE)
    commands = [shlex.split(line, comments=True)[1:] for line in lines]
    wrong = [
        shlex.join([command, *arguments])
        for command, *arguments in commands
        if command not in COMMANDS or not parses(importlib.import_module(COMMANDS[command][0]).make_parser(), arguments)
    ]
    assert wrong == []
