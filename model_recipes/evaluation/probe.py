"""A linear probe on the numbers of the code: what the same input tells without any language model."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dataset_builder.codecs import Codec
from dataset_builder.errors import InputError
from dataset_builder.types import EMOTIONS
from model_recipes.evaluation.readers import Row

#: Inverse strength of the L2 penalty; of seven values the one that read FACED's validation subjects best from the nine
#: regions' band power. Fixed, so that probes of several corpora can be compared.
_C = 0.1


class LinearProbe:
    """Multinomial logistic regression on standardised code values.

    Parameters
    ----------
    codec : Codec
        Reads the numbers out of a row's text, so the probe gets exactly what the language model gets.
    rows : sequence of rows
        Training rows.
    target : {"emotion", "clip"}
        ``"clip"`` learns to recognise the clip and answers with its emotion. On clips that the training subjects saw,
        that tells how much of a score is recognising films.
    name : str
    """

    def __init__(
        self, codec: Codec, rows: Sequence[Row], *, target: str = "emotion", name: str = "linear probe"
    ) -> None:
        self.name = name
        self.codec = codec
        keys = [row[target] for row in rows]
        if len(set(keys)) < 2:
            raise InputError(f"{name}: the training rows hold {len(set(keys))} {target}; at least 2 are needed")
        self._emotions = {row[target]: row["emotion"] for row in rows}
        values = self.read_values(rows)
        self.model = self.make_model(*values.shape)
        self.model.fit(values, keys)

    def make_model(self, n_rows: int, n_values: int) -> Pipeline:
        """Return the unfitted model for so many training rows and numbers per code."""
        return make_pipeline(StandardScaler(), LogisticRegression(C=_C, max_iter=2000))

    def read_values(self, rows: Sequence[Row]) -> np.ndarray:
        """Return the numbers of each row's code, shape (n_rows, n_values), float64."""
        return np.stack([self.codec.from_text(row["code"]).values.ravel().astype(np.float64) for row in rows])

    def score(self, rows: Sequence[Row]) -> np.ndarray:
        """Return nine probabilities per row; see `model_recipes.evaluation.readers.Reader`."""
        found = self.model.predict_proba(self.read_values(rows))
        scores = np.zeros((len(found), len(EMOTIONS)))
        for column, key in enumerate(self.model.classes_):
            scores[:, EMOTIONS.index(self._emotions[key])] += found[:, column]
        return scores
