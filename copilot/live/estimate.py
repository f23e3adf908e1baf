"""The newest seconds of a stream -> nine scores, smoothed, or a reason why there are none."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from copilot.answer import LabelEngine, describe_facts
from copilot.gate import check_age, check_confidence, find_cautions, find_reason_to_abstain
from dataset_builder.codecs import Codec, Features, Normalization
from dataset_builder.errors import InputError
from dataset_builder.filters import TARGET_SFREQ_HZ, filter_signal, reference_to_average
from dataset_builder.prompts import Style
from dataset_builder.quality import assess_quality
from dataset_builder.sources.montage import MASTOIDS, MIN_SCALP_CHANNELS
from dataset_builder.sources.recording_files import find_unit_scale
from dataset_builder.types import EMOTIONS, Recording

#: Signal before the window that filters need, seconds.
MARGIN_S = 5.0

#: Fewer seconds than this are not asked about.
FIRST_S = 10

#: With a larger share of samples filled in, the window is not what was measured.
MAX_MISSING_SHARE = 0.1

#: Time in which an older estimate's weight falls to 37 %, seconds.
_SMOOTHING_S = 10.0

#: Most windows that set a person's scale: twenty minutes.
_MAX_HISTORY = 40


@dataclass(frozen=True)
class Estimate:
    """What is said of the stream at one moment.

    Parameters
    ----------
    window_s : float
        Seconds of signal that were read.
    raw : dict of str to float
        Scores of this window alone; empty when withheld.
    scores : dict of str to float
        Smoothed scores; empty when withheld.
    withheld : str
        Why there are no scores; empty when there are.
    cautions : tuple of str
    usable_share : float
        Share of seconds times channels that is usable, 0 to 1.
    processor_s, wall_s : float
        What it took, seconds.
    """

    window_s: float
    raw: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    withheld: str = ""
    cautions: tuple[str, ...] = ()
    usable_share: float = 0.0
    processor_s: float = 0.0
    wall_s: float = 0.0

    @property
    def emotion(self) -> str | None:
        """The likeliest emotion; None when withheld or on low confidence."""
        return max(self.scores, key=self.scores.__getitem__) if self.scores and not self.doubt else None

    @property
    def doubt(self) -> str:
        """Why the scores name no emotion; empty when they name one or there are none."""
        return check_confidence(list(self.scores.values())) if self.scores else ""

    @property
    def low_confidence(self) -> bool:
        """Whether the scores hardly favour one label."""
        return bool(self.doubt)


class LiveReader:
    """Asks the model about windows in the order of time.

    Values are scaled to the person by what was seen so far and never by what comes later: a codec that scales by the
    whole session is told to do so causally. Windows that do not overlap and are good enough are remembered, as band
    power alone, for as long as the reader lives.

    Parameters
    ----------
    engine : LabelEngine
    codec : Codec
        The fitted codec that belongs to the model.
    style : Style
    channels : sequence of str
        10-10 names in the order of the samples.
    sfreq_hz : float
        Of the samples.
    unit_uv : float or None
        Microvolts per unit of the samples; None to tell it from the amplitudes of the first window.
    age : int, optional
        Years.
    sex : {"F", "M"}, optional
    step_s : float
        Time between two estimates, seconds.
    notes : sequence of str
        What every estimate is to be read with, for example that channels are reconstructed.
    """

    def __init__(
        self,
        engine: LabelEngine,
        codec: Codec,
        style: Style,
        channels: Sequence[str],
        sfreq_hz: float,
        unit_uv: float | None,
        age: int | None = None,
        sex: str | None = None,
        step_s: float = 2.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.codec, self._scales = make_causal(codec)
        self.window_s = int(getattr(codec.config, "seconds", 30))
        self._engine, self._style = engine, style
        self._channels, self._sfreq_hz, self._unit_uv = tuple(channels), sfreq_hz, unit_uv
        self._stated = unit_uv is not None
        self._facts: dict[str, Any] = {"age": age, "sex": sex, "device_sfreq_hz": sfreq_hz}
        self._keep = float(np.exp(-step_s / _SMOOTHING_S))
        self._smooth: np.ndarray | None = None
        self._notes = tuple(notes)
        self._history: list[Features] = []
        self._archived_at = -np.inf
        engine.read_prefix(style.render_system(self.codec))

    def estimate(self, samples: np.ndarray, missing_share: float, at_s: float) -> Estimate:
        """Ask about the newest window.

        Parameters
        ----------
        samples : ndarray of shape (n_channels, n_times)
            The newest samples; a few seconds more than the window serve the filters.
        missing_share : float
            Share of the window's samples that was filled in.
        at_s : float
            When the newest sample was taken, seconds on any clock that goes on.

        Raises
        ------
        InputError
            If the unit cannot be told.
        """
        processor_s, wall_s = time.process_time(), time.perf_counter()
        seconds = min(self.window_s, int(samples.shape[1] / self._sfreq_hz))
        found = self._read(samples, missing_share, seconds, at_s)
        spent_s = time.process_time() - processor_s
        return replace(found, processor_s=spent_s, wall_s=time.perf_counter() - wall_s)

    def _read(self, samples: np.ndarray, missing_share: float, seconds: int, at_s: float) -> Estimate:
        if seconds < min(FIRST_S, self.window_s):
            least = min(FIRST_S, self.window_s)
            return self._withhold(seconds, f"Collecting: {seconds} of at least {least} s are there.")
        alive = np.ptp(samples, axis=1) > 0
        channels = tuple(name for name, good in zip(self._channels, alive, strict=True) if good)
        if sum(name not in MASTOIDS for name in channels) < MIN_SCALP_CHANNELS:
            flat = f"{len(self._channels) - len(channels)} of {len(self._channels)} channels are flat."
            return self._withhold(seconds, flat)
        recording = self._make_recording(samples[alive].astype(np.float64), channels, seconds)
        quality = assess_quality(recording)
        cautions = self._find_cautions(recording, quality, seconds)
        reason = find_reason_to_abstain(quality) or check_age(recording.age)
        if missing_share > MAX_MISSING_SHARE:
            reason = f"{missing_share:.0%} of the window's samples were dropped; at most {MAX_MISSING_SHARE:.0%} may."
        if reason:
            found = self._withhold(seconds, reason)
            return replace(found, cautions=cautions, usable_share=quality.usable_fraction)
        raw = self._ask(recording, whole=seconds == self.window_s, at_s=at_s)
        self._smooth = raw if self._smooth is None else self._keep * self._smooth + (1 - self._keep) * raw
        return Estimate(
            seconds,
            raw=dict(zip(EMOTIONS, raw.tolist(), strict=True)),
            scores=dict(zip(EMOTIONS, self._smooth.tolist(), strict=True)),
            cautions=cautions,
            usable_share=quality.usable_fraction,
        )

    def _withhold(self, seconds: int, reason: str) -> Estimate:
        """Say why nothing is said, and begin to smooth anew: what came before a gap does not hold after it."""
        self._smooth = None
        return Estimate(seconds, withheld=reason)

    def _make_recording(self, samples: np.ndarray, channels: tuple[str, ...], seconds: int) -> Recording:
        """Filter as recordings are filtered; a window that is not yet full is repeated until it is."""
        filtered = filter_signal(samples, self._sfreq_hz)
        length = seconds * round(TARGET_SFREQ_HZ)
        if self._unit_uv is None:
            try:
                self._unit_uv, _ = find_unit_scale(filtered, "stream")
            except InputError as error:
                raise InputError(f"{error}; the stream does not state its unit") from None
        window = reference_to_average(filtered[:, -length:] * np.float32(self._unit_uv))
        times = np.arange(self.window_s * round(TARGET_SFREQ_HZ)) % window.shape[1]
        return Recording(
            subject="stream",
            channels=channels,
            clips=(None,),
            emotions=(None,),
            signal_uv=window[None][..., times],
            sfreq_hz=TARGET_SFREQ_HZ,
            ranks=(1,),
            **self._facts,
        )

    def _find_cautions(self, recording: Recording, quality: Any, seconds: int) -> tuple[str, ...]:
        few = () if not self._scales or len(self._history) >= 4 else self._tell_scale()
        short = (f"The window holds {seconds} of {self.window_s} s, repeated.",) if seconds < self.window_s else ()
        unit = () if self._stated else ("The stream states no unit; it was told from the amplitudes.",)
        # What is said there of few windows is told here in terms of time.
        general = tuple(text for text in find_cautions(recording, quality) if not text.startswith("Few windows"))
        return (*self._notes, *short, *few, *unit, *general)

    def _tell_scale(self) -> tuple[str, ...]:
        known_s = len(self._history) * self.window_s
        return (f"The person's own average, to which the signal is compared, rests on {known_s} s so far.",)

    def _ask(self, recording: Recording, *, whole: bool, at_s: float) -> np.ndarray:
        features = self.codec.extract(recording)
        code = self.codec.encode(join_features([*self._history, features]))[-1]
        if whole and at_s >= self._archived_at + self.window_s:
            self._archived_at = at_s
            self._history = [*self._history, features][-_MAX_HISTORY:]
        messages = self._style.render_prompt(self.codec, code, describe_facts(recording.trial(0)))
        scores = self._engine.score_labels(messages, EMOTIONS, self._style.answer_prefix)
        return np.array([scores[emotion] for emotion in EMOTIONS])


def make_causal(codec: Codec) -> tuple[Codec, bool]:
    """Return the codec with causal scaling where it scales to a person at all.

    Parameters
    ----------
    codec : Codec
        Fitted.

    Returns
    -------
    codec : Codec
    scales : bool
        Whether it scales to the person.
    """
    how = getattr(codec.config, "normalization", None)
    if not isinstance(how, Normalization) or how.mode == "none":
        return codec, False
    config = codec.config.model_copy(update={"normalization": Normalization(mode="causal")})
    return type(codec)(config, codec.state), True


def join_features(parts: Sequence[Features]) -> Features:
    """Join windows, one trial each, in the order of time; their ranks are their places."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[-1]}
    if "ranks" in joined:
        joined["ranks"] = np.arange(1, len(joined["ranks"]) + 1, dtype=joined["ranks"].dtype)
    return joined
