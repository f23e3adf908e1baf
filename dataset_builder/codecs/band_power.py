"""Band power as digits: one token per value, scaled to the person.

Every digit is one token in the Qwen2 and SmolLM2 tokenizers and never merges with its neighbours, so a code of N values
costs N tokens and the model meets each value as a symbol of its own.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from dataset_builder.bands import trial_de
from dataset_builder.codecs.base import Codec
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.types import BANDS, SCALP_CHANNELS, Code, Recording, Trial

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

#: Symbol for a place without a usable channel. The corpus never holds it; a reduced montage may.
MISSING = "-"

#: Quantisation range: uniform steps over this many standard deviations either side (best at ten levels on FACED's DE).
_RANGE_SD = 3.0

#: Weight of the training subjects' typical variance, in trials. Not sensitive: 2 to 8 read the same.
_PRIOR_TRIALS = 4


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
        Steps of the quantiser, 2 to 10 (one digit).
    """

    name: Literal["band_power"] = "band_power"
    space: Literal["regions", "channels"] = "regions"
    windows: int = Field(default=1, ge=1, le=30)
    levels: int = Field(default=10, ge=2, le=10)


class BandPowerCodec(Codec):
    """Log band power per place, window and band, relative to the person's own mean, as digits.

    Mean and spread of the person are estimated from the trials given together, unlabelled, and shrunk towards the
    training subjects' by empirical Bayes, so that 28 trials come close to a z-score over the session while a single
    trial stays readable: the mean with weight ``n / (n + within variance / between variance)`` for n trials (Efron and
    Morris 1975, JASA 70:311), the variance as if the training subjects' typical one had been seen in `_PRIOR_TRIALS`
    further trials (Smyth 2004, Stat Appl Genet Mol Biol 3:3).

    ``Code.values`` is an int8 array of shape (5 bands, windows, places), -1 for a missing place.
    Fitted state, float32: ``mean``, ``within``, ``between`` of shape (30, 5), nats; ``scale`` of shape (5, places).
    """

    name: ClassVar[str] = "band_power"
    Config: ClassVar[type[StrictModel]] = BandPowerConfig
    reads: ClassVar[str] = "de"

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places in the order of the digits."""
        return tuple(REGIONS) if self.config.space == "regions" else SCALP_CHANNELS

    @property
    def n_values(self) -> int:
        """Number of digits per code."""
        return len(BANDS) * self.config.windows * len(self.places)

    @property
    def error_bound(self) -> float:
        """Half a step, in standard deviations of the code's own scale."""
        return _RANGE_SD / self.config.levels

    def fit(self, recordings: Iterable[Recording]) -> Self:
        """Learn population mean, spreads and the quantiser's scale from training subjects.

        Raises
        ------
        InputError
            If fewer than two recordings are given.
        """
        power = [self._scalp_power(list(recording)) for recording in recordings]
        if len(power) < 2:
            raise InputError(f"codec band_power: fitted on {len(power)} training subjects; at least 2 are needed")
        person_means = np.stack([trials.mean(axis=(0, 1)) for trials in power])
        within = np.sqrt(np.nanmedian([trials.mean(axis=1).var(axis=0) for trials in power], axis=0))
        fitted = type(self)(
            self.config,
            {
                "mean": np.nanmean(person_means, axis=0).astype(np.float32),
                "within": within.astype(np.float32),
                "between": np.nanstd(person_means, axis=0, ddof=1).astype(np.float32),
                "scale": np.ones((len(BANDS), len(self.places)), dtype=np.float32),
            },
        )
        spread = np.concatenate([fitted._scale_to_person(trials) for trials in power])
        fitted.state["scale"] = np.nanstd(spread, axis=(0, 2)).astype(np.float32)
        return fitted

    def encode(self, trials: Sequence[Trial]) -> list[Code]:
        """Encode the trials of one recording. See the class for the scaling.

        Raises
        ------
        InputError
            If the codec is not fitted, or no channel of the recording is one of the 30 scalp channels.
        """
        if not self.state:
            raise InputError("codec band_power: not fitted; build a corpus first or load a fitted codec")
        z = self._scale_to_person(self._scalp_power(trials)) / self.state["scale"][:, None, :]
        step = 2 * _RANGE_SD / self.config.levels
        levels = np.clip(np.floor((np.nan_to_num(z) + _RANGE_SD) / step), 0, self.config.levels - 1)
        symbols = np.where(np.isnan(z), -1, levels).astype(np.int8)
        return [Code(self.name, values) for values in symbols]

    def decode(self, code: Code) -> np.ndarray:
        """Return the middle of each step.

        Returns
        -------
        ndarray of shape (5, windows, places), float32, standard deviations; NaN where a place is missing
        """
        step = 2 * _RANGE_SD / self.config.levels
        z = (code.values.astype(np.float32) + 0.5) * step - _RANGE_SD
        return np.where(code.values < 0, np.nan, z)

    def to_text(self, code: Code) -> str:
        """Write one line per band: its name, then one group of digits per window."""
        lines = []
        for band, windows in zip(BANDS, code.values, strict=True):
            groups = ("".join(MISSING if level < 0 else str(level) for level in window) for window in windows)
            lines.append(f"{band} {' '.join(groups)}")
        return "\n".join(lines)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        shape = (len(BANDS), self.config.windows, len(self.places))
        rows = [line.split(" ") for line in text.split("\n")]
        groups = [group for row in rows for group in row[1:]]
        fits = (
            [row[0] for row in rows] == list(BANDS)
            and all(len(row) == 1 + shape[1] for row in rows)
            and all(len(group) == shape[2] for group in groups)
        )
        allowed = MISSING + "0123456789"[: self.config.levels]
        if not fits or any(symbol not in allowed for group in groups for symbol in group):
            raise InputError(f"band_power text: expected 5 bands x {shape[1]} windows x {shape[2]} digits")
        symbols = [-1 if symbol == MISSING else int(symbol) for group in groups for symbol in group]
        return Code(self.name, np.array(symbols, dtype=np.int8).reshape(shape))

    @property
    def legend(self) -> str:
        """What the digits mean, for the system prompt."""
        where = (
            "nine scalp regions (" + ", ".join(REGIONS) + ")"
            if self.config.space == "regions"
            else f"{len(SCALP_CHANNELS)} channels ({' '.join(SCALP_CHANNELS)})"
        )
        windows = "" if self.config.windows == 1 else f", one group for each of {self.config.windows} time windows"
        top = self.config.levels - 1
        return (
            f"EEG code: log power per band, one digit for each of {where}{windows}; "
            f"0 is far below and {top} far above this person's own average, {MISSING} is missing."
        )

    def describe(self, code: Code) -> str:
        """Name the place and band that lie furthest from the person's average."""
        mean = np.nan_to_num(self.decode(code)).mean(axis=1)
        band, place = np.unravel_index(np.abs(mean).argmax(), mean.shape)
        side = "above" if mean[band, place] > 0 else "below"
        return f"Largest deviation: {list(BANDS)[band]} power {side} the personal average at {self.places[place]}."

    def _scalp_power(self, trials: Sequence[Trial]) -> np.ndarray:
        """Return windowed DE, shape (n_trials, windows, 30, 5), nats; NaN where a channel is missing."""
        channels = trials[0].recording.channels
        index = [channels.index(name) if name in channels else -1 for name in SCALP_CHANNELS]
        if max(index) < 0:
            raise InputError(f"recording: none of the scalp channels {', '.join(SCALP_CHANNELS)} is present")
        power = np.full((len(trials), self.config.windows, len(SCALP_CHANNELS), len(BANDS)), np.nan, dtype=np.float32)
        present = [place for place, channel in enumerate(index) if channel >= 0]
        for row, trial in enumerate(trials):
            seconds = trial_de(trial)[[index[place] for place in present]]
            parts = np.array_split(seconds, self.config.windows, axis=1)
            power[row][:, present] = np.stack([part.mean(axis=1) for part in parts])
        return power

    def _scale_to_person(self, power: np.ndarray) -> np.ndarray:
        """Return deviations from the person's shrunken mean, shape (n_trials, 5, windows, places), spreads."""
        mean, within, between = (self.state[name] for name in ("mean", "within", "between"))
        weight = len(power) / (len(power) + (within / np.maximum(between, 1e-6)) ** 2)
        person = mean + weight * (power.mean(axis=(0, 1)) - mean)
        own_variance = power.mean(axis=1).var(axis=0)
        variance = (_PRIOR_TRIALS * within**2 + len(power) * own_variance) / (_PRIOR_TRIALS + len(power))
        z = ((power - person) / np.sqrt(np.maximum(variance, 1e-9))).transpose(0, 3, 1, 2)
        if self.config.space == "channels":
            return z
        cells = [[SCALP_CHANNELS.index(name) for name in names] for names in REGIONS.values()]
        known = ~np.isnan(z)
        filled = np.where(known, z, 0)
        with np.errstate(invalid="ignore"):
            parts = [filled[..., cell].sum(-1) / known[..., cell].sum(-1) for cell in cells]
        return np.stack(parts, axis=-1)
