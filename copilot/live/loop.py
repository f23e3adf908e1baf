"""The live loop: pull samples, ask every two seconds, tell; memory only, nothing is written anywhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from copilot.live.buffer import SampleBuffer
from copilot.live.estimate import MARGIN_S, Estimate, LiveReader
from copilot.live.lsl import LiveStream
from dataset_builder.errors import InputError

#: How long one pull waits for samples, seconds.
_PULL_S = 0.2

#: Silence after which no estimate is given, and after which the stream counts as ended, seconds.
_STALE_S = 3.0
_ENDED_S = 15.0


@dataclass(frozen=True)
class Update:
    """What can be told at one moment.

    Parameters
    ----------
    time_s : float
        Since the stream was opened.
    estimate : Estimate
    dropped : int
        Samples that never arrived, at least: jitter hides single ones.
    received : int
        Samples that arrived.
    buffer_age_s : float
        Age of the newest sample when it was read.
    """

    time_s: float
    estimate: Estimate
    dropped: int
    received: int
    buffer_age_s: float


def follow_stream(
    stream: LiveStream, reader: LiveReader, *, step_s: float = 2.0, duration_s: float | None = None
) -> Iterator[Update]:
    """Yield an update every `step_s` seconds, or as often as the machine can.

    Parameters
    ----------
    stream : LiveStream
    reader : LiveReader
    step_s : float
    duration_s : float, optional
        Stop after so long; default: when the stream ends or the caller stops.

    Yields
    ------
    Update

    Raises
    ------
    InputError
        If the stream's unit cannot be told, or it ends before the first sample.
    """
    buffer = SampleBuffer(len(stream.channels), stream.sfreq_hz, reader.window_s + MARGIN_S)
    begun = heard = time.monotonic()
    due = begun + step_s
    while True:
        buffer.append(*(pulled := stream.pull(_PULL_S)))
        now = time.monotonic()
        heard = now if len(pulled[1]) else heard
        if now - heard > _ENDED_S:
            if not buffer.received:
                raise InputError(f"stream: sent no sample in {_ENDED_S:g} s")
            return
        if now >= due:
            age_s = max(0.0, stream.now_s() - buffer.newest_s) if buffer.received else now - begun
            yield Update(now - begun, _ask(reader, buffer, age_s), buffer.dropped, buffer.received, age_s)
            due = max(due + step_s, time.monotonic())
        if duration_s is not None and now - begun >= duration_s:
            return


def _ask(reader: LiveReader, buffer: SampleBuffer, age_s: float) -> Estimate:
    if age_s > _STALE_S:
        return Estimate(0.0, withheld=f"No new sample for {age_s:.0f} s.")
    samples, _ = buffer.window(reader.window_s + MARGIN_S)
    _, missing_share = buffer.window(reader.window_s)
    return reader.estimate(samples, missing_share, (buffer.received + buffer.dropped) / buffer.sfreq_hz)
