"""From a recording and its answer to a record: what may be shown of them, and nothing else."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from copilot.answer import Explanation, RecordingAnswer
from copilot.gate import (
    CHANCE,
    MAX_MARKED_SHARE,
    MAX_MISSING_REGIONS,
    MIN_USABLE_SHARE,
    check_confidence,
    clean_channels,
    clean_note,
    find_reason_to_abstain,
)
from copilot.record.sections import Evidence, write_sections
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
from dataset_builder.prompts import LIBRARY, Language, Suggestion, needs_none
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
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    explanation, model = answer.explanation, provenance.model
    estimate = describe_estimate(recording, answer, model)
    quality = describe_quality(answer.quality, sufficient=not find_reason_to_abstain(answer.quality))
    return Record(
        created=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        language=explanation.language if explanation else "en",
        synthetic=recording.synthetic,
        subject=Subject(age=group_age(recording.age), sex=recording.sex),  # type: ignore[arg-type]
        recording=describe_recording(recording, sha256),
        quality=quality,
        estimate=estimate,
        assessment=None if explanation is None or estimate.abstained else describe_assessment(explanation, model),
        suggestions=[] if estimate.abstained else list_suggestions(answer, model),
        no_suggestions=explain_no_suggestions(answer, estimate),
        sections=write_sections(Evidence(recording, answer, estimate, quality, model)),
        prompt=[Turn(**turn) for turn in (explanation.messages if explanation else [])],
        provenance=provenance,
        pictures=draw_pictures(recording.trial(explanation.window if explanation else 0), answer.quality),
    )


def describe_assessment(explanation: Explanation, model: str) -> Assessment:
    """Return the model's sentences, or why they are withheld."""
    window = explanation.window + 1
    return Assessment(
        text=explanation.text,
        withheld=explanation.withheld,
        window=window,
        observation=explanation.observation,
        basis=f"window {window} of the recording",
        model=model,
    )


def list_suggestions(answer: RecordingAnswer, model: str) -> list[SuggestionLine]:
    """Return the options that the model selected, in the language in which it answers."""
    explanation = answer.explanation
    if explanation is None or answer.emotion is None:
        return []
    return [describe_suggestion(item, explanation.language, answer.emotion, model) for item in explanation.suggestions]


def describe_suggestion(item: Suggestion, language: Language, emotion: str, model: str = "") -> SuggestionLine:
    """Return an entry of the cited library as a record states it; `model` is empty when a person selected it."""
    return SuggestionLine(
        id=item.id,
        text=item.text[language],
        source=item.source,
        why=explain_choice(emotion, by_model=bool(model)),
        reviewed=f"{item.review.by}, {item.review.date}" if item.review.state == "reviewed" else "",
        basis=f"cited library, version {LIBRARY.version}",
        model=model,
        origin="machine" if model else "human",
    )


def explain_choice(emotion: str, by_model: bool) -> str:
    """Return why an option stands in the record."""
    who = "the model" if by_model else "a person"
    return f"The cited library lists it for {emotion}; selected by {who}, not a prescription."


def explain_no_suggestions(answer: RecordingAnswer, estimate: Estimate) -> str:
    """Return why a record holds no suggestion; empty when it holds one."""
    if estimate.emotion is None or answer.explanation is None:
        return "None: no estimate was given."
    if needs_none(estimate.emotion):
        return LIBRARY.no_suggestion["en"]
    return "" if answer.explanation.suggestions else "None: the model selected none that fits."


def describe_recording(recording: Recording, sha256: str | None = None) -> RecordingFacts:
    """Return the technical facts of a recording."""
    return RecordingFacts(
        sha256=sha256,
        channels=clean_channels(recording.channels),
        missing_channels=[name for name in SCALP_CHANNELS if name not in recording.channels],
        n_windows=len(recording),
        window_s=_window_seconds(recording),
        sfreq_hz=recording.sfreq_hz,
        device_sfreq_hz=recording.device_sfreq_hz,
        notes=[clean_note(note) for note in recording.notes],
    )


def describe_quality(quality: Quality, *, sufficient: bool) -> SignalQuality:
    """Return the checks of the signal, each against the bound above which the model is not asked."""
    marked = _marked(quality)
    poor = sum(share < MIN_USABLE_SHARE for share in quality.window_fractions)
    return SignalQuality(
        sufficient=sufficient,
        usable_share=quality.usable_fraction,
        marked_channels=clean_channels(marked),
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


def describe_estimate(recording: Recording, answer: RecordingAnswer, model: str) -> Estimate:
    """Return scores, headline and their strength; no headline where the signal, the age or the scores forbid one."""
    scores = answer.scores
    reason = answer.reason or check_confidence(list(scores.values()))
    return Estimate(
        emotion=None if reason else answer.emotion,
        scores=[Score(emotion=name, valence=VALENCE[name], probability=p) for name, p in scores.items()],
        windows=answer.window_scores.tolist(),
        chance=CHANCE,
        margin=answer.margin,
        entropy=answer.entropy,
        agreement=answer.agreement,
        low_confidence=answer.low_confidence,
        abstained=bool(reason),
        reason=reason,
        cautions=list(answer.cautions),
        basis=f"mean label scores, windows: {len(answer.window_scores)}" if scores else "",
        model=model if scores else "",
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
    return ", ".join(clean_channels(names)) or "none"


def _make_picture(key: str, png: bytes, alt: str, caption: str) -> Picture:
    return Picture(id=key, alt=alt, caption=caption, data=base64.b64encode(png).decode("ascii"))  # type: ignore[arg-type]


def _window_seconds(recording: Recording) -> float:
    if recording.signal_uv is not None and recording.sfreq_hz:
        return round(recording.signal_uv.shape[-1] / recording.sfreq_hz, 3)
    return float(np.shape(recording.de)[2]) if recording.de is not None else 0.0
