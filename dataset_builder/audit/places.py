"""Checks of where rows stand: no subject, clip or row in two places."""

from collections import Counter

from dataset_builder.audit.case import Case, refuse


def check_row_ids(case: Case) -> int:
    """Refuse a row id that occurs twice: `datasets` does not notice."""
    counts = Counter(row["row_id"] for row in case.rows)
    refuse("row ids", "occur more than once", [name for name, count in counts.items() if count > 1])
    return len(counts)


def check_subjects(case: Case) -> int:
    """Refuse a person in both validation and test, and in train and elsewhere where the protocol forbids it."""
    pairs = [("validation", "test")]
    if "subject" in case.plan.disjoint:
        pairs += [("train", split) for split in case.tables if split != "train"]
    return sum(_refuse_shared(case, "subject", a, b) for a, b in pairs)


def check_clips(case: Case) -> int:
    """Refuse a clip that is in train and elsewhere where the protocol forbids it."""
    if "clip" not in case.plan.disjoint:
        return 0
    return sum(_refuse_shared(case, "clip", "train", split) for split in case.tables if split != "train")


def check_plan(case: Case) -> int:
    """Refuse a row that stands in another split than the protocol assigns."""
    wrong = [
        row
        for row in case.rows
        if case.plan.assign(row["subject"], row["clip"], row["clip_fold"], row["rank"]) != row["split"]
    ]
    refuse("protocol", f"rows are not in the split that {case.plan.protocol} gives them", wrong)
    return len(case.rows)


def _refuse_shared(case: Case, column: str, first: str, second: str) -> int:
    """Return how many values of `column` the first split has."""
    values = {row[column] for row in case.rows if row["split"] == first} - {None}
    shared = [row for row in case.rows if row["split"] == second and row[column] in values]
    refuse(f"{column}s", f"{first} and {second} share a {column}, {case.plan.protocol} forbids it", shared)
    return len(values)
