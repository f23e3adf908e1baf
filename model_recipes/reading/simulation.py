"""Made-up codes to begin with: drawn from what the training codes of each emotion look like, as many as one likes."""

from collections.abc import Sequence

import numpy as np
from sklearn.covariance import LedoitWolf

from dataset_builder.codecs import Codec
from dataset_builder.types import EMOTIONS, Code

#: Added to the variance of every number, so that what does not vary can be drawn too.
_FLOOR = 1e-6


class CodeSimulator:
    """Draws codes of an emotion.

    The numbers of each emotion's training codes are taken as normal, with a covariance that is shrunk as Ledoit & Wolf
    (2004, J Multivar Anal 88:365) do it.

    Parameters
    ----------
    codec : Codec
        With ``make_code``, see `model_recipes.reading.draws.Mixable`.
    codes : sequence of Code
        Of training rows.
    emotions : sequence of str
        Intended emotion of each.
    """

    def __init__(self, codec: Codec, codes: Sequence[Code], emotions: Sequence[str]) -> None:
        self.codec = codec
        values = np.stack([codec.decode(code) for code in codes]).astype(np.float64)
        self._shape = values.shape[1:]
        flat, owner = values.reshape(len(values), -1), np.array(emotions)
        self.emotions = [emotion for emotion in EMOTIONS if emotion in set(emotions)]
        self._shapes = {emotion: _fit_normal(flat[owner == emotion]) for emotion in self.emotions}

    def draw(self, emotion: str, rng: np.random.Generator) -> Code:
        """Return a new code of an emotion."""
        mean, root = self._shapes[emotion]
        values = mean + root @ rng.standard_normal(len(mean))
        made: Code = self.codec.make_code(values.reshape(self._shape).astype(np.float32))  # type: ignore[attr-defined]
        return made


def _fit_normal(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean, and a root of the shrunk covariance, of rows of shape (n_rows, n_values)."""
    found = LedoitWolf().fit(values)
    return found.location_, np.linalg.cholesky(found.covariance_ + _FLOOR * np.eye(values.shape[1]))
