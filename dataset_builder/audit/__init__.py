"""The audit: a corpus whose rows tell a model more than the EEG does is not written.

Every check is a function that takes a `Case`, raises `AuditError` through `refuse`, and returns how many things it
looked at. To add one, write the function and add its line to `CHECKS`.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dataset_builder.audit.answers import check_answers, check_denied_words
from dataset_builder.audit.case import Case, Row, refuse
from dataset_builder.audit.copies import check_equal_data, check_similar_codes
from dataset_builder.audit.fields import check_code_places, check_facial_source, check_fields, check_rendering
from dataset_builder.audit.places import check_clips, check_plan, check_row_ids, check_subjects
from dataset_builder.audit.words import check_system_turns, check_turns, check_user_words
from dataset_builder.codecs import Codec
from dataset_builder.prompts import Style
from dataset_builder.splits import SplitPlan

__all__ = ["CHECKS", "Case", "audit_corpus", "refuse"]

#: Every check by the name that errors and manifests give it, the cheap ones first.
CHECKS: dict[str, Callable[[Case], int]] = {
    "row ids": check_row_ids,
    "turns": check_turns,
    "subjects": check_subjects,
    "clips": check_clips,
    "protocol": check_plan,
    "system turns": check_system_turns,
    "label words": check_user_words,
    "facial features": check_facial_source,
    "rendering": check_rendering,
    "label-dependent fields": check_fields,
    "label-dependent code": check_code_places,
    "equal recordings": check_equal_data,
    "similar codes": check_similar_codes,
    "answers": check_answers,
    "denied words": check_denied_words,
}


def audit_corpus(
    tables: dict[str, pa.Table],
    plan: SplitPlan,
    digests: dict[str, str],
    render: Callable[[Row], list[dict[str, str]]],
    style: Style,
    codec: Codec,
) -> dict[str, Any]:
    """Check the rows of a corpus for leaks.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        Rows of every split, columns as in `dataset_builder.rows.SCHEMA`.
    plan : SplitPlan
    digests : dict of str to str
        sha256 of the raw data of each trial, by row id.
    render : callable
        Takes a row cut down to `dataset_builder.audit.fields.PROMPT_COLUMNS` and returns system and user turn.
    style : Style
    codec : Codec
        Fitted.

    Returns
    -------
    dict
        ``{"rows": int, "protocol": str, "checks": {name: how many things were looked at}}``

    Raises
    ------
    AuditError
        At the first check that fails; one line with the check, the finding and row ids.
    """
    case = Case(tables, plan, digests, render, style, codec)
    return {
        "rows": len(case.rows),
        "protocol": plan.protocol,
        "checks": {name: check(case) for name, check in CHECKS.items()},
    }
