"""The assisted record: everything a page, a JSON file or a later clinical format shows, typed and frozen.

It holds no name, no file name, no date but its own, and no age above 89 (45 CFR 164.514(b)(2) joins those ages).
Every sentence that a model wrote is marked ``machine``; a later sign-off may mark fields ``human`` or ``edited``.
"""

from typing import Literal

from pydantic import Field

from dataset_builder.manifest import Metric
from dataset_builder.prompts import Source
from dataset_builder.recipe import StrictModel

#: Raised when a field changes its meaning or goes away.
SCHEMA_VERSION: Literal[1] = 1

#: Stands at the top and the bottom of every rendering.
NOTICE = (
    "For research use only. Not a medical device. Not for diagnosis, treatment, triage or monitoring. "
    "This draft was written by a program and has not been reviewed by a qualified person."
)

#: What the headline is, in the words of every rendering.
WORDING = "Model estimate of stimulus-evoked emotion"

#: What no reader may miss.
LIMITS: tuple[str, ...] = (
    "The labels the model learned are the emotions that film clips were meant to evoke, not what people felt; a "
    "person's own report comes first.",
    "The training population is one laboratory's healthy volunteers of 17 to 38 years (FACED: Chen et al. 2023, "
    "Scientific Data 10:740). Nothing is known of patients, other ages or other cultures.",
    "Each training clip carries one emotion, so a model may recognise the clip instead of the emotion. Accuracy on "
    "clips that were never trained on is the number to look at.",
    "The estimate says nothing of mood, personality, intent, truthfulness, suicide risk or any mental disorder.",
    "Scores are not calibrated probabilities. Scaling to the person uses all windows of the recording, unlabelled.",
    "Never to be used at work, in education, recruiting, insurance, policing, border control or courts (see also "
    "Article 5(1)(f) of Regulation (EU) 2024/1689).",
    "EEG itself can identify a person. Treat this page, its picture of the signal and the code that the model read as "
    "personal health data.",
)

Origin = Literal["machine", "human", "edited"]


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


class Estimate(StrictModel):
    """The emotion estimate, or why there is none.

    Parameters
    ----------
    emotion : str or None
        The headline; None when `abstained`.
    wording : str
    scores : list of Score
        Nine in the order of `dataset_builder.types.EMOTIONS`, sum 1; empty when abstained.
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
    origin: Origin = "machine"


class Assessment(StrictModel):
    """The generated sentences.

    Parameters
    ----------
    text : str
        Empty when `withheld` says why.
    window : int
        The window they are about, counted from 1.
    observation : str
        What stands out in that window's code, computed, for comparison with `text`.
    """

    text: str
    withheld: str = ""
    window: int
    observation: str = ""
    origin: Origin = "machine"


class SuggestionLine(StrictModel):
    """One option to discuss, from the cited library; `reviewed` says by which role and when, empty if by nobody yet."""

    id: str
    text: str
    source: Source
    why: str
    reviewed: str = ""
    origin: Origin = "machine"


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

    `created` is ISO 8601 in UTC; `no_suggestions` says why the list of suggestions is empty.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["draft"] = "draft"
    created: str
    notice: str = NOTICE
    synthetic: bool
    subject: Subject
    recording: RecordingFacts
    quality: SignalQuality
    estimate: Estimate
    assessment: Assessment | None
    suggestions: list[SuggestionLine]
    no_suggestions: str = ""
    prompt: list[Turn]
    provenance: Provenance
    limits: list[str] = Field(default_factory=lambda: list(LIMITS))
    pictures: list[Picture] = Field(default_factory=list)


def group_age(age: int | None) -> int | Literal["90 or older"] | None:
    """Return the age as a record may state it."""
    return "90 or older" if age is not None and age > 89 else age
