"""Numbers that make a made-up cohort resemble FACED, and nothing that belongs to a person.

Each is a population statistic of FACED's released DE features and ratings (Chen et al. 2023, Sci Data 10:740), rounded:
means and spreads over subjects, clips and seconds. One subject whose recording is damaged was left out.
Spatial and band correlations are reduced to a two-parameter curve and a 5 x 5 table per level.
"""

from dataclasses import dataclass

import numpy as np

from dataset_builder.types import SCALP_CHANNELS

#: Rows of the tables below: FACED's processed order, the mastoids last.
CHANNELS: tuple[str, ...] = (*SCALP_CHANNELS, "A2", "A1")


def _read_table(text: str) -> np.ndarray:
    """Return the numbers of a text table without its row names."""
    return np.array([line.split()[1:] for line in text.strip().splitlines()], dtype=np.float64)


#: Electrode directions from the centre of the head (right, front, up), unit length.
_ROUNDED = _read_table(
    """
Fp1 -0.29  0.96 -0.05
Fp2  0.27  0.96 -0.05
Fz  -0.01  0.75  0.67
F3  -0.53  0.72  0.45
F4   0.52  0.73  0.43
F7  -0.76  0.64 -0.11
F8   0.76  0.65 -0.11
FC1 -0.35  0.44  0.83
FC2  0.35  0.45  0.82
FC5 -0.87  0.40  0.29
FC6  0.87  0.41  0.28
Cz  -0.00  0.08  1.00
C3  -0.71  0.06  0.70
C4   0.71  0.07  0.70
T7  -1.00  0.02 -0.09
T8   0.99  0.03 -0.10
CP1 -0.35 -0.29  0.89
CP2  0.36 -0.29  0.89
CP5 -0.88 -0.32  0.35
CP6  0.89 -0.31  0.35
Pz  -0.00 -0.61  0.80
P3  -0.54 -0.62  0.57
P4   0.55 -0.61  0.58
P7  -0.79 -0.61 -0.01
P8   0.79 -0.61 -0.01
PO3 -0.38 -0.84  0.39
PO4  0.37 -0.85  0.38
Oz  -0.01 -0.99  0.16
O1  -0.30 -0.95  0.10
O2   0.29 -0.95  0.10
A2   0.78 -0.07 -0.62
A1  -0.79 -0.07 -0.61
"""
)
DIRECTIONS = _ROUNDED / np.linalg.norm(_ROUNDED, axis=1, keepdims=True)

#: Mean DE, nats; columns delta theta alpha beta gamma.
DE_MEAN = _read_table(
    """
Fp1  3.15  2.62  2.54  2.75  2.63
Fp2  3.18  2.64  2.57  2.80  2.69
Fz   2.69  2.35  2.22  2.14  1.88
F3   2.74  2.28  2.18  2.23  2.01
F4   2.77  2.30  2.21  2.28  2.05
F7   3.23  2.53  2.35  2.50  2.36
F8   3.26  2.55  2.36  2.53  2.38
FC1  2.46  2.12  2.00  1.91  1.63
FC2  2.48  2.14  2.01  1.93  1.65
FC5  2.75  2.15  2.07  2.13  1.95
FC6  2.75  2.17  2.09  2.16  1.95
Cz   2.34  1.99  1.86  1.74  1.48
C3   2.33  1.90  1.97  1.88  1.59
C4   2.35  1.91  1.99  1.91  1.57
T7   2.83  2.25  2.19  2.35  2.25
T8   2.82  2.25  2.20  2.37  2.26
CP1  2.21  1.80  1.80  1.68  1.37
CP2  2.27  1.83  1.81  1.68  1.37
CP5  2.39  1.94  1.99  1.97  1.68
CP6  2.42  1.97  2.01  1.97  1.70
Pz   2.43  2.01  1.96  1.82  1.56
P3   2.37  1.96  2.01  1.93  1.66
P4   2.45  2.02  2.03  1.93  1.65
P7   2.63  2.23  2.22  2.23  1.98
P8   2.65  2.24  2.21  2.19  1.94
PO3  2.60  2.24  2.20  2.12  1.80
PO4  2.64  2.28  2.22  2.12  1.83
Oz   2.73  2.39  2.29  2.30  2.15
O1   2.69  2.34  2.30  2.32  2.15
O2   2.70  2.35  2.29  2.30  2.13
A2   3.04  2.56  2.41  2.45  2.51
A1   3.07  2.57  2.41  2.44  2.51
"""
)

