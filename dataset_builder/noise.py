"""Noise in place of EEG: nobody's brain, but the person's own spectrum and covariance."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dataset_builder.preprocess import PreprocessingConfig
from dataset_builder.seeds import make_rng
from dataset_builder.sources.base import Source, SourceConfig, SourceInfo
from dataset_builder.types import Recording


class NoiseSource(Source):
    """A source whose every recording is replaced by noise that resembles it.

    Parameters
    ----------
    source : Source
        The real one: people, labels and everything but the arrays are its own.
    seed : int
    """

    Config = SourceConfig

    def __init__(self, source: Source, seed: int) -> None:
        self.root, self.config = source.root, source.config
        self.preprocessing: PreprocessingConfig = source.preprocessing
        self._source, self._seed = source, seed

    @property
    def info(self) -> SourceInfo:
        """That of the real source."""
        return self._source.info

    def subjects(self) -> list[str]:
        """Return everybody."""
        return self._source.subjects()

    def read(self, subject: str, reads: str = "de") -> Recording:
        """Read one subject and put noise in place of every array."""
        recording = self._source.read(subject, reads)
        rng = make_rng(self._seed, "noise", subject)
        signal, de, psd = recording.signal_uv, recording.de, recording.psd
        return replace(
            recording,
            signal_uv=None if signal is None else draw_alike(signal, 2, rng),
            # Features beside waveforms would be those of the real trials; the codec computes them from the noise.
            de=None if de is None or signal is not None else draw_alike(de, 2, rng),
            psd=None if psd is None or signal is not None else _draw_positive(psd, rng),
        )

    def files(self, subject: str, reads: str = "de") -> list[Path]:
        """Return the files that `read` opens for a subject."""
        return self._source.files(subject, reads)

    def tables(self) -> list[Path]:
        """Return the files that are shared by all subjects."""
        return self._source.tables()

    def name_file(self, path: Path) -> str:
        """Return what manifests call a file."""
        return self._source.name_file(path)


def draw_alike(trials: np.ndarray, time_axis: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise with the mean and the cross-spectra over time that a person's trials have on average.

    Each new trial is a sum of all trials' spectra with random complex weights, drawn anew at every frequency: Gaussian
    noise whose expected cross-spectral matrix between all channels is the trials' mean one (the multivariate relative
    of Theiler et al. 1992, Physica D 58:77). What belongs to one trial alone is spread over all of them.

    Parameters
    ----------
    trials : ndarray of shape (n_trials, ..., n_times, ...)
        µV of waveforms, or nats of features.
    time_axis : int
        Which axis is time, not the first.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        Shape and dtype of `trials`.
    """
    moved = np.moveaxis(trials, time_axis, 1).astype(np.float64)
    n_trials, n_times = moved.shape[:2]
    mean = moved.mean(axis=(0, 1), keepdims=True)
    spectra = np.fft.rfft((moved - mean).reshape(n_trials, n_times, -1), axis=1)
    shape = (n_trials, n_trials, spectra.shape[1])
    weights = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2 * n_trials)
    # The mean and the fastest oscillation of a real trial have no phase.
    weights[:, :, 0] = np.sqrt(2) * weights[:, :, 0].real
    if n_times % 2 == 0:
        weights[:, :, -1] = np.sqrt(2) * weights[:, :, -1].real
    mixed = np.einsum("ijf,jfc->ifc", weights, spectra, optimize=True)
    drawn = np.fft.irfft(mixed, n=n_times, axis=1).reshape(moved.shape) + mean
    return np.moveaxis(drawn, 1, time_axis).astype(trials.dtype)


def _draw_positive(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the same for relative power, which is positive: its logarithm is drawn."""
    floor = np.finfo(np.float32).tiny
    return np.exp(draw_alike(np.log(np.maximum(power, floor)), 2, rng)).astype(power.dtype)
