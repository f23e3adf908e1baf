"""The paper's second code (its method W->S): more wavelet points, cut into segments that are read one at a time."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from dataset_builder.codecs.decimals import DecimalCodec, DecimalConfig
from dataset_builder.codecs.wavelet import approximate, check_wavelet, synthesise
from dataset_builder.recipe import StrictModel


class WaveletSegmentsConfig(DecimalConfig):
    """Options of the segmented wavelet code.

    A trial gives one code, so one corpus holds one segment of each trial. The paper makes a prompt of every segment:
    build a corpus per segment (``keep: 1`` to ``keep: 10``). ``keep: all`` writes all of them into one prompt, which
    fits a model's window only for a few channels.

    Parameters
    ----------
    name : str
    channels, decimals
        See `DecimalConfig`.
    points : int
        Approximation coefficients per channel and trial, before cutting.
    segments : int
        Equal parts of these points.
    keep : "first", "all" or int
        Which segment is written; a number counts from 1.
    wavelet : str
        Any discrete wavelet of PyWavelets.
    """

    name: Literal["wavelet_segments"] = "wavelet_segments"
    points: int = Field(default=500, ge=4, le=1000)
    segments: int = Field(default=10, ge=1, le=100)
    keep: Literal["first", "all"] | int = "first"
    wavelet: str = "db4"

    @field_validator("wavelet")
    @classmethod
    def _check_wavelet(cls, value: str) -> str:
        return check_wavelet(value)

    @model_validator(mode="after")
    def _check_segments(self) -> "WaveletSegmentsConfig":
        if self.points % self.segments:
            raise ValueError(f"points: {self.points} cannot be cut into {self.segments} equal segments")
        if isinstance(self.keep, int) and not 1 <= self.keep <= self.segments:
            raise ValueError(f"keep: {self.keep} is not a segment; accepted: first, all, 1 to {self.segments}")
        return self


class WaveletSegmentsCodec(DecimalCodec):
    """Segments of the approximation coefficients of a periodised DWT; see `DecimalCodec` for values and text.

    With ``keep: all`` the segments of a channel are parted by `` |``.
    """

    name: ClassVar[str] = "wavelet_segments"
    Config: ClassVar[type[StrictModel]] = WaveletSegmentsConfig

    @property
    def n_points(self) -> int:
        """Values per channel in one code."""
        return int(self.config.points) // (1 if self.config.keep == "all" else int(self.config.segments))

    @property
    def n_groups(self) -> int:
        """Segments in one code."""
        return int(self.config.segments) if self.config.keep == "all" else 1

    def compress(self, z: np.ndarray, sfreq_hz: float) -> np.ndarray:
        """Return the kept segment of the approximation coefficients."""
        return approximate(z, self.config.wavelet, self.config.points)[..., self._kept]

    def rebuild(self, values: np.ndarray, n_times: int, sfreq_hz: float) -> np.ndarray:
        """Invert `compress`; the segments that are not in the code are zero."""
        whole = np.zeros((*values.shape[:-1], self.config.points))
        whole[..., self._kept] = values
        return synthesise(whole, self.config.wavelet, n_times)

    def explain(self, language: str = "en") -> str:
        """Say what the decimals mean, for the system prompt."""
        points, segments, wavelet = self.config.points, self.config.segments, self.config.wavelet
        if language == "zh":
            which = f"分为{segments}段" if self.config.keep == "all" else f"分为{segments}段中的第{self._number}段"
            return f"脑电编码：每个通道{points}个小波近似系数（{wavelet}），{which}，以标准差为单位。"
        which = f"in {segments} segments" if self.config.keep == "all" else f"segment {self._number} of {segments}"
        return (
            f"EEG code: {points} wavelet approximation coefficients ({wavelet}) per channel over the trial, {which}, "
            "in standard deviations."
        )

    @property
    def _number(self) -> int:
        return self.config.keep if isinstance(self.config.keep, int) else 1

    @property
    def _kept(self) -> slice:
        if self.config.keep == "all":
            return slice(None)
        return slice((self._number - 1) * self.n_points, self._number * self.n_points)
