"""From a recording and its answer to a record: what may be shown of them, and nothing else."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from copilot.answer import RecordingAnswer
from copilot.gate import CHANCE, MAX_MARKED_SHARE, MAX_MISSING_REGIONS, MIN_USABLE_SHARE
from copilot.record.types import (
    Assessment,
    Check,
    Estimate,
    Picture,
    Provenance,
    Record,
    RecordingFacts,
    Score,
    SignalQuality,
    Subject,
    SuggestionLine,
    Turn,
    group_age,
)
from dataset_builder.bands import trial_de
from dataset_builder.errors import InputError
from dataset_builder.prompts import LIBRARY, needs_none
from dataset_builder.quality import Quality
from dataset_builder.signal_figures import plot_band_topomaps, plot_traces
from dataset_builder.types import SCALP_CHANNELS, VALENCE, Recording, Trial


def build_record(
    recording: Recording,
    answer: RecordingAnswer,
    provenance: Provenance,
    *,
    sha256: str | None = None,
    created: datetime | None = None,
) -> Record:
    """Put an answer into a record.

    Parameters
    ----------
    recording : Recording
        Its pseudonym is left out.
    answer : RecordingAnswer
        From `copilot.answer.answer_recording` on the same recording.
    provenance : Provenance
        Facts of the model that answered.
    sha256 : str, optional
        Digest of the recording's file.
    created : datetime, optional
        Default: now.

    Returns
    -------
    Record
    """
    explanation = answer.explanation
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    return Record(
        created=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        synthetic=recording.synthetic,
        subject=Subject(age=group_age(recording.age), sex=recording.sex),  # type: ignore[arg-type]
        recording=describe_recording(recording, sha256),
        quality=describe_quality(answer.quality, sufficient=not answer.abstained),
        estimate=describe_estimate(answer),
        assessment=None
        if explanation is None
        else Assessment(
            text=explanation.text,
            withheld=explanation.withheld,
            window=explanation.window + 1,
            observation=explanation.observation,
        ),
        suggestions=list_suggestions(answer),
        no_suggestions=explain_no_suggestions(answer),
        prompt=[Turn(**turn) for turn in (explanation.messages if explanation else [])],
        provenance=provenance,
        pictures=draw_pictures(recording.trial(explanation.window if explanation else 0), answer.quality),
    )


def list_suggestions(answer: RecordingAnswer) -> list[SuggestionLine]:
    """Return the options that the model selected, in the language in which it answers."""
    explanation = answer.explanation
    if explanation is None:
        return []
    why = f"The cited library lists it for {answer.emotion}; selected by the model, not a prescription."
    return [
        SuggestionLine(
            id=item.id,
            text=item.text[explanation.language],
            source=item.source,
            why=why,
            reviewed=f"{item.review.by}, {item.review.date}" if item.review.state == "reviewed" else "",
        )
        for item in explanation.suggestions
    ]


def explain_no_suggestions(answer: RecordingAnswer) -> str:
    """Return why a record holds no suggestion; empty when it holds one."""
    if answer.emotion is None or answer.explanation is None:
        return "None: no estimate was given."
    if needs_none(answer.emotion):
        return LIBRARY.no_suggestion["en"]
    return "" if answer.explanation.suggestions else "None: the model selected none that fits."


def describe_recording(recording: Recording, sha256: str | None = None) -> RecordingFacts:
    """Return the technical facts of a recording."""
    return RecordingFacts(
        sha256=sha256,
        channels=list(recording.channels),
        missing_channels=[name for name in SCALP_CHANNELS if name not in recording.channels],
        n_windows=len(recording),
        window_s=_window_seconds(recording),
        sfreq_hz=recording.sfreq_hz,
        device_sfreq_hz=recording.device_sfreq_hz,
        notes=list(recording.notes),
    )


def describe_quality(quality: Quality, *, sufficient: bool) -> SignalQuality:
    """Return the checks of the signal, each against the bound above which the model is not asked."""
    marked = _marked(quality)
    poor = sum(share < MIN_USABLE_SHARE for share in quality.window_fractions)
    return SignalQuality(
        sufficient=sufficient,
        usable_share=quality.usable_fraction,
        marked_channels=marked,
        checks=[
            Check(
                name="Usable share",
                finding=f"{quality.usable_fraction:.0%} (at least {MIN_USABLE_SHARE:.0%})",
                passed=quality.usable_fraction >= MIN_USABLE_SHARE,
            ),
            Check(
                name="Windows with less than half usable",
                finding=f"{poor} of {quality.n_windows}",
                passed=not poor,
            ),
            Check(name="Flat channels", finding=_list(quality.flat_channels), passed=not quality.flat_channels),
            Check(name="Noisy channels", finding=_list(quality.noisy_channels), passed=not quality.noisy_channels),
            Check(
                name="Bad channels together",
                finding=f"{len(marked)} of {quality.n_channels} (at most {int(MAX_MARKED_SHARE * quality.n_channels)})",
                passed=len(marked) <= MAX_MARKED_SHARE * quality.n_channels,
            ),
            Check(
                name="Scalp regions without a good channel",
                finding=f"{_list(quality.missing_regions)} (at most {MAX_MISSING_REGIONS})",
                passed=len(quality.missing_regions) <= MAX_MISSING_REGIONS,
            ),
        ],
    )


def describe_estimate(answer: RecordingAnswer) -> Estimate:
    """Return scores, headline and their strength."""
    return Estimate(
        emotion=answer.emotion,
        scores=[Score(emotion=name, valence=VALENCE[name], probability=p) for name, p in answer.scores.items()],
        windows=answer.window_scores.tolist(),
        chance=CHANCE,
        margin=answer.margin,
        entropy=answer.entropy,
        agreement=answer.agreement,
        low_confidence=answer.low_confidence,
        abstained=answer.abstained,
        reason=answer.reason,
        cautions=list(answer.cautions),
    )


def draw_pictures(trial: Trial, quality: Quality) -> list[Picture]:
    """Draw traces and scalp maps of one window, as far as the recording allows."""
    recording = trial.recording
    place = f"Window {trial.index + 1} of {len(recording)}"
    pictures = []
    if trial.signal_uv is not None and recording.sfreq_hz is not None:
        drawn = plot_traces(trial.signal_uv, recording.sfreq_hz, recording.channels, _marked(quality))
        caption = f"{place}. All channels after preprocessing, each with its median removed; ✕ marks a bad channel."
        pictures.append(_make_picture("traces", drawn, f"EEG traces of {len(recording.channels)} channels.", caption))
    try:
        drawn = plot_band_topomaps(trial_de(trial).mean(axis=1), recording.channels)
    except InputError:
        return pictures
    caption = f"{place}. Band power in dB relative to 1 µV², seen from above; each map has its own scale."
    pictures.append(_make_picture("topomaps", drawn, "Scalp maps of band power in five bands.", caption))
    return pictures


def _marked(quality: Quality) -> list[str]:
    return list(dict.fromkeys((*quality.flat_channels, *quality.noisy_channels)))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _make_picture(key: str, png: bytes, alt: str, caption: str) -> Picture:
    return Picture(id=key, alt=alt, caption=caption, data=base64.b64encode(png).decode("ascii"))  # type: ignore[arg-type]


def _window_seconds(recording: Recording) -> float:
    if recording.signal_uv is not None and recording.sfreq_hz:
        return round(recording.signal_uv.shape[-1] / recording.sfreq_hz, 3)
    return float(np.shape(recording.de)[2]) if recording.de is not None else 0.0
