"""What every copilot offers: evidence -> one section of the record."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from copilot.answer import RecordingAnswer
from copilot.record.marks import Section
from copilot.record.types import Estimate, SignalQuality
from dataset_builder.types import Recording


@dataclass(frozen=True)
class Evidence:
    """All that a copilot may look at.

    Parameters
    ----------
    recording : Recording
    answer : RecordingAnswer
        Of the language model, on the same recording.
    estimate : Estimate
        The same as the record states it, after the safety checks.
    quality : SignalQuality
    model : str
        Name of the language model.
    """

    recording: Recording
    answer: RecordingAnswer
    estimate: Estimate
    quality: SignalQuality
    model: str


class Copilot(ABC):
    """Writes one section. Nothing that it writes may prescribe, diagnose or state a risk."""

    #: Its key in `COPILOTS` and the identifier of its section.
    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def write_section(self, evidence: Evidence) -> Section:
        """Return what the copilot says of a recording, also when it has nothing to say."""
