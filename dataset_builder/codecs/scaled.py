"""What codecs share that scale power to the person and write one symbol per value."""

from dataset_builder.codecs.base import Codec
from dataset_builder.codecs.symbols import Quantiser


class ScaledCodec(Codec):
    """A codec whose config has ``normalization`` and ``levels``, and whose values are levels of a `Quantiser`."""

    @property
    def _quantiser(self) -> Quantiser:
        return Quantiser(self.config.levels)

    @property
    def normalization(self) -> str:
        """How values are scaled to the person."""
        return str(self.config.normalization)

    @property
    def calibration_trials(self) -> int:
        """First trials that set the scale."""
        return int(self.config.normalization.calibration_trials)

    @property
    def n_tokens(self) -> int:
        """One per symbol. Neighbouring marks of missing places may merge, so a reduced montage costs at most that."""
        return self.n_values

    @property
    def levels(self) -> int:
        """Steps of the quantiser."""
        return int(self.config.levels)

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Texts of the levels."""
        return self._quantiser.symbols
