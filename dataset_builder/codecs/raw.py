"""The control: samples of the waveform as decimals, with nothing done but decimation."""

from typing import ClassVar, Literal

import numpy as np
from scipy.signal import resample

from dataset_builder.codecs.decimals import DecimalCodec, DecimalConfig
from dataset_builder.recipe import StrictModel


class RawConfig(DecimalConfig):
    """Options of the raw code: those of `DecimalConfig`, so that it can be given the budget of any other.

    Parameters
    ----------
    name : str
    channels, points, decimals
        See `DecimalConfig`; the points are samples, evenly spaced over the trial.
    """

    name: Literal["raw"] = "raw"


class RawCodec(DecimalCodec):
    """Samples after an ideal low-pass at half the new rate; see `DecimalCodec` for values and text."""

    name: ClassVar[str] = "raw"
    Config: ClassVar[type[StrictModel]] = RawConfig

    def compress(self, z: np.ndarray, sfreq_hz: float) -> np.ndarray:
        """Resample to the wanted number of points by Fourier method."""
        return np.asarray(resample(z, self.n_points, axis=-1))

    def rebuild(self, values: np.ndarray, n_times: int, sfreq_hz: float) -> np.ndarray:
        """Resample back."""
        return np.asarray(resample(values, n_times, axis=-1))

    def explain(self, language: str = "en") -> str:
        """Say what the decimals mean, for the system prompt."""
        if language == "zh":
            return f"脑电编码：每个通道在整段试次内等间隔的{self.n_points}个采样值，以标准差为单位。"
        return f"EEG code: {self.n_points} evenly spaced samples per channel over the trial, in standard deviations."
