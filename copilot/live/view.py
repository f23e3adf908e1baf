"""The live view: one block of text that is drawn over itself, or a line of JSON per update for programs."""

import json
from collections.abc import Sequence

from copilot.live.loop import Update
from copilot.live.lsl import LiveStream
from dataset_builder.types import EMOTIONS
from model_recipes.exporting.gguf_file import NOTICE

_BAR = 24

#: Up by so many lines to the first column, then clear to the end.
_REDRAW = "\x1b[{lines}F\x1b[J"


def describe_stream(stream: LiveStream, model: str, *, window_s: float, synthetic: bool) -> list[str]:
    """Return the lines above the block.

    Parameters
    ----------
    stream : LiveStream
    model : str
        Name of the model.
    window_s : float
    synthetic : bool
        Whether the model was trained on made-up data.
    """
    trained = ", trained on made-up data" if synthetic else ""
    lines = [f"stream     {stream.name}: {len(stream.channels)} channels used, {stream.sfreq_hz:g} Hz"]
    lines += [f"note       {note}" for note in stream.notes]
    lines.append(f"model      {model}{trained}; window {window_s:g} s; nothing is kept. Ctrl-C stops")
    return [*lines, NOTICE]


def render_update(update: Update) -> list[str]:
    """Return the block of one update."""
    estimate = update.estimate
    clock = f"{int(update.time_s) // 60:02d}:{int(update.time_s) % 60:02d}"
    lines = [
        f"time {clock}   window {estimate.window_s:g} s   dropped at least {update.dropped} of "
        f"{update.dropped + update.received}   newest sample {update.buffer_age_s:.2f} s old",
        f"usable {estimate.usable_share:.0%}   took {estimate.wall_s:.2f} s ({estimate.processor_s:.2f} of processor)",
    ]
    named = f"{estimate.emotion}, smoothed over the last estimates"
    lines.append(f"estimate   {named if estimate.emotion else f'none: {estimate.withheld or estimate.doubt}'}")
    if estimate.scores:
        best = max(estimate.scores.values())
        for emotion in EMOTIONS:
            score = estimate.scores[emotion]
            lines.append(f"  {emotion:<12} {score:>6.1%}  {'#' * round(_BAR * score / best)}")
    return lines + [f"caution    {caution}" for caution in estimate.cautions]


def render_line(update: Update) -> str:
    """Return one update as one line of text, for output that is no terminal."""
    estimate = update.estimate
    said = f"none: {estimate.withheld or estimate.doubt}"
    if estimate.emotion is not None:
        said = f"{estimate.emotion} {estimate.scores[estimate.emotion]:.1%}"
    return f"{update.time_s:7.1f} s  dropped at least {update.dropped}  age {update.buffer_age_s:.2f} s  {said}"


def render_json(update: Update) -> str:
    """Return one update as a line of JSON; times in seconds."""
    estimate = update.estimate
    return json.dumps(
        {
            "time_s": round(update.time_s, 3),
            "window_s": estimate.window_s,
            "emotion": estimate.emotion,
            "low_confidence": estimate.low_confidence,
            "scores": {name: round(score, 6) for name, score in estimate.scores.items()},
            "window_scores": {name: round(score, 6) for name, score in estimate.raw.items()},
            "withheld": estimate.withheld,
            "cautions": list(estimate.cautions),
            "usable_share": round(estimate.usable_share, 4),
            "dropped": update.dropped,
            "received": update.received,
            "buffer_age_s": round(update.buffer_age_s, 3),
            "processor_s": round(estimate.processor_s, 3),
            "wall_s": round(estimate.wall_s, 3),
            "notice": NOTICE,
        }
    )


def redraw(lines: Sequence[str], before: int, width: int) -> str:
    """Return the text that draws a block over the one before it.

    Parameters
    ----------
    lines : sequence of str
    before : int
        How many lines that one had; 0 for the first.
    width : int
        Of the terminal; longer lines are cut, for a wrapped one would count twice.
    """
    up = _REDRAW.format(lines=before) if before else ""
    return up + "\n".join(line[: max(20, width - 1)] for line in lines)
