"""The paper's code: wavelet-compressed samples, written as decimals.

EEG Emotion Copilot (arXiv 2410.00166) keeps the approximation coefficients of a discrete wavelet transform, a fixed
number per channel, and writes them as numbers (its method W: 50 points). Kept here as the baseline it is: at budgets
that fit a prompt it holds next to none of the label's information, because 50 points over 30 s cannot carry anything
above 0.8 Hz.
"""

from typing import ClassVar, Literal

import numpy as np
import pywt
from pydantic import field_validator

from dataset_builder.codecs.decimals import DecimalCodec, DecimalConfig
from dataset_builder.recipe import StrictModel


class WaveletConfig(DecimalConfig):
    """Options of the wavelet code.

    The defaults follow the paper: 50 points of each of the 30 channels. Its number of decimals is not known; one keeps
    the code at 6,000 tokens, two would cost 7,500 and leave no room for the answer in a window of 8,000.

    Parameters
    ----------
    name : str
    channels, points, decimals
        See `DecimalConfig`; the points are approximation coefficients.
    wavelet : str
        Any discrete wavelet of PyWavelets.
    """

    name: Literal["wavelet"] = "wavelet"
    wavelet: str = "db4"

    @field_validator("wavelet")
    @classmethod
    def _check_wavelet(cls, value: str) -> str:
        return check_wavelet(value)


class WaveletCodec(DecimalCodec):
    """Approximation coefficients of a periodised DWT; see `DecimalCodec` for values and text.

    The coefficients are divided by 2**(level/2), so a constant signal keeps its value.
    """

    name: ClassVar[str] = "wavelet"
    Config: ClassVar[type[StrictModel]] = WaveletConfig
    deflection: ClassVar[dict[str, str]] = {"en": "Largest slow deflection", "zh": "最大慢波波幅"}

    def compress(self, z: np.ndarray, sfreq_hz: float) -> np.ndarray:
        """Return approximation coefficients, interpolated to the wanted number of points."""
        return approximate(z, self.config.wavelet, self.n_points)

    def rebuild(self, values: np.ndarray, n_times: int, sfreq_hz: float) -> np.ndarray:
        """Invert `compress` with zeros for all finer coefficients."""
        return synthesise(values, self.config.wavelet, n_times)

    def explain(self, language: str = "en") -> str:
        """Say what the decimals mean, for the system prompt."""
        points, wavelet = self.config.points, self.config.wavelet
        if language == "zh":
            return f"脑电编码：每个通道在整段试次内的{points}个小波近似系数（{wavelet}），以标准差为单位。"
        return (
            f"EEG code: {points} wavelet approximation coefficients ({wavelet}) per channel "
            "over the trial, in standard deviations."
        )


def check_wavelet(name: str) -> str:
    """Return the name of a discrete wavelet; a ValueError tells a recipe's author what is accepted."""
    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError("accepted: a discrete wavelet of PyWavelets such as db4, sym5, haar")
    return name


def approximate(z: np.ndarray, wavelet: str, points: int) -> np.ndarray:
    """Return `points` approximation coefficients of each row, divided by 2**(level/2).

    The level is the deepest that still has as many coefficients as points; between them the values are interpolated.
    """
    level = _count_levels(z.shape[-1], points)
    for _ in range(level):
        z, _ = pywt.dwt(z, wavelet, mode="periodization", axis=-1)
    return resample_rows(z, points) / 2 ** (level / 2)


def synthesise(values: np.ndarray, wavelet: str, n_times: int) -> np.ndarray:
    """Return the signals of shape (n_rows, n_times) that `approximate` would turn into `values`."""
    lengths = [n_times]
    for _ in range(_count_levels(n_times, values.shape[-1])):
        lengths.append((lengths[-1] + 1) // 2)
    z = resample_rows(values, lengths[-1]) * 2 ** ((len(lengths) - 1) / 2)
    for length in lengths[-2::-1]:
        z = pywt.idwt(z, None, wavelet, mode="periodization", axis=-1)[..., :length]
    return z


def resample_rows(rows: np.ndarray, points: int) -> np.ndarray:
    """Interpolate each row linearly to `points` values, ends kept."""
    places = np.linspace(0, rows.shape[-1] - 1, points)
    return np.stack([np.interp(places, np.arange(row.size), row) for row in rows])


def _count_levels(n_times: int, points: int) -> int:
    return max(1, int(np.floor(np.log2(n_times / points))))
