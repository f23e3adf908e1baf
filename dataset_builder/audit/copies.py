"""Checks for copies: the same recording, or nearly the same code, on two sides of a split."""

from collections import defaultdict

import numpy as np
from scipy.spatial.distance import cdist

from dataset_builder.audit.case import Case, Row, refuse
from dataset_builder.seeds import make_rng

#: Share of places in which two codes must agree to count as near-duplicates.
SIMILARITY = 0.95

#: Fewest places from which codes are compared: shorter ones agree by chance.
MIN_PLACES = 16

#: How many such pairs chance may be expected to give in the whole corpus before the comparison says nothing.
_EXPECTED = 0.1

#: How many rows the usual agreement is taken from.
_SAMPLE = 1000

#: Rows that are compared with all others at once: bounds the memory.
_BLOCK = 512


def check_equal_data(case: Case) -> int:
    """Refuse rows of two people or two splits whose raw data are equal to the last bit."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in case.rows:
        if digest := case.digests.get(row["row_id"]):
            rows[digest].append(row)
    for same in rows.values():
        if len({(row["subject"], row["split"]) for row in same}) > 1:
            refuse("equal recordings", "different people or splits hold the same data", same)
    return sum(map(len, rows.values()))


def check_similar_codes(case: Case) -> int:
    """Refuse codes that agree in nearly all places across splits.

    Codes of few levels or of places that rise and fall together agree by chance, above all within a person. How often
    is estimated from a sample of rows, apart for pairs of one person and of two (`_expect_similar`). Where chance may
    give such a pair, nothing is said, and the pairs do not count as looked at.
    """
    if case.symbols.shape[1] < MIN_PLACES:
        return 0
    splits, subjects = case.column("split"), np.unique(case.column("subject").astype(str), return_inverse=True)[1]
    usual = _sample_agreement(case.symbols, subjects)
    names = [name for name in case.tables if (splits == name).any()]
    judged = 0
    for first, second in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        left, right = np.flatnonzero(splits == first), np.flatnonzero(splits == second)
        similar = _find_similar(case.symbols, left, right)
        own = subjects[similar[:, 0]] == subjects[similar[:, 1]]
        n_own = int((subjects[left][:, None] == subjects[right]).sum())
        for one_person, found, n_pairs in (
            (True, similar[own], n_own),
            (False, similar[~own], len(left) * len(right) - n_own),
        ):
            if n_pairs * _expect_similar(usual[one_person], case.symbols.shape[1]) < _EXPECTED:
                text = f"{len(found)} pairs of {first} and {second} agree in {SIMILARITY:.0%} of places or more"
                refuse("similar codes", text, [case.rows[index] for index in found[:1].ravel()])
                judged += n_pairs
    return judged


def _find_similar(symbols: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the pairs of rows that agree in `SIMILARITY` of places or more, shape (n_pairs, 2)."""
    found = []
    for start in range(0, len(left), _BLOCK):
        block = left[start : start + _BLOCK]
        rows, columns = np.nonzero(_agree(symbols[block], symbols[right]) >= SIMILARITY)
        found.append(np.stack([block[rows], right[columns]], axis=1))
    return np.concatenate(found)


def _agree(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the share of equal places of every pair, ndarray of shape (n_left, n_right)."""
    agreement: np.ndarray = 1 - cdist(left, right, metric="hamming")
    return agreement


def _sample_agreement(symbols: np.ndarray, subjects: np.ndarray) -> dict[bool, np.ndarray]:
    """Return the agreements of pairs of one person (True) and of two (False), of people chosen with a fixed seed."""
    people = make_rng(0, "audit", "people").permutation(subjects.max(initial=0) + 1)
    chosen = np.argsort(people[subjects], kind="stable")[:_SAMPLE]
    agreement = _agree(symbols[chosen], symbols[chosen])
    own = subjects[chosen][:, None] == subjects[chosen][None, :]
    above = np.triu(np.ones_like(own), k=1)
    return {True: agreement[own & above], False: agreement[~own & above]}


def _expect_similar(usual: np.ndarray, places: int) -> float:
    """Return at most which share of pairs agrees in `SIMILARITY` of places by chance.

    The share of pairs that agree in more than x falls tenfold from one quantile below to the next and then, as tails of
    agreements do, at least as fast. On FACED's features (40 people, 2 to 10 levels) 99 % and 99.9 % gave two to eight
    times what was there. In a small corpus one copied person fills the last thousandth, so 90 % and 99 % are asked too.
    """
    if not usual.size:
        return 1.0
    q90, q99, q999 = np.quantile(usual, [0.9, 0.99, 0.999])
    decades = [max(high - low, 1 / places) for low, high in ((q90, q99), (q99, q999))]
    return float(min(0.01 * 10 ** ((q99 - SIMILARITY) / decades[0]), 0.001 * 10 ** ((q999 - SIMILARITY) / decades[1])))
