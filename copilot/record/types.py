"""The assisted record: everything a page, a JSON file or a later clinical format shows, typed and frozen.

It holds no name of the person recorded, no file name, no date but its own, and no age above 89 (45 CFR 164.514(b)(2)
joins those ages). Whoever signs is named.
Whatever a reader may take for a finding says who wrote it (`copilot.record.marks.Marked`).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from copilot.record.marks import Change, HandOff, LogHead, Marked, Note, Section, SignOff
from copilot.record.statements import LIMITS, NOTICE, WORDING, Status
from dataset_builder.manifest import Metric
from dataset_builder.prompts import Language, Source
from dataset_builder.recipe import StrictModel
from dataset_builder.types import EMOTIONS

#: Raised when a field changes its meaning or goes away.
SCHEMA_VERSION: Literal[2] = 2


class Subject(StrictModel):
    """Who was recorded, without identifiers; None means not stated."""

    age: int | Literal["90 or older"] | None = None
    sex: Literal["F", "M"] | None = None


class RecordingFacts(StrictModel):
    """What was recorded.

    Parameters
    ----------
    sha256 : str or None
        Digest of the recording's file, which alone links the record to it.
    channels, missing_channels : list of str
        10-10 names present, and scalp channels of the training data that are absent.
    n_windows : int
    window_s : float
        Length of one window in seconds.
    sfreq_hz : float or None
        Sampling frequency of the windows as read; the device's own is `device_sfreq_hz`.
    notes : list of str
        What the reader repaired or left out.
    """

    sha256: str | None = None
    channels: list[str]
    missing_channels: list[str]
    n_windows: int
    window_s: float
    sfreq_hz: float | None = None
    device_sfreq_hz: float | None = None
    notes: list[str] = Field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length of all windows together."""
        return self.n_windows * self.window_s


class Check(StrictModel):
    """One line of the quality section."""

    name: str
    finding: str
    passed: bool


class SignalQuality(StrictModel):
    """How good the signal is; `sufficient` decides whether an estimate is given."""

    sufficient: bool
    usable_share: float
    marked_channels: list[str]
    checks: list[Check]


class Score(StrictModel):
    """Mean probability of one emotion."""

    emotion: str
    valence: str
    probability: float


class Estimate(Marked):
    """The emotion estimate, or why there is none.

    Parameters
    ----------
    emotion : str or None
        The model's headline, which no edit changes; None when `abstained`.
    override : str or None
        What a person states instead.
    wording : str
    scores : list of Score
        Nine in the order of `dataset_builder.types.EMOTIONS`, sum 1; empty when the model was not asked.
    windows : list of list of float
        The same per window.
    chance : float
        What guessing gives to each label.
    margin, entropy, agreement : float
        Lead over the second label; entropy over that of guessing; share of windows that agree with the headline.
    low_confidence : bool
    abstained : bool
    reason : str
        Why it abstained.
    cautions : list of str
    """

    emotion: str | None
    override: str | None = None
    wording: str = WORDING
    scores: list[Score]
    windows: list[list[float]]
    chance: float
    margin: float
    entropy: float
    agreement: float
    low_confidence: bool
    abstained: bool
    reason: str = ""
    cautions: list[str] = Field(default_factory=list)

    @property
    def stated(self) -> str | None:
        """The emotion that the record states: a person's word before the model's."""
        return self.override or self.emotion

    @model_validator(mode="after")
    def _ask_for_nine(self) -> Self:
        if self.scores and [score.emotion for score in self.scores] != list(EMOTIONS):
            raise ValueError("scores need the nine emotions in order")
        if self.abstained is not (self.emotion is None):
            raise ValueError("an abstaining estimate names no emotion, any other names one")
        return self


class Assessment(Marked):
    """The sentences on the estimate.

    Parameters
    ----------
    text : str
        Empty when `withheld` says why.
    window : int or None
        The window they are about, counted from 1; None for sentences that a person wrote.
    observation : str
        What stands out in that window's code, computed, for comparison with `text`.
    """

    text: str
    withheld: str = ""
    window: int | None
    observation: str = ""


class SuggestionLine(Marked):
    """One option to discuss, from the cited library; `reviewed` says by which role and when, empty if by nobody yet."""

    id: str
    text: str
    source: Source
    why: str
    reviewed: str = ""


class Turn(StrictModel):
    """One turn of the prompt, word for word."""

    role: str
    content: str


class Provenance(StrictModel):
    """Which model answered, and what is known of how well it answers.

    Parameters
    ----------
    model, base, corpus, codec, quantisation : str
        Names; empty where unknown.
    gguf_sha256 : str
    synthetic_training : bool or None
        Whether the model was trained on made-up data.
    metrics : list of Metric
        Measured accuracy, copied from the manifests of the model.
    software : dict
        Versions of the packages that computed the record.
    """

    model: str
    gguf_sha256: str
    quantisation: str = ""
    codec: str = ""
    corpus: str = ""
    base: str = ""
    synthetic_training: bool | None = None
    metrics: list[Metric] = Field(default_factory=list)
    software: dict[str, str] = Field(default_factory=dict)


class Picture(StrictModel):
    """A picture of the signal, base64-encoded, since the signal itself is not in the record."""

    id: Literal["traces", "topomaps"]
    media_type: Literal["image/png"] = "image/png"
    alt: str
    caption: str
    data: str = Field(repr=False)


class Record(StrictModel):
    """An assisted record; see the field types.

    Parameters
    ----------
    status : {"draft", "edited", "signed", "amended"}
    created : str
        ISO 8601 in UTC.
    language : {"en", "zh"}
        Of the model's sentences and the options.
    no_suggestions : str
        Why the list of suggestions is empty.
    sections : list of Section
        One per copilot, see `copilot.record.sections`.
    notes, handoff, changes, sign_off
        What people added, see `copilot.record.marks`.
    draft_sha256 : str
        Digest of the machine's draft; empty in the draft itself.
    log : LogHead or None
        Set in renderings of a reviewed record.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    status: Status = "draft"
    created: str
    language: Language = "en"
    notice: str = NOTICE
    synthetic: bool
    subject: Subject
    recording: RecordingFacts
    quality: SignalQuality
    estimate: Estimate
    assessment: Assessment | None
    suggestions: list[SuggestionLine]
    no_suggestions: str = ""
    sections: list[Section] = Field(default_factory=list)
    notes: list[Note] = Field(default_factory=list)
    handoff: HandOff | None = None
    changes: list[Change] = Field(default_factory=list)
    sign_off: SignOff | None = None
    draft_sha256: str = ""
    log: LogHead | None = None
    prompt: list[Turn]
    provenance: Provenance
    limits: list[str] = Field(default_factory=lambda: list(LIMITS))
    pictures: list[Picture] = Field(default_factory=list)

    @property
    def signed(self) -> bool:
        """Whether a person answers for the record."""
        return self.sign_off is not None

    @model_validator(mode="after")
    def _agree_with_status(self) -> Self:
        if self.signed is not (self.status in ("signed", "amended")):
            raise ValueError("status and sign-off contradict each other")
        if (self.status == "draft") and self.changes:
            raise ValueError("a draft holds no change by a person")
        return self


def group_age(age: int | None) -> int | Literal["90 or older"] | None:
    """Return the age as a record may state it."""
    return "90 or older" if age is not None and age > 89 else age
