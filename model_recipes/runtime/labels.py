"""Scoring fixed labels: which tokens lead to which label, and how their probabilities become one per label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelTrie:
    """Token sequences of several labels, folded where they agree.

    The probability of a label is that of writing its whole string under decoding that is held to the labels: a product
    over its tokens, each token's probability taken among those that still lead to some label. Only at a branch can
    that be less than one, so nothing else is asked of the model. The probabilities sum to 1 by construction.

    Parameters
    ----------
    labels : tuple of str
    root : tuple of int
        Tokens that all labels share, the prompt included.
    paths : tuple of tuple of int
        The rest of each label's tokens.
    branches : dict of tuple of int to tuple of int
        Tokens after `root` -> the two or more tokens that may follow.
    """

    labels: tuple[str, ...]
    root: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]
    branches: dict[tuple[int, ...], tuple[int, ...]]

    def combine(self, probabilities: Mapping[tuple[int, ...], Mapping[int, float]]) -> dict[str, float]:
        """Multiply along each label's path.

        Parameters
        ----------
        probabilities : mapping
            For each key of `branches` the probability of each of its tokens; they sum to 1.
        """
        scores = {}
        for label, path in zip(self.labels, self.paths, strict=True):
            steps = [(path[:i], token) for i, token in enumerate(path) if path[:i] in self.branches]
            scores[label] = float(np.prod([probabilities[node][token] for node, token in steps]))
        return scores


def build_trie(labels: Sequence[str], sequences: Sequence[Sequence[int]]) -> LabelTrie:
    """Fold the token sequences of labels.

    Parameters
    ----------
    labels : sequence of str
    sequences : sequence of sequence of int
        Prompt, prefix, label and closing quote of each label, tokenised in one piece.

    Raises
    ------
    ValueError
        If two labels are the same, or one sequence begins another.
    """
    whole = [tuple(sequence) for sequence in sequences]
    shortest = min(map(len, whole))
    shared = next((i for i in range(shortest) if len({sequence[i] for sequence in whole}) > 1), shortest)
    paths = tuple(sequence[shared:] for sequence in whole)
    followers: dict[tuple[int, ...], set[int]] = {}
    for path in paths:
        for i, token in enumerate(path):
            followers.setdefault(path[:i], set()).add(token)
    if len(set(paths)) < len(paths) or any(path in followers for path in paths):
        raise ValueError("labels must differ, and none may begin another")
    branches = {node: tuple(sorted(tokens)) for node, tokens in followers.items() if len(tokens) > 1}
    return LabelTrie(tuple(labels), whole[0][:shared], paths, branches)