#: SD of a subject's mean DE between subjects, nats.
DE_SUBJECT_SD = _read_table(
    """
Fp1  0.38  0.32  0.31  0.41  0.50
Fp2  0.39  0.33  0.31  0.41  0.50
Fz   0.24  0.22  0.26  0.26  0.43
F3   0.25  0.22  0.26  0.31  0.50
F4   0.25  0.21  0.25  0.31  0.56
F7   0.30  0.23  0.23  0.31  0.43
F8   0.27  0.22  0.21  0.31  0.43
FC1  0.22  0.22  0.26  0.27  0.45
FC2  0.22  0.22  0.26  0.26  0.43
FC5  0.25  0.19  0.26  0.29  0.44
FC6  0.25  0.20  0.25  0.28  0.45
Cz   0.23  0.23  0.26  0.26  0.48
C3   0.23  0.22  0.35  0.29  0.44
C4   0.24  0.24  0.36  0.30  0.45
T7   0.25  0.20  0.27  0.34  0.46
T8   0.24  0.19  0.28  0.36  0.49
CP1  0.24  0.24  0.30  0.27  0.48
CP2  0.26  0.24  0.30  0.27  0.45
CP5  0.24  0.21  0.31  0.27  0.43
CP6  0.26  0.23  0.32  0.27  0.44
Pz   0.27  0.25  0.29  0.27  0.57
P3   0.24  0.24  0.30  0.27  0.49
P4   0.28  0.26  0.29  0.27  0.46
P7   0.25  0.21  0.25  0.26  0.42
P8   0.25  0.22  0.25  0.24  0.39
PO3  0.24  0.23  0.25  0.25  0.42
PO4  0.27  0.25  0.26  0.28  0.50
Oz   0.37  0.32  0.32  0.34  0.55
O1   0.24  0.22  0.25  0.29  0.48
O2   0.25  0.23  0.26  0.29  0.51
A2   0.23  0.18  0.22  0.25  0.70
A1   0.22  0.18  0.20  0.21  0.77
"""
)

#: SD of a clip's mean DE within a subject, nats (the median subject's).
DE_CLIP_SD = _read_table(
    """
Fp1  0.30  0.24  0.21  0.23  0.26
Fp2  0.27  0.23  0.21  0.22  0.25
Fz   0.11  0.08  0.10  0.09  0.13
F3   0.16  0.10  0.10  0.11  0.18
F4   0.17  0.10  0.11  0.11  0.18
F7   0.26  0.17  0.13  0.17  0.24
F8   0.26  0.17  0.13  0.16  0.22
FC1  0.09  0.07  0.09  0.08  0.13
FC2  0.09  0.07  0.09  0.08  0.12
FC5  0.21  0.12  0.11  0.15  0.26
FC6  0.21  0.12  0.11  0.15  0.23
Cz   0.09  0.08  0.09  0.07  0.12
C3   0.14  0.08  0.13  0.12  0.18
C4   0.14  0.08  0.12  0.10  0.16
T7   0.19  0.11  0.11  0.18  0.29
T8   0.20  0.12  0.11  0.20  0.28
CP1  0.10  0.09  0.11  0.09  0.13
CP2  0.11  0.09  0.11  0.09  0.14
CP5  0.15  0.09  0.12  0.11  0.20
CP6  0.16  0.09  0.13  0.11  0.18
Pz   0.11  0.11  0.11  0.09  0.13
P3   0.11  0.09  0.11  0.09  0.15
P4   0.12  0.10  0.11  0.10  0.14
P7   0.13  0.10  0.11  0.11  0.18
P8   0.13  0.10  0.11  0.11  0.17
PO3  0.11  0.11  0.11  0.10  0.15
PO4  0.12  0.12  0.11  0.10  0.16
Oz   0.13  0.11  0.12  0.14  0.19
O1   0.12  0.11  0.12  0.15  0.22
O2   0.13  0.11  0.12  0.14  0.20
A2   0.16  0.11  0.12  0.15  0.22
A1   0.16  0.11  0.12  0.15  0.21
"""
)

