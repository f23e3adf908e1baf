"""Principal components of band power, window by window: the shape of the whole head in a few symbols."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from dataset_builder.codecs.band_power import describe_deviation
from dataset_builder.codecs.base import Features
from dataset_builder.codecs.fidelity import DB_PER_NAT, Comparison, PowerComparison
from dataset_builder.codecs.normalize import Normalization, extract_ranks, fit_person_scale, scale_to_person
from dataset_builder.codecs.power import extract_power
from dataset_builder.codecs.projection import Projection, check_channels, fit_projection
from dataset_builder.codecs.scaled import ScaledCodec
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import BANDS, SCALP_CHANNELS, Code, Recording

_LABEL = "EEG"


class ComponentsConfig(StrictModel):
    """Options of the components code.

    Parameters
    ----------
    name : str
    windows : int
        Equal time windows per trial. More than one locks the code to the film's course: on FACED that lifts scores on
        clips that the training subjects saw, and none on others.
    n_components : int
        Symbols per window.
    levels : int
        Steps of the quantiser: up to 10 are digits, up to 26 small letters, up to 52 letters with case for the sign.
    feature : {"de", "psd"}
        Differential entropy, or FACED's relative power spectral density.
    normalization : Normalization
        Which of a person's trials set the scale.
    """

    name: Literal["components"] = "components"
    windows: int = Field(default=1, ge=1, le=30)
    n_components: int = Field(default=32, ge=1, le=150)
    levels: int = Field(default=10, ge=2, le=52)
    feature: Literal["de", "psd"] = "de"
    normalization: Normalization = Normalization()


class ComponentsCodec(ScaledCodec):
    """Power of 30 channels x 5 bands per window, relative to the person's own mean, as scores of shared components.

    The basis is that of all windows of the training subjects. Where channels are missing the scores are estimated from
    the others (`Projection.project`); below `MIN_CHANNELS` channels the recording is refused. A code cannot show which
    were missing: a row tells it in its column ``channels``.

    ``Code.values`` is an int8 array of shape (windows, n_components).
    Fitted state, float32: ``mean``, ``within``, ``between``, ``spread`` of shape (30, 5), nats; ``offset`` (150,),
    ``basis`` (n_components, 150), ``variance`` (n_components,), ``residual`` (1,) in the person's standard deviations.
    """

    name: ClassVar[str] = "components"
    Config: ClassVar[type[StrictModel]] = ComponentsConfig
    needs_fit: ClassVar[bool] = True

    @property
    def reads(self) -> str:
        """The feature that was chosen."""
        return str(self.config.feature)

    @property
    def n_values(self) -> int:
        """Number of symbols per code."""
        return int(self.config.windows * self.config.n_components)

    @property
    def error_bound(self) -> float:
        """Half a step, in standard deviations of each component."""
        return self._quantiser.step / 2

    def extract(self, recording: Recording) -> Features:
        """Keep windowed log power, shape (n_trials, windows, 30, 5), nats.

        Raises
        ------
        InputError
            If fewer than `MIN_CHANNELS` scalp channels are there, or what `extract_power` raises.
        """
        power = extract_power(recording, self.config.feature, self.config.windows)
        check_channels(self.name, sum(name in recording.channels for name in SCALP_CHANNELS))
        return {"power": power, "ranks": extract_ranks(recording)}

    def fit(self, people: Iterable[Features]) -> Self:
        """Learn scale and components from training subjects; the components from those with all channels.

        Raises
        ------
        InputError
            If fewer than two people are given, or they have fewer windows than components are wanted.
        """
        kept = list(people)
        if len(kept) < 2:
            raise InputError(f"codec components: fitted on {len(kept)} training subjects; at least 2 are needed")
        scale = fit_person_scale([features["power"] for features in kept], by_window=True)
        rows = np.concatenate([_flatten(self._scale(features, scale)) for features in kept])
        rows = rows[~np.isnan(rows).any(axis=1)].astype(np.float64)
        if len(rows) <= self.config.n_components:
            raise InputError(
                f"codec components: {len(rows)} training windows with all channels; "
                f"more than n_components ({self.config.n_components}) are needed"
            )
        found = fit_projection(np.cov(rows.T, bias=True), self.config.n_components)
        learned = {"basis": found.basis, "variance": found.variance, "residual": np.array([found.residual])}
        state = scale | learned | {"offset": rows.mean(axis=0)}
        return type(self)(self.config, {name: array.astype(np.float32) for name, array in state.items()})

    def encode(self, features: Features) -> list[Code]:
        """Encode the trials of one person. See the class for the scaling.

        Raises
        ------
        InputError
            If the codec is not fitted, or the scaling needs an order of presentation that is unknown.
        """
        return [Code(self.name, values) for values in self._quantiser.quantise(self.scale_values(features))]

    def scale_values(self, features: Features) -> np.ndarray:
        """Return what is quantised, shape (n_trials, windows, n_components), standard deviations of each component."""
        if not self.state:
            raise InputError("codec components: not fitted; build a corpus first or load a fitted codec")
        centred = _flatten(self._scale(features, self.state)) - self.state["offset"]
        scores = self._projection.project(centred).reshape(-1, self.config.windows, self.config.n_components)
        return scores / np.sqrt(np.maximum(self.state["variance"], 1e-9))

    def decode(self, code: Code) -> np.ndarray:
        """Return the middle of each step, shape (windows, n_components), float32, standard deviations."""
        return self._quantiser.restore(code.values)

    def restore_power(self, code: Code) -> np.ndarray:
        """Return the power that the code stands for, shape (windows, 30, 5), in the person's standard deviations."""
        scores = self.decode(code) * np.sqrt(self.state["variance"])
        return (scores @ self.state["basis"] + self.state["offset"]).reshape(-1, len(SCALP_CHANNELS), len(BANDS))

    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield windowed power per channel, decoded and true; see `Codec.compare`."""
        features = self.extract(recording)
        how = self.config.normalization
        z, units = scale_to_person(features["power"], features["ranks"], self.state, how)
        for code, truth, unit in zip(self.encode(features), z, units, strict=True):
            pair = (truth, np.where(np.isnan(truth), np.nan, self.restore_power(code)))
            yield PowerComparison(SCALP_CHANNELS, *((part * unit * DB_PER_NAT).transpose(2, 0, 1) for part in pair))

    def to_text(self, code: Code) -> str:
        """Write one line, one group of symbols per window."""
        return self._quantiser.write_line(_LABEL, code.values)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        shape = (self.config.windows, self.config.n_components)
        values = self._quantiser.read_line(text, _LABEL, shape)
        if values is None or (values < 0).any():
            raise InputError(f"components text: expected {shape[0]} windows x {shape[1]} symbols")
        return Code(self.name, values)

    def explain(self, language: str = "en") -> str:
        """Say what the symbols mean, for the system prompt."""
        low, high = (symbol.strip() for symbol in (self.alphabet[0], self.alphabet[-1]))
        windows, n_components = self.config.windows, self.config.n_components
        own = self.normalization != "none"
        if language == "zh":
            groups = "" if windows == 1 else f"共{windows}组，每组对应一个时间窗，"
            average = "本人" if own else "一般人"
            return (
                f"脑电编码：头皮各频段功率的{n_components}个主成分，{groups}每个符号对应一个成分；"
                f"{low}表示远低于、{high}表示远高于{average}平均水平。"
            )
        groups = "" if windows == 1 else f", one group for each of {windows} time windows"
        average = "this person's own average" if own else "the average person"
        return (
            f"EEG code: {n_components} principal components of band power over the scalp{groups}; "
            f"{low} is far below and {high} far above {average}."
        )

    def describe(self, code: Code, language: str = "en") -> str:
        """Name the channel and band that lie furthest from the average after decoding."""
        mean = self.restore_power(code).mean(axis=0)
        place, row = np.unravel_index(np.abs(mean).argmax(), mean.shape)
        band, above = list(BANDS)[row], bool(mean[place, row] > 0)
        return describe_deviation(band, SCALP_CHANNELS[place], above, self.normalization, language)

    @property
    def _projection(self) -> Projection:
        return Projection(self.state["basis"], self.state["variance"], float(self.state["residual"][0]))

    def _scale(self, features: Features, state: dict[str, np.ndarray]) -> np.ndarray:
        z, _ = scale_to_person(features["power"], features["ranks"], state, self.config.normalization)
        return z


def _flatten(z: np.ndarray) -> np.ndarray:
    """Return one row of 150 values per window."""
    return z.reshape(-1, len(SCALP_CHANNELS) * len(BANDS))
