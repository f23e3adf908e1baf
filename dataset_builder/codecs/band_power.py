"""Band power as symbols: one token per value, scaled to the person.

Every digit is one token in the Qwen2 and SmolLM2 tokenizers and never merges with its neighbours, so a code of N values
costs N tokens and the model meets each value as a symbol of its own.
"""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from dataset_builder.codecs.base import Features
from dataset_builder.codecs.fidelity import DB_PER_NAT, Comparison, PowerComparison
from dataset_builder.codecs.normalize import Normalization, extract_ranks, fit_person_scale, scale_to_person
from dataset_builder.codecs.power import CHINESE, extract_power
from dataset_builder.codecs.scaled import ScaledCodec
from dataset_builder.codecs.symbols import MISSING
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import BANDS, SCALP_CHANNELS, Code, Recording

#: A three by three grid over the scalp: every common 10-20 montage has channels in each cell.
REGIONS: dict[str, tuple[str, ...]] = {
    "left frontal": ("Fp1", "F3", "F7", "FC5"),
    "mid frontal": ("Fz", "FC1", "FC2"),
    "right frontal": ("Fp2", "F4", "F8", "FC6"),
    "left central": ("C3", "T7", "CP5"),
    "mid central": ("Cz", "CP1", "CP2"),
    "right central": ("C4", "T8", "CP6"),
    "left posterior": ("P3", "P7", "PO3", "O1"),
    "mid posterior": ("Pz", "Oz"),
    "right posterior": ("P4", "P8", "PO4", "O2"),
}


class BandPowerConfig(StrictModel):
    """Options of the band-power code.

    Parameters
    ----------
    name : str
    space : {"regions", "channels"}
        Nine regions or the 30 scalp channels.
    windows : int
        Equal time windows per trial. More than one locks the code to the film's course.
    levels : int
        Steps of the quantiser: up to 10 are digits, up to 26 small letters, up to 52 letters with case for the sign.
    feature : {"de", "psd"}
        Differential entropy, or FACED's relative power spectral density.
    normalization : Normalization
        Which of a person's trials set the scale.
    """

    name: Literal["band_power"] = "band_power"
    space: Literal["regions", "channels"] = "regions"
    windows: int = Field(default=1, ge=1, le=30)
    levels: int = Field(default=10, ge=2, le=52)
    feature: Literal["de", "psd"] = "de"
    normalization: Normalization = Normalization()


