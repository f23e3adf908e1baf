"""A mu-law quantiser for values of which few are large, such as wavelet coefficients."""

import numpy as np

#: As many as there are letters with their case for the sign.
LEVELS = 52

#: Values up to this many root mean squares are told apart (few dozens of 2,304 coefficients hold nearly all of the
#: power of EEG), with the mu of telephony (ITU-T G.711).
_PEAK, _MU = 32.0, 255.0


def quantise_companded(values: np.ndarray) -> np.ndarray:
    """Return levels 0 to 51, int16; the sign is which half they lie in."""
    companded = np.sign(values) * np.log1p(_MU * np.minimum(np.abs(values) / _PEAK, 1)) / np.log1p(_MU)
    return np.clip(np.floor((companded + 1) / 2 * LEVELS), 0, LEVELS - 1).astype(np.int16)


def restore_companded(levels: np.ndarray) -> np.ndarray:
    """Return the middle between the edges of each level, float64."""
    edges = _expand(2 * np.arange(LEVELS + 1) / LEVELS - 1)
    return np.asarray((edges[:-1] + edges[1:])[levels] / 2)


def _expand(companded: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(companded) * _PEAK * np.expm1(np.abs(companded) * np.log1p(_MU)) / _MU)


#: Width of the outermost level.
WIDEST_STEP = float(_PEAK - _expand(np.array(1 - 2 / LEVELS)))
