"""The paper's code: wavelet-compressed samples of a few channels, written as decimals.

EEG Emotion Copilot (arXiv 2410.00166) keeps the approximation coefficients of a discrete wavelet transform and writes
them as numbers. Kept here as the baseline it is: at budgets that fit a prompt it holds next to none of the label's
information, because 25 points over 30 s cannot carry anything above 0.4 Hz.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pywt
from pydantic import Field, field_validator

from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import SCALP_CHANNELS, Code, Trial


class WaveletConfig(StrictModel):
    """Options of the wavelet code.

    Parameters
    ----------
    name : str
    channels : list of str
        Channels to write, in order.
    points : int
        Approximation coefficients per channel.
    wavelet : str
        Any discrete wavelet of PyWavelets.
    decimals : int
        Decimals per coefficient; the signal is in units of its own standard deviation.
    """

    name: Literal["wavelet"] = "wavelet"
    channels: list[str] = Field(default=["Fz", "Cz", "Pz"], min_length=1)
    points: int = Field(default=25, ge=4, le=1000)
    wavelet: str = "db4"
    decimals: int = Field(default=2, ge=0, le=6)

    @field_validator("wavelet")
    @classmethod
    def _check_wavelet(cls, value: str) -> str:
        if value not in pywt.wavelist(kind="discrete"):
            raise ValueError("accepted: a discrete wavelet of PyWavelets such as db4, sym5, haar")
        return value

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, value: list[str]) -> list[str]:
        if unknown := sorted(set(value) - set(SCALP_CHANNELS)):
            raise ValueError(f"unknown {', '.join(unknown)}; accepted: {', '.join(SCALP_CHANNELS)}")
        return value


class WaveletCodec(Codec):
    """Approximation coefficients of a periodised DWT, in standard deviations of the trial, as decimals.

    ``Code.values`` is an int32 array of shape (n_channels, points): coefficient times 10**decimals.
    The coefficients are divided by 2**(level/2), so a constant signal keeps its value. Nothing is fitted.
    """

    name: ClassVar[str] = "wavelet"
    Config: ClassVar[type[StrictModel]] = WaveletConfig
    reads: ClassVar[str] = "signal_uv"

    @property
    def n_values(self) -> int:
        """Number of decimals per code."""
        return len(self.config.channels) * self.config.points

    @property
    def error_bound(self) -> float:
        """Half of the last decimal, in standard deviations of the trial."""
        return 0.5 * 10.0**-self.config.decimals

    def encode(self, trials: Sequence[Trial]) -> list[Code]:
        """Encode the trials of one recording; each is scaled by its own mean and standard deviation.

        Raises
        ------
        InputError
            If there is no signal (a folder of band features has none) or a channel is missing.
        """
        return [Code(self.name, self._quantise(self.compress(trial))) for trial in trials]

    def compress(self, trial: Trial) -> np.ndarray:
        """Return the approximation coefficients before rounding, shape (n_channels, points), standard deviations."""
        recording = trial.recording
        if trial.signal_uv is None:
            raise InputError("codec wavelet: needs waveforms (Processed_data); only band features are here")
        if missing := [name for name in self.config.channels if name not in recording.channels]:
            raise InputError(f"codec wavelet: channel {', '.join(missing)} is not in the recording")
        signal = trial.signal_uv[[recording.channels.index(name) for name in self.config.channels]].astype(np.float64)
        z = (signal - signal.mean(axis=-1, keepdims=True)) / np.maximum(signal.std(axis=-1, keepdims=True), 1e-9)
        level = max(1, int(np.floor(np.log2(z.shape[-1] / self.config.points))))
        for _ in range(level):
            z, _ = pywt.dwt(z, self.config.wavelet, mode="periodization", axis=-1)
        places = np.linspace(0, z.shape[-1] - 1, self.config.points)
        picked = np.stack([np.interp(places, np.arange(row.size), row) for row in z])
        return picked / 2 ** (level / 2)

    def decode(self, code: Code) -> np.ndarray:
        """Return the coefficients, shape (n_channels, points), float64, standard deviations."""
        return code.values * 10.0**-self.config.decimals

    def to_text(self, code: Code) -> str:
        """Write one line per channel: its name, then the decimals."""
        width = self.config.decimals
        rows = zip(self.config.channels, self.decode(code), strict=True)
        return "\n".join(f"{name} {' '.join(f'{value:.{width}f}' for value in row)}" for name, row in rows)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        rows = [line.split(" ") for line in text.split("\n")]
        fits = [row[0] for row in rows] == self.config.channels and all(len(r) == 1 + self.config.points for r in rows)
        try:
            values = np.array([[float(value) for value in row[1:]] for row in rows]) if fits else None
        except ValueError:
            values = None
        if values is None or not np.isfinite(values).all():
            expected = f"{len(self.config.channels)} channels x {self.config.points} decimals"
            raise InputError(f"wavelet text: expected {expected}")
        return Code(self.name, self._quantise(values))

    @property
    def legend(self) -> str:
        """What the decimals mean, for the system prompt."""
        return (
            f"EEG code: {self.config.points} wavelet approximation coefficients ({self.config.wavelet}) per channel "
            "over the trial, in standard deviations."
        )

    def describe(self, code: Code) -> str:
        """Name the channel with the largest slow deflection."""
        values = self.decode(code)
        channel, _ = np.unravel_index(np.abs(values).argmax(), values.shape)
        size, name = np.abs(values).max(), self.config.channels[channel]
        return f"Largest slow deflection: {size:.1f} standard deviations at {name}."

    def _quantise(self, values: np.ndarray) -> np.ndarray:
        return np.rint(values * 10**self.config.decimals).astype(np.int32)
