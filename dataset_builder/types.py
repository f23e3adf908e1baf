"""The few typed things that pass from stage to stage, with their shapes and units."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

#: Frequency bands in Hz, as FACED's feature release defines them (Chen et al. 2023, Sci Data 10:740).
BANDS: dict[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 14.0),
    "beta": (14.0, 30.0),
    "gamma": (30.0, 47.0),
}

#: The 30 scalp channels of FACED in processed order; the release adds the mastoids A2 and A1 after them.
SCALP_CHANNELS: tuple[str, ...] = tuple(
    "Fp1 Fp2 Fz F3 F4 F7 F8 FC1 FC2 FC5 FC6 Cz C3 C4 T7 T8 CP1 CP2 CP5 CP6 Pz P3 P4 P7 P8 PO3 PO4 Oz O1 O2".split()
)

#: The nine target emotions of FACED's clips. Always mapped by name: other toolkits number them differently.
EMOTIONS: tuple[str, ...] = (
    "anger",
    "disgust",
    "fear",
    "sadness",
    "neutral",
    "amusement",
    "inspiration",
    "joy",
    "tenderness",
)

#: Valence of each emotion as FACED groups its clips.
VALENCE: dict[str, str] = {
    **dict.fromkeys(("anger", "disgust", "fear", "sadness"), "negative"),
    "neutral": "neutral",
    **dict.fromkeys(("amusement", "inspiration", "joy", "tenderness"), "positive"),
}

#: The twelve self-ratings of FACED (0-7), in file order.
RATINGS: tuple[str, ...] = (
    "joy",
    "tenderness",
    "inspiration",
    "amusement",
    "anger",
    "disgust",
    "fear",
    "sadness",
    "arousal",
    "valence",
    "familiarity",
    "liking",
)


@dataclass(frozen=True)
class Recording:
    """Everything known of one person's EEG session.

    Either the signal, the band features, or both are present.

    Parameters
    ----------
    subject : str
        Pseudonym, for example ``"sub003"``; never a name or a file name.
    channels : tuple of str
        Channel names in the order of the arrays (10-20/10-10 names: T7, not T3).
    signal_uv : ndarray of shape (n_trials, n_channels, n_times), float32, µV, or None
    sfreq_hz : float or None
        Sampling frequency of ``signal_uv``.
    de : ndarray of shape (n_trials, n_channels, n_seconds, 5), float32, nats, or None
        Differential entropy 0.5 ln(2 pi e variance[µV²]) per second and band of `BANDS`.
    clips : tuple of (int or None), length n_trials
        Stimulus number, 1-based; None where no stimulus is known.
    emotions : tuple of (str or None), length n_trials
        Intended emotion of the clip, one of `EMOTIONS`.
    psd : ndarray of shape (n_trials, n_channels, n_seconds, 5), float32, no unit, or None
        Relative band power as FACED releases it, see `dataset_builder.bands.compute_psd`.
    ranks : tuple of (int or None), length n_trials, or empty
        1-based place of each trial in the order of presentation; empty or None where unknown. Causal and calibrated
        scaling need it.
    facial : tuple of dict of str to float, length n_trials, or empty
        Facial features that the user's own file states for each trial, such as action units; never made up.
    ratings : ndarray of shape (n_trials, 12), float32, or None
        Self-ratings in the order of `RATINGS`, 0 to 7.
    age, sex, cohort, device_sfreq_hz
        Demographics and device facts; None where unknown. ``sex`` is ``"F"`` or ``"M"``.
    synthetic : bool
        True for made-up data; carried into every artifact.
    notes : tuple of str
        What the reader found worth telling (repairs, missing channels), without identifiers.
    left_out : dict of str to int
        Trials that are not here, counted by reason.
    starts_s : tuple of float, length n_trials, or empty
        Where each segment begins within its stimulus window, s; empty where windows are whole. See
        `dataset_builder.segments.cut_segments`.
    """

    subject: str
    channels: tuple[str, ...]
    clips: tuple[int | None, ...]
    emotions: tuple[str | None, ...]
    signal_uv: np.ndarray | None = None
    sfreq_hz: float | None = None
    de: np.ndarray | None = None
    psd: np.ndarray | None = None
    ranks: tuple[int | None, ...] = ()
    facial: tuple[dict[str, float], ...] = ()
    ratings: np.ndarray | None = None
    age: int | None = None
    sex: str | None = None
    cohort: int | None = None
    device_sfreq_hz: float | None = None
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    starts_s: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> "Iterator[Trial]":
        return (self.trial(index) for index in range(len(self)))

    def trial(self, index: int) -> "Trial":
        """Return trial number `index` (0-based) as a view on the recording's arrays."""
        return Trial(
            recording=self,
            index=index,
            clip=self.clips[index],
            emotion=self.emotions[index],
            signal_uv=None if self.signal_uv is None else self.signal_uv[index],
            de=None if self.de is None else self.de[index],
        )


@dataclass(frozen=True)
class Trial:
    """One stimulus window of a recording.

    Parameters
    ----------
    recording : Recording
        Where channels, sampling frequency and demographics are found.
    index : int
        Position within the recording, 0-based.
    clip : int or None
    emotion : str or None
    signal_uv : ndarray of shape (n_channels, n_times), float32, µV, or None
    de : ndarray of shape (n_channels, n_seconds, 5), float32, nats, or None
    """

    recording: Recording = field(repr=False)
    index: int
    clip: int | None
    emotion: str | None
    signal_uv: np.ndarray | None = field(default=None, repr=False)
    de: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Code:
    """A compressed trial: what the model will read, before it is written as text.

    Parameters
    ----------
    codec : str
        Name in `dataset_builder.codecs.CODECS`.
    values : ndarray
        Symbols; shape and dtype are the codec's own and stated there.
    """

    codec: str
    values: np.ndarray
