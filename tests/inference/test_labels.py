"""Label tries: folding, branches, products."""

import pytest

from model_recipes.runtime.labels import build_trie


def test_paths_and_branches():
    trie = build_trie(["ab", "ac", "d"], [[9, 9, 1, 2], [9, 9, 1, 3, 5], [9, 9, 4]])
    assert trie.root == (9, 9)
    assert trie.paths == ((1, 2), (1, 3, 5), (4,))
    assert trie.branches == {(): (1, 4), (1,): (2, 3)}


def test_probability_is_the_product_over_branches():
    trie = build_trie(["ab", "ac", "d"], [[9, 1, 2], [9, 1, 3, 5], [9, 4]])
    scores = trie.combine({(): {1: 0.75, 4: 0.25}, (1,): {2: 0.2, 3: 0.8}})
    assert scores == pytest.approx({"ab": 0.15, "ac": 0.6, "d": 0.25})


def test_tokens_without_a_choice_are_not_asked():
    assert list(build_trie(["x", "y"], [[1, 2, 3, 4], [1, 5, 6, 7]]).branches) == [()]


@pytest.mark.parametrize("sequences", [[[1, 2], [1, 2]], [[1, 2], [1, 2, 3]], [[1, 2, 3], [1, 2]]])
def test_ambiguous_labels_are_refused(sequences):
    with pytest.raises(ValueError, match="must differ"):
        build_trie(["a", "b"], sequences)
