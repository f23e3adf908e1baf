"""The signal of each channel by itself, and which channels look alike."""

from dataclasses import dataclass

import numpy as np

from copilot.app.intake import Unfiltered
from dataset_builder.bands import second_sd_uv, trial_de
from dataset_builder.quality import FLAT_SD_UV, MARKED_SHARE, NOISY_SD_UV
from dataset_builder.types import Recording

#: Two channels whose signals agree more than this may be joined by electrode gel. Neighbouring electrodes of a good cap
#: stay below it after the average reference.
BRIDGED_CORRELATION = 0.995


@dataclass(frozen=True)
class ChannelQuality:
    """One line of the table of channels.

    Parameters
    ----------
    name : str
        10-10 name.
    sd_uv : float
        Median over seconds of the SD in 1-47 Hz, µV.
    flat_share, noisy_share : float
        Share of seconds below `FLAT_SD_UV` and above `NOISY_SD_UV`.
    hum_hz : float or None
        Mains frequency found before filtering.
    clipped : bool
        Whether the unfiltered signal stands at the end of its range.
    bridged : str
        Channel with the same signal; empty if there is none.
    """

    name: str
    sd_uv: float
    flat_share: float
    noisy_share: float
    hum_hz: float | None
    clipped: bool
    bridged: str

    @property
    def marked(self) -> bool:
        """Whether the quality gate counts the channel as bad."""
        return self.flat_share > MARKED_SHARE or self.noisy_share > MARKED_SHARE

    @property
    def doubtful(self) -> bool:
        """Whether a person should look at a channel that the gate accepts."""
        return not self.marked and (self.clipped or bool(self.bridged) or self.hum_hz is not None)


def judge_channels(recording: Recording, unfiltered: Unfiltered) -> list[ChannelQuality]:
    """Judge each channel.

    Parameters
    ----------
    recording : Recording
    unfiltered : Unfiltered

    Returns
    -------
    list of ChannelQuality
        In the order of the recording's channels. ``marked`` is as `dataset_builder.quality.assess_quality` has it.
    """
    sd_uv = np.stack([second_sd_uv(trial_de(trial)) for trial in recording])  # windows, channels, seconds
    flat, noisy = sd_uv < FLAT_SD_UV, ~(sd_uv <= NOISY_SD_UV)
    twins = find_bridges(recording)
    return [
        ChannelQuality(
            name=name,
            sd_uv=float(np.median(sd_uv[:, row])),
            flat_share=float(flat[:, row].mean()),
            noisy_share=float(noisy[:, row].mean()),
            hum_hz=unfiltered.hum.get(name),
            clipped=name in unfiltered.clipped,
            bridged=twins.get(name, ""),
        )
        for row, name in enumerate(recording.channels)
    ]


def find_bridges(recording: Recording) -> dict[str, str]:
    """Return channels whose signal is that of another one in every window, with the one that is most alike."""
    if recording.signal_uv is None or len(recording.channels) < 2:
        return {}
    with np.errstate(invalid="ignore"):
        alike = np.min([np.nan_to_num(np.corrcoef(window)) for window in recording.signal_uv], axis=0)
    np.fill_diagonal(alike, 0)
    best = alike.argmax(axis=1)
    pairs = zip(recording.channels, best.tolist(), strict=True)
    return {
        name: recording.channels[other]
        for row, (name, other) in enumerate(pairs)
        if alike[row, other] > BRIDGED_CORRELATION
    }
