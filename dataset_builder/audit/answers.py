"""Checks of assistant turns: they say the row's label, parse, and hold no denied word."""

from dataset_builder.audit.case import Case, Row, refuse, turn
from dataset_builder.errors import InputError
from dataset_builder.prompts import Style
from dataset_builder.prompts.deny import check_denied
from dataset_builder.types import EMOTIONS, VALENCE


def check_answers(case: Case) -> int:
    """Refuse an answer that does not parse or names another emotion, and label columns that contradict each other."""
    for row in case.rows:
        if problem := _find_problem(row, case.style):
            refuse("answers", problem, [row])
    return len(case.rows)


def check_denied_words(case: Case) -> int:
    """Refuse an answer with a word of the deny list: drugs, doses, certainty, diagnoses of disorder."""
    found: dict[str, str | None] = {}
    for row in case.rows:
        answer = turn(row, "assistant")
        if answer not in found:
            found[answer] = check_denied(answer, row["language"])
        if word := found[answer]:
            refuse("denied words", f"an answer says {word!r}", [row])
    return len(case.rows)


def _find_problem(row: Row, style: Style) -> str | None:
    emotion = row["emotion"]
    if emotion not in EMOTIONS or row["label"] != EMOTIONS.index(emotion) or row["valence"] != VALENCE[emotion]:
        return "the columns emotion, label and valence contradict each other"
    try:
        answered = style.parse_answer(turn(row, "assistant")).emotion
    except InputError as error:
        return f"an answer does not parse ({error})"
    return None if answered == emotion else f"an answer says {answered}, the row is {emotion}"
