"""Models and a corpus that the tests of this folder share; they are only ever read."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import factories  # noqa: E402


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory):
    return factories.make_corpus(tmp_path_factory.mktemp("corpus") / "corpus")


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory):
    return factories.make_tiny_model(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """Return a file with a text short enough to read quickly."""
    text = factories.make_text()
    path = tmp_path_factory.mktemp("text") / "short.txt"
    path.write_text(text.fit + text.measure, encoding="utf-8")
    return path
