"""Numbers as symbols: a uniform quantiser and the text of its levels, one token each."""

import re
from dataclasses import dataclass

import numpy as np

from dataset_builder.alphabets import choose_symbols

#: Symbol for a place without a usable channel. The corpus never holds it; a reduced montage may.
MISSING = "-"


@dataclass(frozen=True)
class Quantiser:
    """Equal steps around zero, written in the smallest alphabet that has enough symbols.

    Steps reach over three standard deviations either side, four beyond 26 levels: the ranges that lose least of
    FACED's power per person at 10, 26 and 52 levels.

    Parameters
    ----------
    levels : int
        2 to 52.
    """

    levels: int

    @property
    def symbols(self) -> tuple[str, ...]:
        """Texts of the levels from low to high."""
        return choose_symbols(self.levels)

    @property
    def range_sd(self) -> float:
        """Where values are clipped, in standard deviations."""
        return 4.0 if self.levels > 26 else 3.0

    @property
    def step(self) -> float:
        """Width of a level, in standard deviations."""
        return 2 * self.range_sd / self.levels

    def quantise(self, z: np.ndarray) -> np.ndarray:
        """Return levels, int8, -1 where `z` is NaN."""
        levels = np.clip(np.floor((np.nan_to_num(z) + self.range_sd) / self.step), 0, self.levels - 1)
        return np.where(np.isnan(z), -1, levels).astype(np.int8)

    def restore(self, levels: np.ndarray) -> np.ndarray:
        """Return the middle of each step, float32, standard deviations; NaN where a level is -1."""
        z = (levels.astype(np.float32) + 0.5) * self.step - self.range_sd
        return np.where(levels < 0, np.nan, z)

    def write_line(self, label: str, groups: np.ndarray) -> str:
        """Write levels of shape (n_groups, n_places) after a label: ``delta 0123 4567`` or ``delta a b | c d``."""
        spaced = self._spaced
        missing = " " + MISSING if spaced else MISSING
        texts = ["".join(missing if level < 0 else self.symbols[level] for level in group) for group in groups]
        return label + (" |".join(texts) if spaced else " " + " ".join(texts))

    def read_line(self, line: str, label: str, shape: tuple[int, int]) -> np.ndarray | None:
        """Read `write_line` back, int8; None if the line is anything else."""
        known = {symbol: level for level, symbol in enumerate(self.symbols)}
        known[" " + MISSING if self._spaced else MISSING] = -1
        body = line.removeprefix(label if self._spaced else label + " ")
        cut = re.compile(r" [^ ]" if self._spaced else r".")
        groups = [cut.findall(group) for group in body.split(" |" if self._spaced else " ")]
        if len(groups) != shape[0] or any(len(g) != shape[1] or not set(g) <= set(known) for g in groups):
            return None
        levels = np.array([[known[symbol] for symbol in group] for group in groups], dtype=np.int8)
        return levels if self.write_line(label, levels) == line else None

    @property
    def _spaced(self) -> bool:
        return self.symbols[0].startswith(" ")
