"""Waveforms as decimals: what the codes of the paper and their controls share."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from dataset_builder.codecs.base import Codec, Features
from dataset_builder.codecs.fidelity import Comparison, WaveComparison
from dataset_builder.codecs.symbols import MISSING
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import SCALP_CHANNELS, Code, Recording

#: In the place of the values of a channel that the recording lacks.
_ABSENT = np.iinfo(np.int32).min


class DecimalConfig(StrictModel):
    """Options that all decimal codes have.

    Parameters
    ----------
    channels : list of str
        Channels to write, in order; default: all 30 scalp channels.
    points : int
        Values per channel.
    decimals : int
        Decimals per value; the signal is in units of its own standard deviation.
    """

    channels: list[str] = Field(default=list(SCALP_CHANNELS), min_length=1)
    points: int = Field(default=50, ge=4, le=1000)
    decimals: int = Field(default=1, ge=0, le=6)

    @field_validator("channels")
    @classmethod
    def _check_channels(cls, value: list[str]) -> list[str]:
        if unknown := sorted(set(value) - set(SCALP_CHANNELS)):
            raise ValueError(f"unknown {', '.join(unknown)}; accepted: {', '.join(SCALP_CHANNELS)}")
        if len(set(value)) < len(value):
            raise ValueError("a channel is named twice")
        return value


class DecimalCodec(Codec):
    """A few numbers per channel, in standard deviations of that channel in the trial, written as decimals.

    A number has one digit before the point, so it always costs ``3 + decimals`` tokens under Qwen2's rule (space or
    minus, digit, point, decimals); what lies beyond ten standard deviations is clipped. Nothing is fitted. The unit is
    lost, and with it all that the level of a trial or channel could tell.

    ``Code.values`` is an int32 array of shape (n_channels, n_points): value times 10**decimals; the smallest int32 in
    place of a channel that the recording lacks, written as one ``-``.
    """

    Config: ClassVar[type[StrictModel]]
    #: What `describe` calls the largest value, per language.
    deflection: ClassVar[dict[str, str]] = {"en": "Largest deflection", "zh": "最大波幅"}

    @property
    def reads(self) -> str:
        """Waveforms."""
        return "signal_uv"

    @property
    def normalization(self) -> str:
        """Each trial is scaled by itself."""
        return "trial"

    @property
    def n_points(self) -> int:
        """Values per channel in one code."""
        return int(self.config.points)

    @property
    def n_groups(self) -> int:
        """Into how many groups a channel's values are written."""
        return 1

    @property
    def n_values(self) -> int:
        """Number of decimals per code."""
        return len(self.config.channels) * self.n_points

    @property
    def n_tokens(self) -> int:
        """Space or minus, digit, point and decimals of every value."""
        return self.n_values * (3 + self.config.decimals if self.config.decimals else 2)

    @property
    def error_bound(self) -> float:
        """Half of the last decimal, in standard deviations of the trial."""
        return 0.5 * 10.0**-self.config.decimals

    @abstractmethod
    def compress(self, z: np.ndarray, sfreq_hz: float) -> np.ndarray:
        """Return the values before rounding.

        Parameters
        ----------
        z : ndarray of shape (n_channels, n_times), standard deviations
        sfreq_hz : float

        Returns
        -------
        ndarray of shape (n_channels, n_points), standard deviations
        """

    @abstractmethod
    def rebuild(self, values: np.ndarray, n_times: int, sfreq_hz: float) -> np.ndarray:
        """Return the signal that the values stand for, shape (n_channels, n_times); what they do not hold is zero."""

    def extract(self, recording: Recording) -> Features:
        """Keep the values before rounding, shape (n_trials, n_channels, n_points), float32; NaN for a missing channel.

        Raises
        ------
        InputError
            If there is no signal (a folder of band features has none) or none of the channels is there.
        """
        values = np.full((len(recording), len(self.config.channels), self.n_points), np.nan, dtype=np.float32)
        present = self._find_present(recording)
        for row in range(len(recording)):
            z = self._scale_trial(recording, row, present)
            values[row, present] = self.compress(z, float(recording.sfreq_hz or 0))
        return {"values": values}

    def encode(self, features: Features) -> list[Code]:
        """Round the values of each trial."""
        return [Code(self.name, self._quantise(values)) for values in features["values"]]

    def decode(self, code: Code) -> np.ndarray:
        """Return the values, shape (n_channels, n_points), float64, standard deviations; NaN for a missing channel."""
        return np.where(code.values == _ABSENT, np.nan, code.values * 10.0**-self.config.decimals)

    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield the rebuilt signals of the channels that are there, and the true ones; see `Codec.compare`."""
        present, sfreq_hz = self._find_present(recording), float(recording.sfreq_hz or 0)
        names = tuple(self.config.channels[place] for place in present)
        for row, code in enumerate(self.encode_recording(recording)):
            truth = self._scale_trial(recording, row, present)
            decoded = self.rebuild(self.decode(code)[present], truth.shape[-1], sfreq_hz)
            yield WaveComparison(names, truth, decoded, sfreq_hz)

    def to_text(self, code: Code) -> str:
        """Write one line per channel: its name, then the decimals."""
        rows = zip(self.config.channels, self.decode(code), strict=True)
        return "\n".join(f"{name} {self._write_row(row)}" for name, row in rows)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        rows = [self._read_row(line) for line in text.split("\n")]
        code = Code(self.name, np.stack(rows)) if len(rows) == len(self.config.channels) else None
        if code is None or self.to_text(code) != text:
            expected = f"{len(self.config.channels)} channels x {self.n_points} decimals"
            raise InputError(f"{self.name} text: expected {expected}")
        return code

    def describe(self, code: Code, language: str = "en") -> str:
        """Name the channel with the largest deflection."""
        size = np.nan_to_num(np.abs(self.decode(code)))
        channel, _ = np.unravel_index(size.argmax(), size.shape)
        name, what = self.config.channels[channel], self.deflection[language]
        if language == "zh":
            return f"{what}：{name}，{size.max():.1f}个标准差。"
        return f"{what}: {size.max():.1f} standard deviations at {name}."

    def _find_present(self, recording: Recording) -> list[int]:
        """Return which of the code's channels the recording has."""
        if recording.signal_uv is None or recording.sfreq_hz is None:
            raise InputError(f"codec {self.name}: needs waveforms (Processed_data); only band features are here")
        present = [place for place, name in enumerate(self.config.channels) if name in recording.channels]
        if not present:
            raise InputError(f"codec {self.name}: none of {', '.join(self.config.channels)} is in the recording")
        return present

    def _scale_trial(self, recording: Recording, row: int, present: list[int]) -> np.ndarray:
        index = [recording.channels.index(self.config.channels[place]) for place in present]
        assert recording.signal_uv is not None  # _find_present has seen it
        signal = recording.signal_uv[row][index].astype(np.float64)
        return (signal - signal.mean(axis=-1, keepdims=True)) / np.maximum(signal.std(axis=-1, keepdims=True), 1e-9)

    def _quantise(self, values: np.ndarray) -> np.ndarray:
        unit = 10**self.config.decimals
        rounded = np.clip(np.rint(np.nan_to_num(values) * unit), 1 - 10 * unit, 10 * unit - 1)
        return np.where(np.isnan(values), _ABSENT, rounded).astype(np.int32)

    def _write_row(self, row: np.ndarray) -> str:
        if np.isnan(row[0]):
            return MISSING
        groups = np.split(row, self.n_groups)
        return " | ".join(" ".join(f"{value:.{self.config.decimals}f}" for value in group) for group in groups)

    def _read_row(self, line: str) -> np.ndarray:
        """Return the values of a line, all absent if it is no such line; `from_text` compares what they would write."""
        try:
            row = np.array([float(word) for word in line.split(" ")[1:] if word != "|"])
        except ValueError:
            row = np.empty(0)
        fits = row.size == self.n_points and bool(np.isfinite(row).all())
        return self._quantise(row) if fits else np.full(self.n_points, _ABSENT, dtype=np.int32)
