"""One contiguous piece of the waveform per channel, as decimals: full time resolution, next to no time."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.signal import resample

from dataset_builder.codecs.decimals import DecimalCodec, DecimalConfig
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel


class ChunkConfig(DecimalConfig):
    """Options of the chunk code.

    Parameters
    ----------
    name : str
    channels, points, decimals
        See `DecimalConfig`; the points are neighbouring samples.
    sfreq_hz : float
        Rate of the samples; 100 Hz holds all bands, and 50 points are then half a second.
    start_s : float
        Where in the trial the piece begins, in seconds.
    """

    name: Literal["chunk"] = "chunk"
    sfreq_hz: float = Field(default=100.0, ge=2, le=1000)
    start_s: float = Field(default=0.0, ge=0)


class ChunkCodec(DecimalCodec):
    """Neighbouring samples, in standard deviations of the whole trial; see `DecimalCodec` for values and text."""

    name: ClassVar[str] = "chunk"
    Config: ClassVar[type[StrictModel]] = ChunkConfig

    def compress(self, z: np.ndarray, sfreq_hz: float) -> np.ndarray:
        """Cut the piece out of the resampled trial."""
        samples, piece = self._place(z.shape[-1], sfreq_hz)
        return np.asarray(resample(z, samples, axis=-1))[..., piece]

    def rebuild(self, values: np.ndarray, n_times: int, sfreq_hz: float) -> np.ndarray:
        """Put the piece back; all the rest of the trial is zero."""
        samples, piece = self._place(n_times, sfreq_hz)
        whole = np.zeros((*values.shape[:-1], samples))
        whole[..., piece] = values
        return np.asarray(resample(whole, n_times, axis=-1))

    def explain(self, language: str = "en") -> str:
        """Say what the decimals mean, for the system prompt."""
        length_s, start_s = self.n_points / self.config.sfreq_hz, self.config.start_s
        if language == "zh":
            return (
                f"脑电编码：每个通道自第{start_s:g}秒起{length_s:g}秒内的{self.n_points}个连续采样值，以标准差为单位。"
            )
        return (
            f"EEG code: {self.n_points} neighbouring samples per channel, {length_s:g} s from second {start_s:g} of "
            "the trial, in standard deviations."
        )

    def _place(self, n_times: int, sfreq_hz: float) -> tuple[int, slice]:
        """Return the number of samples of the resampled trial and where the piece lies."""
        samples = round(n_times / sfreq_hz * self.config.sfreq_hz)
        start = round(self.config.start_s * self.config.sfreq_hz)
        if start + self.n_points > samples:
            trial_s, start_s = n_times / sfreq_hz, self.config.start_s
            raise InputError(
                f"codec chunk: {self.n_points} points from {start_s:g} s go beyond the {trial_s:g}-s trial"
            )
        return samples, slice(start, start + self.n_points)