#: SD of a second's DE within a clip, nats (the median subject's).
DE_SECOND_SD = _read_table(
    """
Fp1  0.40  0.27  0.23  0.15  0.15
Fp2  0.40  0.27  0.22  0.15  0.15
Fz   0.31  0.23  0.23  0.17  0.14
F3   0.39  0.25  0.24  0.18  0.16
F4   0.39  0.25  0.24  0.18  0.17
F7   0.53  0.35  0.26  0.17  0.18
F8   0.53  0.36  0.25  0.17  0.18
FC1  0.31  0.23  0.23  0.17  0.13
FC2  0.31  0.23  0.23  0.17  0.13
FC5  0.47  0.30  0.25  0.18  0.18
FC6  0.46  0.30  0.24  0.18  0.19
Cz   0.31  0.23  0.22  0.17  0.12
C3   0.38  0.25  0.28  0.19  0.14
C4   0.37  0.25  0.27  0.19  0.15
T7   0.45  0.29  0.24  0.17  0.18
T8   0.46  0.28  0.24  0.18  0.18
CP1  0.32  0.23  0.24  0.18  0.12
CP2  0.32  0.24  0.24  0.18  0.12
CP5  0.38  0.25  0.26  0.18  0.15
CP6  0.38  0.25  0.27  0.18  0.15
Pz   0.32  0.24  0.24  0.17  0.12
P3   0.32  0.24  0.25  0.18  0.13
P4   0.33  0.24  0.25  0.18  0.12
P7   0.33  0.24  0.23  0.17  0.14
P8   0.34  0.25  0.24  0.18  0.15
PO3  0.32  0.25  0.24  0.17  0.13
PO4  0.32  0.26  0.24  0.17  0.13
Oz   0.32  0.25  0.23  0.17  0.14
O1   0.32  0.25  0.23  0.17  0.14
O2   0.33  0.25  0.23  0.17  0.14
A2   0.37  0.25  0.22  0.17  0.14
A1   0.37  0.25  0.22  0.16  0.14
"""
)

#: Correlation of DE between one second and the next within a clip, per band.
SECOND_AUTOCORRELATION = np.array([0.33, 0.27, 0.28, 0.34, 0.54])


