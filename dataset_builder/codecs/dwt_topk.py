"""The largest wavelet coefficients of a few spatial components: the most of a waveform that fits a prompt."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal, Self

import numpy as np
import pywt
from pydantic import Field, field_validator
from scipy.signal import resample

from dataset_builder.alphabets import choose_symbols
from dataset_builder.codecs.base import Codec, Features
from dataset_builder.codecs.companding import LEVELS, WIDEST_STEP, quantise_companded, restore_companded
from dataset_builder.codecs.fidelity import Comparison, WaveComparison
from dataset_builder.codecs.projection import Projection, check_channels, fit_projection
from dataset_builder.codecs.wavelet import check_wavelet
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import SCALP_CHANNELS, Code, Recording

#: Samples that are kept of a trial: 77 Hz over 30 s. Two letters count to 2,704, eight halvings leave whole numbers.
_SAMPLES, _DEPTH = 2304, 8

_SYMBOLS = choose_symbols(LEVELS)


class DwtTopkConfig(StrictModel):
    """Options of the top-k code.

    Parameters
    ----------
    name : str
    n_components : int
        Spatial components, fitted on the training subjects.
    coefficients : int
        Largest coefficients that are kept, over all components; each costs three tokens.
    wavelet : str
        Any discrete wavelet of PyWavelets.
    """

    name: Literal["dwt_topk"] = "dwt_topk"
    n_components: int = Field(default=4, ge=1, le=30)
    coefficients: int = Field(default=160, ge=1, le=2000)
    wavelet: str = "db4"

    @field_validator("wavelet")
    @classmethod
    def _check_wavelet(cls, value: str) -> str:
        return check_wavelet(value)


class DwtTopkCodec(Codec):
    """Largest coefficients of a periodised DWT of spatial components, as two letters of position and one of size.

    The unit is the root mean square of all coefficients of the trial, so the level of the trial is lost. Where channels
    are missing the components are estimated from the others (`Projection.project`); below `MIN_CHANNELS` channels the
    recording is refused. A code cannot show which were missing: a row tells it in its column ``channels``.

    ``Code.values`` is an int16 array of shape (coefficients, 3): component, position in the list of its coefficients
    from slow to fast, level; sorted. Sizes are mu-law levels 0 to 51, symmetric around zero.
    Fitted state, float32: ``basis`` (n_components, 30), ``variance`` (n_components,), ``residual`` (1,).
    """

    name: ClassVar[str] = "dwt_topk"
    Config: ClassVar[type[StrictModel]] = DwtTopkConfig
    needs_fit: ClassVar[bool] = True

    @property
    def reads(self) -> str:
        """Waveforms."""
        return "signal_uv"

    @property
    def normalization(self) -> str:
        """Each trial is scaled by itself."""
        return "trial"

    @property
    def n_values(self) -> int:
        """Component, position and level of every coefficient."""
        return 3 * int(self.config.coefficients)

    @property
    def n_tokens(self) -> int:
        """Two letters of position and one of size; the component is the line's name."""
        return 3 * int(self.config.coefficients)

    @property
    def levels(self) -> int:
        """Steps of the quantiser."""
        return LEVELS

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Texts of the levels; they count positions too."""
        return _SYMBOLS

    @property
    def error_bound(self) -> float:
        """Half of the widest step, in root mean squares of the trial's coefficients; small values have finer ones."""
        return WIDEST_STEP / 2

    def extract(self, recording: Recording) -> Features:
        """Keep all scalp channels at 2,304 samples a trial, float16, in root mean squares of the trial.

        Returns
        -------
        dict of str to ndarray
            ``signal`` of shape (n_trials, 30, 2304), NaN for a missing channel; 3.9 MB for 28 trials.

        Raises
        ------
        InputError
            If there is no signal, or fewer than `MIN_CHANNELS` scalp channels.
        """
        signal = np.full((len(recording), len(SCALP_CHANNELS), _SAMPLES), np.nan, dtype=np.float16)
        present = self._find_present(recording)
        for row in range(len(recording)):
            signal[row, present] = resample(_scale_trial(recording, row, present), _SAMPLES, axis=-1)
        return {"signal": signal}

    def fit(self, people: Iterable[Features]) -> Self:
        """Learn spatial components from the trials of training subjects with all channels.

        Raises
        ------
        InputError
            If there is no such trial.
        """
        total, n_trials = np.zeros((len(SCALP_CHANNELS), len(SCALP_CHANNELS))), 0
        for features in people:
            for trial in features["signal"].astype(np.float64):
                if not np.isnan(trial).any():
                    total += np.cov(trial, bias=True)
                    n_trials += 1
        if not n_trials:
            raise InputError("codec dwt_topk: no training trial has all 30 scalp channels; at least one is needed")
        found = fit_projection(total / n_trials, self.config.n_components)
        residual = np.array([found.residual], dtype=np.float32)
        return type(self)(self.config, {"basis": found.basis, "variance": found.variance, "residual": residual})

    def encode(self, features: Features) -> list[Code]:
        """Keep the largest coefficients of each trial.

        Raises
        ------
        InputError
            If the codec is not fitted.
        """
        return [Code(self.name, self._select(self.transform(trial))) for trial in features["signal"]]

    def transform(self, trial: np.ndarray) -> np.ndarray:
        """Return all coefficients of a trial, shape (n_components, 2304), in units of their root mean square.

        Parameters
        ----------
        trial : ndarray of shape (30, 2304)
            One trial of `extract`.
        """
        if not self.state:
            raise InputError("codec dwt_topk: not fitted; build a corpus first or load a fitted codec")
        scores = self._projection.project(trial.astype(np.float64).T).T
        parts = pywt.wavedec(scores, self.config.wavelet, mode="periodization", level=_DEPTH, axis=-1)
        coefficients = np.concatenate(parts, axis=-1)
        return np.asarray(coefficients / max(float(np.sqrt((coefficients**2).mean())), 1e-9))

    def decode(self, code: Code) -> np.ndarray:
        """Return the coefficients, shape (n_components, 2304), root mean squares; those that were not kept are 0."""
        coefficients = np.zeros((self.config.n_components, _SAMPLES))
        component, position, level = code.values.T
        coefficients[component, position] = restore_companded(level)
        return coefficients

    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield the rebuilt signals of the channels that are there, and the true ones; see `Codec.compare`."""
        present, sfreq_hz = self._find_present(recording), float(recording.sfreq_hz or 0)
        names = tuple(SCALP_CHANNELS[place] for place in present)
        features = self.extract(recording)
        for row, (trial, code) in enumerate(zip(features["signal"], self.encode(features), strict=True)):
            truth = _scale_trial(recording, row, present)
            unit = np.sqrt((self._projection.project(trial.astype(np.float64).T) ** 2).mean())
            channels = self.state["basis"].T[present] @ self._rebuild(self.decode(code)) * unit
            yield WaveComparison(names, truth, np.asarray(resample(channels, truth.shape[-1], axis=-1)), sfreq_hz)

    def to_text(self, code: Code) -> str:
        """Write one line per component: its number, then three letters per coefficient."""
        lines = [f"C{component + 1}" for component in range(self.config.n_components)]
        for component, position, level in code.values.tolist():
            lines[component] += "".join(_SYMBOLS[index] for index in (*divmod(position, LEVELS), level))
        return "\n".join(lines)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        known = {symbol.strip(): index for index, symbol in enumerate(_SYMBOLS)}
        rows: list[list[int]] = []
        for component, line in enumerate(text.split("\n")):
            levels = [known.get(word, -1) for word in line.split(" ")[1:]]
            triples = [levels[start : start + 3] for start in range(0, len(levels), 3)]
            rows += [[component, t[0] * LEVELS + t[1], t[2]] for t in triples if len(t) == 3 and min(t) >= 0]
        if len(rows) == self.config.coefficients and max(row[1] for row in rows) < _SAMPLES:
            code = Code(self.name, np.array(rows, dtype=np.int16))
            if max(row[0] for row in rows) < self.config.n_components and self.to_text(code) == text:
                return code
        raise InputError(
            f"dwt_topk text: expected {self.config.n_components} lines with {self.config.coefficients} x 3 letters"
        )

    def explain(self, language: str = "en") -> str:
        """Say what the letters mean, for the system prompt."""
        kept, n_components = self.config.coefficients, self.config.n_components
        if language == "zh":
            return (
                f"脑电编码：{n_components}个空间成分的最大{kept}个小波系数，每个系数三个字母：前两个为位置（由慢到快），"
                "第三个为大小；大写表示负，小写表示正，越靠近z越大。"
            )
        return (
            f"EEG code: the {kept} largest wavelet coefficients of {n_components} spatial components, three letters "
            "each: two of position from slow to fast, one of size, capital below zero, small above, z the largest."
        )

    def describe(self, code: Code, language: str = "en") -> str:
        """Name the component with the largest coefficient."""
        size = np.abs(self.decode(code))
        component = int(np.unravel_index(size.argmax(), size.shape)[0]) + 1
        if language == "zh":
            return f"最大小波系数：第{component}空间成分，为均方根的{size.max():.0f}倍。"
        return f"Largest wavelet coefficient: {size.max():.0f} times the root mean square, in component {component}."

    @property
    def _projection(self) -> Projection:
        return Projection(self.state["basis"], self.state["variance"], float(self.state["residual"][0]))

    def _find_present(self, recording: Recording) -> list[int]:
        """Return which of the 30 scalp channels the recording has."""
        if recording.signal_uv is None or recording.sfreq_hz is None:
            raise InputError("codec dwt_topk: needs waveforms (Processed_data); only band features are here")
        present = [place for place, name in enumerate(SCALP_CHANNELS) if name in recording.channels]
        check_channels(self.name, len(present))
        return present

    def _select(self, coefficients: np.ndarray) -> np.ndarray:
        order = np.argsort(-np.abs(coefficients), axis=None, kind="stable")[: self.config.coefficients]
        chosen = np.sort(order)
        component, position = np.unravel_index(chosen, coefficients.shape)
        return np.stack([component, position, quantise_companded(coefficients.ravel()[chosen])], axis=1).astype(
            np.int16
        )

    def _rebuild(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the components' time courses, shape (n_components, 2304)."""
        lengths = [_SAMPLES >> _DEPTH, *(_SAMPLES >> level for level in range(_DEPTH, 0, -1))]
        parts = np.split(coefficients, np.cumsum(lengths)[:-1], axis=-1)
        return np.asarray(pywt.waverec(parts, self.config.wavelet, mode="periodization", axis=-1))


def _scale_trial(recording: Recording, row: int, present: list[int]) -> np.ndarray:
    """Return the present scalp channels of a trial without their means, over their common root mean square."""
    assert recording.signal_uv is not None  # _find_present has seen it
    index = [recording.channels.index(SCALP_CHANNELS[place]) for place in present]
    signal = recording.signal_uv[row][index].astype(np.float64)
    signal -= signal.mean(axis=-1, keepdims=True)
    return np.asarray(signal / max(float(np.sqrt((signal**2).mean())), 1e-9))
