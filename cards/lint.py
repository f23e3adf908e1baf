"""Problems of a card that the Hub would refuse, ignore or, worst, publish.

The linter knows the Hub's lists from a place of its own (`cards.rules`) and looks at finished text only, so that it
judges what the rest of this folder writes without sharing its mistakes.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal

from cards.front_matter import read_front_matter, split_card
from cards.lint_header import lint_header
from cards.lint_text import lint_text
from cards.private import find_private

__all__ = ["find_private", "lint_card", "read_front_matter"]

RepoType = Literal["model", "dataset", "space"]


def lint_card(
    text: str,
    repo_type: RepoType = "model",
    files: Collection[str] | None = None,
    verdicts: Sequence[dict[str, Any]] = (),
) -> list[str]:
    """List what is wrong with a card.

    Parameters
    ----------
    text : str
        A README.md with YAML front matter.
    repo_type : {"model", "dataset", "space"}
    files : collection of str, optional
        Paths in the repository; patterns, pictures and links are checked against them. None: they are not known.
    verdicts : sequence of dict
        ``reader``, ``protocol`` and ``reads`` of each reader whose controls were run. Without one that passed, no
        claim may stand in the card.

    Returns
    -------
    list of str
        One line per problem; empty if the card may be published.
    """
    header, problem = read_front_matter(text)
    _, body = split_card(text)
    problems = [problem] if problem else lint_header(header, repo_type, files, verdicts)
    return problems + lint_text(text, body, files, verdicts)
