"""What is known of a recording, as HTML: header, checks, electrodes, quality, pictures, code."""

from typing import Any

from copilot.app.head_map import load_places
from copilot.app.pictures import DRAWING, WindowView, draw_window
from copilot.app.rendering import render
from copilot.app.session import Session, Signal
from copilot.app.words import Words
from copilot.gate import MAX_MISSING_REGIONS, MIN_USABLE_SHARE, find_reason_to_abstain
from dataset_builder.quality import FLAT_SD_UV, MARKED_SHARE, NOISY_SD_UV
from dataset_builder.sources.montage import MASTOIDS
from dataset_builder.types import SCALP_CHANNELS


def show_header(session: Session) -> str:
    """Return the header's fields, identifiers masked."""
    return render("header", session, intake=session.intake)


def show_facts(session: Session) -> str:
    """Return the checks of channels, rate, unit, reference and length."""
    if session.intake is None or session.signal is None:
        return render("facts", session, intake=None)
    checks = _check_recording(session, session.words)
    return render("facts", session, intake=session.intake, checks=checks, notes=session.intake.recording.notes)


def show_montage(session: Session) -> str:
    """Return the map of electrodes and their names in the file."""
    if session.intake is None or session.signal is None:
        return render("montage", session, signal=None)
    dots = place_dots(session.signal)
    counts = {kind: sum(dot["kind"] == kind for dot in dots) for kind in ("present", "extra", "missing", "bad")}
    shown = [(kind, count) for kind, count in counts.items() if count]
    words = session.words
    return render(
        "montage",
        session,
        signal=session.signal,
        dots=dots,
        counts=shown,
        summary="; ".join(f"{words('montage.' + kind)}: {count}" for kind, count in shown),
        missing=session.signal.quality.missing_channels,
        channels=session.intake.channels,
    )


def show_gate(session: Session) -> str:
    """Return the verdict on the signal and what it rests on."""
    if session.signal is None:
        return render("gate", session, signal=None)
    reason = find_reason_to_abstain(session.signal.quality)
    checks = _check_quality(session.signal, session.words)
    return render("gate", session, signal=session.signal, reason=reason, checks=checks)


def show_channels(session: Session) -> str:
    """Return the table of channels."""
    bounds = {"flat": f"{FLAT_SD_UV:g}", "noisy": f"{NOISY_SD_UV:g}", "share": f"{MARKED_SHARE:.0%}"}
    return render("channels", session, signal=session.signal, **bounds)


def show_picture(session: Session, name: str) -> str:
    """Return the picture ``"traces"``, ``"spectrum"`` or ``"topomaps"`` of the session's window."""
    view = get_window(session)
    if view is None or session.signal is None:
        return render("picture", session, picture="", missing="")
    places = {
        "number": session.window + 1,
        "total": len(session.signal.recording),
        "count": len(session.signal.recording.channels),
    }
    words = session.words
    texts = {part: words(f"views.{name}_{part}", **places) for part in ("alt", "caption")}
    return render("picture", session, picture=getattr(view, name), missing=view.missing.get(name, ""), **texts)


def show_code(session: Session) -> str:
    """Return what the model reads of the session's window."""
    view = get_window(session)
    code, missing = (None, "") if view is None else (view.code, view.missing.get("code", ""))
    told = {"legend": "", "described": ""}
    if code is not None and session.model is not None:
        codec, language = session.model.codec, session.language
        told = {"legend": codec.explain(language), "described": codec.describe(code.code, language)}
    return render("code", session, code=code, missing=missing, number=session.window + 1, signal=session.signal, **told)


def get_window(session: Session) -> WindowView | None:
    """Return the session's window drawn, None without a recording; drawn once."""
    if session.signal is None:
        return None
    if session.window not in session.pictures:
        with DRAWING:
            session.pictures[session.window] = draw_window(session.signal, session.window, session.model)
    view: WindowView = session.pictures[session.window]
    return view


def place_dots(signal: Signal) -> list[dict[str, Any]]:
    """Return the electrodes of the map: name, place and kind (present, extra, missing, bad)."""
    bad = {channel.name for channel in signal.channels if channel.marked}
    kinds = dict.fromkeys(signal.quality.missing_channels, "missing")
    for name in signal.recording.channels:
        kinds[name] = "bad" if name in bad else "present" if name in SCALP_CHANNELS else "extra"
    places = load_places() | {"A1": (-1.38, 0.12), "A2": (1.38, 0.12)}
    return [
        {"name": name, "kind": kind, "right": places[name][0], "down": places[name][1]}
        for name, kind in kinds.items()
        if name in places
    ]


def _check_recording(session: Session, words: Words) -> list[tuple[str, str, bool]]:
    assert session.intake is not None
    assert session.signal is not None
    recording, cut = session.intake.recording, session.signal.recording
    used = sum(bool(channel.place) for channel in session.intake.channels)
    scaled = [note for note in recording.notes if "scaled by" in note]
    seconds = 0.0 if cut.signal_uv is None or not cut.sfreq_hz else cut.signal_uv.shape[-1] / cut.sfreq_hz
    scalp = [name for name in recording.channels if name not in MASTOIDS]
    rate = {"device": f"{recording.device_sfreq_hz or 0:g}", "used": f"{recording.sfreq_hz or 0:g}"}
    return [
        (
            words("facts.channels"),
            words("facts.channels_found", used=used, total=len(session.intake.channels)),
            len(scalp) >= len(SCALP_CHANNELS) // 2,
        ),
        (words("facts.rate"), words("facts.rate_found", **rate), True),
        (words("facts.unit"), words.say(scaled[0]) if scaled else words("facts.unit_fine"), not scaled),
        (words("facts.reference"), words("facts.reference_found", count=len(recording.channels)), True),
        (words("facts.length"), words("facts.length_found", windows=len(cut), seconds=f"{seconds:g}"), True),
    ]


def _check_quality(signal: Signal, words: Words) -> list[tuple[str, str, bool]]:
    quality = signal.quality
    poor = sum(share < MIN_USABLE_SHARE for share in quality.window_fractions)

    def name(items: tuple[str, ...]) -> str:
        return ", ".join(map(words.say, items)) or words("page.none")

    usable = words("quality.at_least", found=f"{quality.usable_fraction:.0%}", bound=f"{MIN_USABLE_SHARE:.0%}")
    regions = words("quality.at_most", found=name(quality.missing_regions), bound=MAX_MISSING_REGIONS)
    return [
        (words("quality.usable"), usable, quality.usable_fraction >= MIN_USABLE_SHARE),
        (words("quality.windows"), words("quality.of", part=poor, whole=quality.n_windows), not poor),
        (words("quality.flat"), name(quality.flat_channels), not quality.flat_channels),
        (words("quality.noisy"), name(quality.noisy_channels), not quality.noisy_channels),
        (words("quality.regions"), regions, len(quality.missing_regions) <= MAX_MISSING_REGIONS),
    ]
