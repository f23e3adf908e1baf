"""The signal-quality reviewer: amplitude statistics of the recording, no model."""

from typing import ClassVar

from copilot.record.marks import Item, Section
from copilot.record.sections.base import Copilot, Evidence

_BASIS = "amplitude in 1 to 47 Hz, per second and channel"


class QualityReviewer(Copilot):
    """Says whether the signal is good enough, and what is wrong with it."""

    name: ClassVar[str] = "quality"
    title: ClassVar[str] = "Signal-quality reviewer"

    def write_section(self, evidence: Evidence) -> Section:
        """Return the share that is usable and what failed; see `Copilot.write_section`."""
        quality, signal = evidence.quality, evidence.answer.quality
        usable = f"{quality.usable_share:.0%} of the signal is usable"
        summary = f"{usable}; {'sufficient' if quality.sufficient else 'not sufficient'} for an estimate."
        failed = [check.name.lower() for check in quality.checks if not check.passed]
        items = [
            Item(id="sufficient", label="Sufficient for an estimate", value=quality.sufficient, basis=_BASIS),
            Item(id="usable", label="Usable share", value=round(quality.usable_share, 6), unit="1", basis=_BASIS),
            Item(id="flat", label="Flat channels", value=len(signal.flat_channels), unit="{channels}", basis=_BASIS),
            Item(id="noisy", label="Noisy channels", value=len(signal.noisy_channels), unit="{channels}", basis=_BASIS),
            Item(id="findings", label="To look at", value=", ".join(failed) or "nothing", basis=_BASIS),
        ]
        return Section(id=self.name, title=self.title, summary=summary, items=items)
