"""A kernel probe: like the linear one, but it can tell what only several numbers of a code together mean."""

from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from model_recipes.evaluation.probe import LinearProbe

#: Landmarks of the approximation, and inverse strength of the L2 penalty on their weights.
_LANDMARKS, _C = 300, 1.0


class KernelProbe(LinearProbe):
    """Multinomial logistic regression on a Gaussian kernel of standardised code values.

    The kernel exp(-|x - y|^2 / n_values) is approximated with the method of Nystroem (Williams & Seeger 2001, NIPS 13).
    Unlike a support vector machine it states probabilities by itself. Parameters are those of `LinearProbe`.
    """

    def make_model(self, n_rows: int, n_values: int) -> Pipeline:
        """Return the unfitted model; see `LinearProbe.make_model`."""
        landmarks = Nystroem(gamma=1 / n_values, n_components=min(_LANDMARKS, n_rows), random_state=0)
        return make_pipeline(StandardScaler(), landmarks, LogisticRegression(C=_C, max_iter=2000))