class BandPowerCodec(ScaledCodec):
    """Log band power per place, window and band, relative to the person's own mean.

    See `dataset_builder.codecs.normalize.scale_to_person` for the person's mean and spread.

    ``Code.values`` is an int8 array of shape (5 bands, windows, places), -1 for a missing place.
    Fitted state, float32: ``mean``, ``within``, ``between`` of shape (30, 5), nats; ``scale`` of shape (5, places).
    """

    name: ClassVar[str] = "band_power"
    Config: ClassVar[type[StrictModel]] = BandPowerConfig
    needs_fit: ClassVar[bool] = True

    @property
    def reads(self) -> str:
        """The feature that was chosen."""
        return str(self.config.feature)

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places in the order of the symbols."""
        return tuple(REGIONS) if self.config.space == "regions" else SCALP_CHANNELS

    @property
    def n_values(self) -> int:
        """Number of symbols per code."""
        return len(BANDS) * self.config.windows * len(self.places)

    @property
    def error_bound(self) -> float:
        """Half a step, in standard deviations of the code's own scale."""
        return self._quantiser.step / 2

    def extract(self, recording: Recording) -> Features:
        """Keep windowed log power, shape (n_trials, windows, 30, 5), nats; see `extract_power` for what is raised."""
        power = extract_power(recording, self.config.feature, self.config.windows)
        return {"power": power, "ranks": extract_ranks(recording)}

    def fit(self, people: Iterable[Features]) -> Self:
        """Learn population mean, spreads and the quantiser's scale from training subjects.

        Raises
        ------
        InputError
            If fewer than two people are given.
        """
        kept = list(people)
        if len(kept) < 2:
            raise InputError(f"codec {self.name}: fitted on {len(kept)} training subjects; at least 2 are needed")
        state = fit_person_scale([features["power"] for features in kept])
        fitted = type(self)(self.config, state | {"scale": np.ones((len(BANDS), len(self.places)), dtype=np.float32)})
        spread = np.concatenate([fitted.scale_values(features) for features in kept])
        fitted.state["scale"] = np.nanstd(spread, axis=(0, 2)).astype(np.float32)
        return fitted

    def encode(self, features: Features) -> list[Code]:
        """Encode the trials of one person. See the class for the scaling.

        Raises
        ------
        InputError
            If the codec is not fitted, or the scaling needs an order of presentation that is unknown.
        """
        return [Code(self.name, values) for values in self._quantiser.quantise(self.scale_values(features))]

    def scale_values(self, features: Features) -> np.ndarray:
        """Return what is quantised, shape (n_trials, 5, windows, places), standard deviations; NaN where missing."""
        if not self.state:
            raise InputError(f"codec {self.name}: not fitted; build a corpus first or load a fitted codec")
        z, _ = scale_to_person(features["power"], features["ranks"], self.state, self.config.normalization)
        return self._pool_places(z.transpose(0, 3, 1, 2)) / self.state["scale"][:, None, :]

    def decode(self, code: Code) -> np.ndarray:
        """Return the middle of each step.

        Returns
        -------
        ndarray of shape (5, windows, places), float32, standard deviations; NaN where a place is missing
        """
        return self._quantiser.restore(code.values)

    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield windowed power per place, decoded and true; see `Codec.compare`."""
        features = self.extract(recording)
        _, unit = scale_to_person(features["power"], features["ranks"], self.state, self.config.normalization)
        scale_db = self._pool_places(unit[:, None].transpose(0, 3, 1, 2)) * self.state["scale"][:, None, :] * DB_PER_NAT
        for code, truth, db in zip(self.encode(features), self.scale_values(features), scale_db, strict=True):
            yield PowerComparison(self.places, truth * db, self.decode(code) * db)

    def to_text(self, code: Code) -> str:
        """Write one line per band: its name, then one group of symbols per window."""
        lines = zip(BANDS, code.values, strict=True)
        return "\n".join(self._quantiser.write_line(band, windows) for band, windows in lines)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        shape, lines = (self.config.windows, len(self.places)), text.split("\n")
        read = [self._quantiser.read_line(*pair, shape) for pair in zip(lines, BANDS, strict=False)]
        found = [windows for windows in read if windows is not None]
        if not len(found) == len(lines) == len(BANDS):
            raise InputError(f"{self.name} text: expected 5 bands x {shape[0]} windows x {shape[1]} symbols")
        return Code(self.name, np.stack(found))

    def explain(self, language: str = "en") -> str:
        """Say what the symbols mean, for the system prompt."""
        low, high = (symbol.strip() for symbol in (self.alphabet[0], self.alphabet[-1]))
        if language == "zh":
            return self._explain_chinese(low, high)
        where = (
            "nine scalp regions (" + ", ".join(REGIONS) + ")"
            if self.config.space == "regions"
            else f"{len(SCALP_CHANNELS)} channels ({' '.join(SCALP_CHANNELS)})"
        )
        windows = "" if self.config.windows == 1 else f", one group for each of {self.config.windows} time windows"
        power = "log power" if self.config.feature == "de" else "log relative power"
        symbol = "digit" if self.levels <= 10 else "letter"
        average = "the average person" if self.normalization == "none" else "this person's own average"
        return (
            f"EEG code: {power} per band, one {symbol} for each of {where}{windows}; "
            f"{low} is far below and {high} far above {average}, {MISSING} is missing."
        )

    def describe(self, code: Code, language: str = "en") -> str:
        """Name the place and band that lie furthest from the average."""
        mean = np.nan_to_num(self.decode(code)).mean(axis=1)
        row, place = np.unravel_index(np.abs(mean).argmax(), mean.shape)
        band, where, above = list(BANDS)[row], self.places[place], bool(mean[row, place] > 0)
        return describe_deviation(band, where, above, self.normalization, language)

    def _pool_places(self, z: np.ndarray) -> np.ndarray:
        """Average the last axis, 30 channels, over regions; channels that are missing do not count."""
        if self.config.space == "channels":
            return z
        cells = [[SCALP_CHANNELS.index(name) for name in names] for names in REGIONS.values()]
        known = ~np.isnan(z)
        filled = np.where(known, z, 0)
        with np.errstate(invalid="ignore"):
            parts = [filled[..., cell].sum(-1) / known[..., cell].sum(-1) for cell in cells]
        return np.stack(parts, axis=-1)

    def _explain_chinese(self, low: str, high: str) -> str:
        where = (
            "、".join(CHINESE[name] for name in REGIONS) if self.config.space == "regions" else " ".join(self.places)
        )
        windows = "" if self.config.windows == 1 else f"每组对应{self.config.windows}个时间窗之一，"
        power = "对数功率" if self.config.feature == "de" else "对数相对功率"
        average = "一般人" if self.normalization == "none" else "本人"
        return (
            f"脑电编码：每行一个频段的{power}，{windows}每个符号依次对应{where}；"
            f"{low}表示远低于、{high}表示远高于{average}平均水平，{MISSING}表示缺失。"
        )


def describe_deviation(band: str, place: str, above: bool, normalization: str, language: str) -> str:
    """Say where power is furthest from the average: the person's own, or the training subjects' without scaling."""
    own = normalization != "none"
    if language == "zh":
        where, average = CHINESE.get(place, place), "本人" if own else "一般人"
        return f"偏离最大：{where}的{CHINESE[band]}频段功率{'高于' if above else '低于'}{average}平均水平。"
    average = "the personal average" if own else "the average person"
    return f"Largest deviation: {band} power {'above' if above else 'below'} {average} at {place}."
