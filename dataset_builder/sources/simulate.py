"""Made-up band power and waveforms that resemble FACED in level, spread, correlation and how little the label shows.

Log power is a sum of independent parts: population mean, the subject's offset, the subject's reaction to each clip, the
course from second to second, and three planted effects that all subjects share: of the emotion, of the clip, and of
each second of a clip. The planted effects belong to the films, so every cohort has the same ones, whatever its seed.
As on FACED they are few patterns over channels and bands, and some people, and some films, show them more than others.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.fft import irfft
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from dataset_builder.bands import compute_de
from dataset_builder.seeds import make_rng
from dataset_builder.sources.clips import CLIPS
from dataset_builder.sources.film_effects import (
    GAIN_SD_PERSON,
    GAIN_SD_TRIAL,
    SHARED_AUTOCORRELATION,
    SHARED_CHANNELS,
    SHARED_CLIP,
    SHARED_CLIP_CORRELATION,
    SHARED_EMOTION,
    SHARED_PATTERNS,
    SHARED_SECOND,
    SHARED_SECOND_CORRELATION,
)
from dataset_builder.sources.statistics import (
    CHANNELS,
    CLIP_CORRELATION,
    DE_CLIP_SD,
    DE_MEAN,
    DE_SECOND_SD,
    DE_SUBJECT_SD,
    DIRECTIONS,
    SECOND_AUTOCORRELATION,
    SECOND_CORRELATION,
    SUBJECT_CORRELATION,
)
from dataset_builder.types import BANDS, EMOTIONS

N_SECONDS = 30
SFREQ_HZ = 250
N_TIMES = N_SECONDS * SFREQ_HZ

#: Shares of variance that all subjects have in common, per channel and band: of the differences between clips within a
#: subject, what clips of one emotion share and what only the clip has; of the differences between seconds within a
#: clip, what belongs to that second of the film. Measured on FACED (`film_effects`), not fitted to scores; only
#: how many patterns they are was chosen by scores (`SHARED_PATTERNS`).
EMOTION_SHARE, CLIP_SHARE, SECOND_SHARE = (
    SHARED_CHANNELS[:, None] * share for share in (SHARED_EMOTION, SHARED_CLIP, SHARED_SECOND)
)

#: Share of the variance that stays a subject's own, however strong the planted effects.
_LEAST_OWN = 0.1

#: Amplitude of the drift below 1 Hz that the band-pass of FACED (0.05 Hz) leaves in, µV.
_DRIFT_SD_UV = 4.0

#: Angle over which the correlation of waveforms falls (as a bell) to 1/e before the average reference, radians: volume
#: conduction blurs what neighbouring electrodes see.
_CONDUCTION_RAD = 0.9

#: Filters of neighbouring bands overlap, and the average reference lends weak channels power of strong ones: so often
#: is the band power measured and the gains set right, each time within these limits, nats.
_CORRECTIONS = 3
_EXCESS_RANGE = (-0.7, 0.7)

#: Time over which the amplitude glides from one second to the next, samples (0.2 s).
_GLIDE = 50


@cache
def planted_effects() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the effects of the films that every made-up subject shares.

    Returns
    -------
    emotion : ndarray of shape (9, 32, 5), nats
        In the order of `EMOTIONS`.
    clip : ndarray of shape (28, 32, 5), nats
    second : ndarray of shape (28, 32, 30, 5), nats
    """
    rng = make_rng(0, "synthetic", "planted effects")
    emotion, clip = (
        SHARED_CLIP_CORRELATION.draw_patterns(rng, size, np.sqrt(share), SHARED_PATTERNS) * DE_CLIP_SD
        for size, share in ((len(EMOTIONS), EMOTION_SHARE), (len(CLIPS), CLIP_SHARE))
    )
    noise = SHARED_SECOND_CORRELATION.draw_patterns(rng, len(CLIPS) * N_SECONDS, np.sqrt(SECOND_SHARE), SHARED_PATTERNS)
    second = _make_course(noise, SHARED_AUTOCORRELATION) * DE_SECOND_SD[:, None]
    second -= second.mean(axis=2, keepdims=True)  # the clip's own part
    return emotion, clip, second


def draw_course(seed: int, subject: str, effect: float = 1.0) -> np.ndarray:
    """Draw one subject's band power.

    Parameters
    ----------
    seed : int
    subject : str
    effect : float
        Factor on the planted effects: 1 as on FACED, 0 for none. The total variance stays as long as they leave room.

    Returns
    -------
    ndarray of shape (28, 32, 30, 5), float64, nats
        Clip, channel of `CHANNELS`, second, band.
    """
    rng = make_rng(seed, "synthetic", subject, "band power")
    emotion, clip, second = planted_effects()
    gain = effect * _draw_gains(make_rng(seed, "synthetic", subject, "gain"))
    shared = gain[:, None, None] * (clip + emotion[[EMOTIONS.index(item.label) for item in CLIPS]])
    offset = SUBJECT_CORRELATION.draw(rng, 1)[0] * DE_SUBJECT_SD
    reaction = CLIP_CORRELATION.draw(rng, len(CLIPS)) * DE_CLIP_SD * np.sqrt(_reaction_share(effect))
    own = _make_course(SECOND_CORRELATION.draw(rng, len(CLIPS) * N_SECONDS), SECOND_AUTOCORRELATION)
    own *= (DE_SECOND_SD * np.sqrt(np.maximum(1 - effect**2 * SECOND_SHARE, _LEAST_OWN)))[:, None]
    return (DE_MEAN + offset + shared + reaction)[:, :, None] + gain[:, None, None, None] * second + own


