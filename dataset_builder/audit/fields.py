"""Checks of what a user turn is made of: only label-free columns, and none that gives the label away.

What is told of a person (age, sex) is the same in all of the person's rows and cannot follow the label. What changes
within a person can: a facial feature that was made up from the label, a wording per emotion, a symbol of the code. Such
a field is refused when rows that are next to each other in it nearly always share a label (`AGREEMENT`) and labels
shuffled within each person never reach that (`SHUFFLES` times, fixed seed). A true expression of feeling follows the
label much more loosely, and in a small corpus the shuffles agree as often, so neither is refused.
"""

import json
from collections.abc import Iterator

import numpy as np

from dataset_builder.audit.case import Case, Row, refuse, turn
from dataset_builder.errors import AuditError, InputError
from dataset_builder.seeds import make_rng

#: Columns that a prompt may be rendered from. None of them follows from the label.
PROMPT_COLUMNS = ("age", "sex", "device_sfreq_hz", "channels", "facial", "code", "phrasing")

#: Share of neighbouring rows with one label from which on a field counts as telling it.
AGREEMENT = 0.9

#: Shuffles of the labels; none may reach the agreement found: p < 0.001.
SHUFFLES = 999

#: Fewest neighbouring rows from which one of many places of a code is judged: a few agree by chance somewhere.
_MIN_PAIRS = 50

#: Places that are looked at together: bounds the memory.
_BLOCK = 64

#: Sources whose facial features come from a file of the user. No other source has any.
_FACIAL_SOURCES = frozenset({"recordings"})


def check_rendering(case: Case) -> int:
    """Refuse a prompt that differs from what its label-free columns alone give, and a code that cannot be read back."""
    wrong = [row for row in case.rows if _render(case, row) != [t for t in row["messages"] if t["role"] != "assistant"]]
    refuse("rendering", f"a prompt holds more than {', '.join(PROMPT_COLUMNS)}", wrong)
    return len(case.rows)


def check_facial_source(case: Case) -> int:
    """Refuse facial features that no file of the user stated."""
    told = [row for row in case.rows if row["facial"] and json.loads(row["facial"])]
    refuse("facial features", "no file states them", [row for row in told if row["source"] not in _FACIAL_SOURCES])
    return len(told)


def check_fields(case: Case) -> int:
    """Refuse a field of the user turn that varies within a person and gives the label away."""
    fields = dict(_list_fields(case))
    for name, values in fields.items():
        for target in ("emotion", "valence"):
            if rows := _find_rows_that_tell(case, values, case.column(target), f"{name}/{target}"):
                refuse("label-dependent fields", f"{name} gives the {target} away", rows)
    return len(fields)


def check_code_places(case: Case) -> int:
    """Refuse a code with a place whose symbol gives the label away. No single value of an EEG does."""
    symbols = case.symbols
    for target in ("emotion", "valence"):
        labels = _number(case.column(target))
        for place in np.flatnonzero(_agreement_of_places(symbols, labels) >= AGREEMENT):
            if rows := _find_rows_that_tell(case, symbols[:, place], labels, f"place {place}/{target}", _MIN_PAIRS):
                refuse("label-dependent code", f"place {place + 1} of the code gives the {target} away", rows)
    return int(symbols.shape[1])


def _render(case: Case, row: Row) -> list[dict[str, str]]:
    try:
        return case.render({name: row[name] for name in PROMPT_COLUMNS})
    except InputError as error:
        raise AuditError(f"audit, rendering: {row['row_id']} cannot be rendered again: {error}") from None


def _list_fields(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a user turn holds besides the code: columns, each facial feature, and the words as a whole."""
    for name in PROMPT_COLUMNS:
        if name not in ("facial", "code"):
            yield name, _number(case.column(name))
    facial = [json.loads(row["facial"]) if row["facial"] else {} for row in case.rows]
    for name in sorted({name for features in facial for name in features}):
        yield f"facial feature {name}", np.array([features.get(name, np.nan) for features in facial], dtype=float)
    around = [turn(row, "user").replace(row["code"].strip(), "") for row in case.rows]
    yield "the text around the code", _number(np.array(around))


def _find_rows_that_tell(case: Case, values: np.ndarray, labels: np.ndarray, name: str, fewest: int = 1) -> list[Row]:
    """Return the rows of the people in whom `values` vary, if there the values give the labels away."""
    subjects, codes = _number(case.column("subject")), _number(labels)
    chosen = np.flatnonzero(_varies(values, subjects))
    subjects, values, codes = subjects[chosen], values[chosen], codes[chosen]
    rng = make_rng(0, "audit", name)
    for within in (False, True):  # one rule for everybody, or one of each person's own
        pairs = _pair_neighbours(values, subjects if within else np.zeros_like(subjects), rng)
        if len(pairs) >= fewest and _is_beyond_chance(pairs, codes, subjects, rng):
            return [case.rows[index] for index in chosen]
    return []


def _pair_neighbours(values: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pairs of rows, shape (n_pairs, 2), that follow each other in the order of `values` within a group.

    Numbers follow each other by size; whole numbers, which stand for words here, only where they are equal. Equal
    values are in random order: in the order of the corpus, clips of one emotion are neighbours.
    """
    known = rng.permutation(np.flatnonzero(~np.isnan(values)))
    order = known[np.lexsort((values[known], groups[known]))]
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    together = groups[pairs[:, 0]] == groups[pairs[:, 1]]
    if np.issubdtype(values.dtype, np.integer):
        together &= values[pairs[:, 0]] == values[pairs[:, 1]]
    return pairs[together]


def _is_beyond_chance(pairs: np.ndarray, labels: np.ndarray, subjects: np.ndarray, rng: np.random.Generator) -> bool:
    found = np.mean(labels[pairs[:, 0]] == labels[pairs[:, 1]])
    if found < AGREEMENT:
        return False
    by_subject = np.argsort(subjects, kind="stable")
    shuffled = labels.copy()
    for _ in range(SHUFFLES):
        shuffled[by_subject] = labels[np.lexsort((rng.random(len(labels)), subjects))]
        if np.mean(shuffled[pairs[:, 0]] == shuffled[pairs[:, 1]]) >= found:
            return False
    return True


def _agreement_of_places(symbols: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for every place of a code the share of neighbours with one label among rows with equal symbols."""
    mixed = make_rng(0, "audit", "places").permutation(len(symbols))
    symbols, labels = symbols[mixed], labels[mixed]
    blocks = [symbols[:, start : start + _BLOCK] for start in range(0, symbols.shape[1], _BLOCK)]
    return np.concatenate([_agreement_of_block(block, labels) for block in blocks] or [np.empty(0)])


def _agreement_of_block(symbols: np.ndarray, labels: np.ndarray) -> np.ndarray:
    order = np.argsort(symbols, axis=0, kind="stable")
    ordered = np.take_along_axis(symbols, order, axis=0)
    equal = ordered[1:] == ordered[:-1]
    agree = labels[order[1:]] == labels[order[:-1]]
    return np.asarray((equal & agree).sum(axis=0) / np.maximum(equal.sum(axis=0), 1))


def _varies(values: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Return for every row whether its person has more than one value."""
    kinds = np.unique(values, return_inverse=True)[1]
    pairs = np.unique(np.stack([subjects, kinds], axis=1), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[subjects]


def _number(values: np.ndarray) -> np.ndarray:
    """Return equal whole numbers for equal values, whatever their type; None is a value."""
    if np.issubdtype(values.dtype, np.integer):
        return values
    return np.unique([repr(value) for value in values], return_inverse=True)[1]
