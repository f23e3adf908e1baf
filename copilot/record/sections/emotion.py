"""The emotion reader: the estimate of the language model on one line, and how firm it is."""

from typing import ClassVar

from copilot.record.marks import Item, Section
from copilot.record.sections.base import Copilot, Evidence
from copilot.record.types import WORDING, Estimate


class EmotionReader(Copilot):
    """Says what the language model's nine scores amount to."""

    name: ClassVar[str] = "emotion"
    title: ClassVar[str] = "Emotion reader"

    def write_section(self, evidence: Evidence) -> Section:
        """Return the headline and its strength; see `Copilot.write_section`."""
        estimate = evidence.estimate
        basis = f"mean scores, windows: {len(evidence.recording)}"
        headline = Item(id="headline", label=WORDING, value=estimate.emotion, model=evidence.model, basis=basis)
        summary = f"No estimate. {estimate.reason}" if estimate.abstained else f"{WORDING}: {estimate.emotion}."
        items = [headline, *_describe_strength(estimate, evidence.model, basis)]
        return Section(id=self.name, title=self.title, summary=summary, items=items)


def _describe_strength(estimate: Estimate, model: str, basis: str) -> list[Item]:
    """Return how firm the scores are; nothing where the model was not asked."""
    if not estimate.scores:
        return []
    best = max(score.probability for score in estimate.scores)
    measures = (
        ("best_score", "Highest mean probability", best),
        ("margin", "Lead over the second label", estimate.margin),
        ("agreement", "Windows that agree", estimate.agreement),
        ("entropy", "Entropy over that of guessing", estimate.entropy),
    )
    return [
        Item(id=key, label=label, value=round(value, 6), unit="1", model=model, basis=basis)
        for key, label, value in measures
    ]
