"""Copilots: whoever has something to say in a record, each with a section of its own.

To add one, write a file with a `Copilot` subclass and add a line to `COPILOTS`; the contract tests then apply to it,
and its section appears in every format. A section may hold items that a person fills in, with the numbers that are
accepted and, where a number asks for a person to act, the bound above which it does.
"""

from copilot.record.marks import Section
from copilot.record.sections.base import Copilot, Evidence
from copilot.record.sections.emotion import EmotionReader
from copilot.record.sections.quality import QualityReviewer
from copilot.record.sections.questionnaire import Questionnaire

#: In the order of a record.
COPILOTS: dict[str, type[Copilot]] = {
    "quality": QualityReviewer,
    "emotion": EmotionReader,
    "questionnaire": Questionnaire,
}


def write_sections(evidence: Evidence) -> list[Section]:
    """Ask every copilot for its section."""
    return [copilot().write_section(evidence) for copilot in COPILOTS.values()]


__all__ = ["COPILOTS", "Copilot", "Evidence", "Section", "write_sections"]