@dataclass(frozen=True)
class Correlation:
    """How log power goes together at one level (between subjects, between clips, between seconds).

    Parameters
    ----------
    common : float
        Correlation that is left between the farthest channels.
    reach_rad : float
        Angle over which the rest falls to 1/e, radians.
    bands : ndarray of shape (5, 5)
        Correlation between bands at one channel.
    """

    common: float
    reach_rad: float
    bands: np.ndarray

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw standard normal values, shape (size, 32, 5), with this correlation over channels and bands."""
        space, band = np.linalg.cholesky(self._space()), np.linalg.cholesky(self.bands)
        return np.einsum("ij,njk,lk->nil", space, rng.standard_normal((size, len(CHANNELS), 5)), band, optimize=True)

    def draw_patterns(self, rng: np.random.Generator, size: int, sd: np.ndarray, n_patterns: int) -> np.ndarray:
        """Draw values with this correlation as far as a few patterns can have it.

        Parameters
        ----------
        rng : numpy.random.Generator
        size : int
        sd : ndarray of shape (32, 5)
            The strongest principal components of values with these SDs are kept, and scaled to the same total variance.
        n_patterns : int

        Returns
        -------
        ndarray of shape (size, 32, 5)
            The mean over the first axis is 0, and each pattern has its variance exactly: among few draws chance would
            decide how much there is.
        """
        values, vectors = np.linalg.eigh(np.kron(self._space(), self.bands) * np.outer(sd, sd))
        patterns = vectors[:, -n_patterns:] * np.sqrt(values[-n_patterns:] * values.sum() / values[-n_patterns:].sum())
        patterns *= np.where(patterns.sum(axis=0) < 0, -1, 1)  # the sign of an eigenvector is the library's choice
        scores = rng.standard_normal((size, n_patterns))
        scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        return (scores @ patterns.T).reshape(size, *sd.shape)

    def _space(self) -> np.ndarray:
        """Return the correlation between channels, shape (32, 32)."""
        angle = np.arccos(np.clip(DIRECTIONS @ DIRECTIONS.T, -1, 1))
        return np.asarray(self.common + (1 - self.common) * np.exp(-angle / self.reach_rad))


def make_bands(*above: float) -> np.ndarray:
    """Return the symmetric 5 x 5 matrix whose upper triangle, row by row, is given."""
    matrix = np.eye(5)
    matrix[np.triu_indices(5, 1)] = above
    return matrix + np.triu(matrix, 1).T


SUBJECT_CORRELATION = Correlation(0.65, 0.6, make_bands(0.89, 0.62, 0.53, 0.44, 0.77, 0.65, 0.48, 0.77, 0.47, 0.70))
CLIP_CORRELATION = Correlation(0.45, 0.5, make_bands(0.72, 0.43, 0.34, 0.25, 0.61, 0.41, 0.26, 0.68, 0.36, 0.71))
SECOND_CORRELATION = Correlation(0.33, 0.5, make_bands(0.43, 0.21, 0.17, 0.12, 0.40, 0.19, 0.11, 0.48, 0.15, 0.46))

#: Mean self-rating (0 to 7) per emotion; columns as in `dataset_builder.types.RATINGS`, rows as in `EMOTIONS`.
RATING_MEAN = _read_table(
    """
anger        0.6  0.4  0.8  0.6  4.9  2.9  2.2  4.2  4.7  1.7  2.5  1.5
disgust      0.7  0.6  0.6  1.0  1.0  5.0  3.0  1.5  4.1  1.6  1.1  1.2
fear         0.6  0.6  0.6  0.7  1.5  2.4  4.4  2.1  4.3  1.6  1.8  1.6
sadness      0.6  1.8  0.7  0.4  1.2  1.0  1.4  4.5  3.3  1.9  1.4  2.0
neutral      1.6  1.6  1.1  0.7  0.5  0.4  0.5  0.9  1.4  3.2  1.2  2.8
amusement    4.3  2.2  1.9  4.9  0.7  0.5  0.5  0.7  3.7  4.2  4.0  4.7
inspiration  3.6  3.1  4.9  1.5  0.5  0.8  0.6  0.9  3.9  4.8  3.6  4.6
joy          4.2  3.5  2.6  2.1  0.5  0.5  0.5  0.4  3.4  4.4  3.4  4.6
tenderness   3.9  5.0  3.2  1.3  0.5  0.5  0.4  0.9  3.4  4.4  2.4  4.3
"""
)

#: SD of the self-rating between subjects, rows and columns as above.
RATING_SD = _read_table(
    """
anger        1.2  1.0  1.5  1.3  2.1  2.5  2.3  2.2  1.7  1.8  2.3  1.7
disgust      1.3  1.2  1.2  1.5  1.6  2.1  2.4  2.0  1.9  1.5  1.7  1.6
fear         1.3  1.2  1.2  1.4  1.9  2.1  2.1  2.2  1.8  1.5  2.2  1.9
sadness      1.2  1.9  1.2  1.0  1.7  1.5  1.7  2.0  1.8  1.4  1.8  1.6
neutral      1.7  1.7  1.5  1.2  1.0  0.9  0.9  1.4  1.6  1.3  1.6  1.6
amusement    1.8  2.0  1.9  1.9  1.2  1.1  1.0  1.2  1.8  1.5  2.2  1.8
inspiration  1.9  1.9  1.9  1.7  1.0  1.4  1.1  1.3  1.7  1.7  2.5  1.9
joy          1.8  2.0  2.1  2.0  1.0  1.0  1.0  0.9  1.8  1.6  2.4  1.8
tenderness   1.8  1.7  2.1  1.7  1.0  1.0  0.9  1.3  1.8  1.6  2.3  1.8
"""
)
