"""What the checks of the audit look at, and how a finding is told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from dataset_builder.codecs import Codec
from dataset_builder.errors import AuditError, InputError
from dataset_builder.prompts import Style
from dataset_builder.splits import SplitPlan

Row = dict[str, Any]

_NAMED = 3


@dataclass(frozen=True)
class Case:
    """A corpus before it is written.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        Rows of every split.
    plan : SplitPlan
    digests : dict of str to str
        sha256 of the raw data of each trial, by row id.
    render : callable
        Renders system and user turn from columns of a row that do not follow from its label.
    style : Style
    codec : Codec
    """

    tables: dict[str, pa.Table]
    plan: SplitPlan
    digests: dict[str, str]
    render: Callable[[Row], list[dict[str, str]]]
    style: Style
    codec: Codec

    @cached_property
    def rows(self) -> list[Row]:
        """All rows, split after split, each with the key ``split``."""
        return [row | {"split": split} for split, table in self.tables.items() for row in table.to_pylist()]

    @cached_property
    def symbols(self) -> np.ndarray:
        """Codes as numbered symbols, ndarray of shape (n_rows, n_places), int32; equal symbols, equal numbers."""
        try:
            codes = [self.codec.from_text(row["code"]).values.ravel() for row in self.rows]
        except InputError as error:
            raise AuditError(f"audit: a code cannot be read back: {error}") from None
        if len({len(code) for code in codes}) > 1:
            raise AuditError("audit: codes differ in length")
        stacked = np.stack(codes) if codes else np.empty((0, 0))
        return np.unique(stacked, return_inverse=True)[1].reshape(stacked.shape).astype(np.int32)

    def column(self, name: str) -> np.ndarray:
        """Return one column of `rows`, ndarray of shape (n_rows,), objects."""
        values = np.empty(len(self.rows), dtype=object)
        values[:] = [row[name] for row in self.rows]
        return values


def turn(row: Row, role: str) -> str:
    """Return the text of a row's turn; empty if there is none."""
    return next((str(turn["content"]) for turn in row["messages"] if turn["role"] == role), "")


def refuse(check: str, finding: str, rows: Iterable[Row] | Iterable[str]) -> None:
    """Raise `AuditError` when there are any rows at fault.

    Parameters
    ----------
    check : str
        Name of the check.
    finding : str
        What is wrong, in one clause.
    rows : iterable of rows or of row ids
    """
    names = [row if isinstance(row, str) else str(row["row_id"]) for row in rows]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise AuditError(f"audit, {check}: {finding}: {', '.join(names[:_NAMED])}{more}")