def draw_signal(seed: int, subject: str, course: np.ndarray) -> np.ndarray:
    """Draw waveforms whose band power follows `course`: one coloured noise per band, its amplitude set every second.

    Parameters
    ----------
    seed : int
    subject : str
    course : ndarray of shape (28, 32, 30, 5), nats
        From `draw_course`.

    Returns
    -------
    ndarray of shape (28, 32, 7500), float32, µV
        At 250 Hz, referenced to the average of all 32 channels.
    """
    rng = make_rng(seed, "synthetic", subject, "signal")
    drift = _draw_noise(rng, 0.05, 1.0) * np.float32(_DRIFT_SD_UV)
    noises = [_draw_noise(rng, low, high) for low, high in BANDS.values()]
    sd_uv = np.exp(course - 0.5 * np.log(2 * np.pi * np.e)).astype(np.float32)
    gains = [sd_uv[..., band] / _second_sd(noise) for band, noise in enumerate(noises)]
    signal = _add_up(drift, noises, gains)
    for _ in range(_CORRECTIONS):
        excess = np.clip(compute_de(signal, SFREQ_HZ) - course, *_EXCESS_RANGE)
        gains = [gain * np.exp(-excess[..., band], dtype=np.float32) for band, gain in enumerate(gains)]
        signal = _add_up(drift, noises, gains)
    return signal


def _add_up(drift: np.ndarray, noises: Sequence[np.ndarray], gains: Sequence[np.ndarray]) -> np.ndarray:
    """Return drift and bands as one signal against the average of all channels."""
    signal = drift.copy()
    for noise, gain in zip(noises, gains, strict=True):
        signal += _apply_gain(noise, gain)
    return signal - signal.mean(axis=1, keepdims=True)


def _apply_gain(noise: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return noise times the gain of each second, gliding from one to the next."""
    steps = np.repeat(gain.astype(np.float32), SFREQ_HZ, axis=-1)
    return noise * uniform_filter1d(steps, _GLIDE, axis=-1, mode="nearest")


def _second_sd(noise: np.ndarray) -> np.ndarray:
    """Return the SD of every second, shape (28, 32, 30)."""
    return np.maximum(noise.reshape(*noise.shape[:2], N_SECONDS, SFREQ_HZ).std(axis=-1), 1e-3)


def _draw_noise(rng: np.random.Generator, low_hz: float, high_hz: float) -> np.ndarray:
    """Draw band-limited noise, shape (28, 32, 7500), float32, SD near 1, correlated over channels, falling with 1/f."""
    frequencies = np.fft.rfftfreq(N_TIMES, 1 / SFREQ_HZ)
    inside = np.flatnonzero((frequencies >= low_hz) & (frequencies < high_hz))
    parts = rng.standard_normal((2, len(CLIPS), len(CHANNELS), len(inside)), dtype=np.float32)
    parts = np.einsum("ij,pnjk->pnik", _conduction(), parts, optimize=True)
    amplitude = 1 / frequencies[inside]
    amplitude *= N_TIMES / 2 / np.sqrt((amplitude**2).sum())
    spectrum = np.zeros((len(CLIPS), len(CHANNELS), len(frequencies)), dtype=np.complex64)
    spectrum[..., inside] = (parts[0] + 1j * parts[1]) * amplitude.astype(np.float32)
    return np.asarray(irfft(spectrum, n=N_TIMES, axis=-1), dtype=np.float32)


@cache
def _conduction() -> np.ndarray:
    """Return the matrix that turns independent noise into one with a near-zero channel mean and equal variances."""
    angle = np.arccos(np.clip(DIRECTIONS @ DIRECTIONS.T, -1, 1))
    reference = np.eye(len(CHANNELS)) - 1 / len(CHANNELS)
    covariance = reference @ np.exp(-((angle / _CONDUCTION_RAD) ** 2)) @ reference
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return (root / np.sqrt(np.diag(covariance))[:, None]).astype(np.float32)


def _draw_gains(rng: np.random.Generator) -> np.ndarray:
    """Draw how strongly one subject shows what everybody shares, shape (28,), none below 0."""
    person, trials = GAIN_SD_PERSON * rng.standard_normal(), GAIN_SD_TRIAL * rng.standard_normal(len(CLIPS))
    return np.maximum(1 + person + trials, 0.0)


def _reaction_share(effect: float) -> np.ndarray:
    """Return what is left of the between-clip variance after planted effects and the mean of 30 correlated seconds."""
    rho = SECOND_AUTOCORRELATION
    of_seconds = (DE_SECOND_SD**2 * (1 + rho) / (1 - rho) / N_SECONDS) / DE_CLIP_SD**2
    return np.maximum(1 - effect**2 * (EMOTION_SHARE + CLIP_SHARE) - of_seconds, _LEAST_OWN)


def _make_course(noise: np.ndarray, autocorrelation: np.ndarray) -> np.ndarray:
    """Turn independent seconds, shape (840, 32, 5), into first-order autoregressions of the same variance per band.

    Returns
    -------
    ndarray of shape (28, 32, 30, 5)
    """
    noise = noise.reshape(len(CLIPS), N_SECONDS, len(CHANNELS), len(BANDS)).swapaxes(1, 2)
    course = np.empty_like(noise)
    for band, rho in enumerate(autocorrelation):
        innovation = noise[..., band] * np.sqrt(1 - rho**2)
        innovation[..., 0] = noise[..., 0, band]
        course[..., band] = lfilter([1.0], [1.0, -rho], innovation, axis=-1)
    return course
