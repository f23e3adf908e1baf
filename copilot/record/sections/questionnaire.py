"""Questionnaire totals that a person enters; nothing is asked, scored or guessed by a program.

PHQ-9 and GAD-7 are named by their LOINC codes; their questions are not reproduced. What to do about item 9 (thoughts of
being better off dead or of hurting oneself) is a person's work: the record asks for a hand-off and says nothing more.
"""

from typing import ClassVar

from copilot.record.marks import Coding, Item, Range, Section
from copilot.record.sections.base import Copilot, Evidence

LOINC = "http://loinc.org"

_PHQ9 = Coding(system=LOINC, code="44261-6")
_ITEM9 = Coding(system=LOINC, code="44260-8")
_GAD7 = Coding(system=LOINC, code="70274-6")


class Questionnaire(Copilot):
    """Holds empty lines for three numbers."""

    name: ClassVar[str] = "questionnaire"
    title: ClassVar[str] = "Questionnaires"

    def write_section(self, evidence: Evidence) -> Section:
        """Return the lines to be filled in; see `Copilot.write_section`."""
        items = [
            Item(id="phq9_total", label="PHQ-9 total", accepts=Range(low=0, high=27), unit="{score}", code=_PHQ9),
            Item(
                id="phq9_item9",
                label="PHQ-9 item 9",
                accepts=Range(low=0, high=3),
                alert_above=0,
                unit="{score}",
                code=_ITEM9,
            ),
            Item(id="gad7_total", label="GAD-7 total", accepts=Range(low=0, high=21), unit="{score}", code=_GAD7),
        ]
        empty = [item.model_copy(update={"origin": "human", "basis": "the person's own answers"}) for item in items]
        summary = "Numbers that a person enters; the estimate does not use them."
        return Section(id=self.name, title=self.title, summary=summary, items=empty)
