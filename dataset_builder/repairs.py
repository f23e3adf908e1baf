"""What is done to the trials of one recording besides filtering, and the count of it."""

from collections.abc import Sequence

import mne
import numpy as np

from dataset_builder.artifacts import (
    EYE_PROXIES,
    MAX_INTERPOLATED_SHARE,
    find_bad_channels,
    find_flat_channels,
    interpolate_channels,
    remove_eye_components,
)


class Repairs:
    """The repairs of one recording, trial after trial.

    Parameters
    ----------
    info : mne.Info
        As `artifacts.make_info` returns it; channels and sampling frequency of the trials.
    n_trials : int

    Attributes
    ----------
    replaced, silent : ndarray of shape (n_trials, n_channels), bool
        Channels that were interpolated; flat channels that were not and are zero.
    """

    def __init__(self, info: mne.Info, n_trials: int) -> None:
        self.info = info
        self.replaced = np.zeros((n_trials, len(info["ch_names"])), dtype=bool)
        self.silent = np.zeros_like(self.replaced)
        self._beyond_repair = 0
        self._eyes_removed = 0
        self._without_proxies = 0
        self._not_converged = 0

    def repair_channels(self, index: int, trial_uv: np.ndarray, *, interpolate: bool) -> np.ndarray:
        """Replace bad channels of one trial, or set the flat ones to zero where none is replaced.

        Parameters
        ----------
        index : int
            Of the trial, 0-based.
        trial_uv : ndarray of shape (n_channels, n_times), float64, µV
        interpolate : bool

        Returns
        -------
        ndarray of shape (n_channels, n_times), float64, µV
        """
        flat = find_flat_channels(trial_uv, self.info["sfreq"])
        bad = flat | find_bad_channels(trial_uv, flat)
        if interpolate and bad.any():
            if bad.mean() <= MAX_INTERPOLATED_SHARE:
                self.replaced[index] = bad
                return interpolate_channels(trial_uv, self.info, bad)
            self._beyond_repair += 1
        self.silent[index] = flat
        return np.where(flat[:, None], 0.0, trial_uv)

    def remove_eyes(self, indices: Sequence[int], trials_uv: np.ndarray) -> np.ndarray:
        """Take eye movements out of trials; the components are fitted on all of them together.

        Parameters
        ----------
        indices : sequence of int
            Of the trials, 0-based.
        trials_uv : ndarray of shape (len(indices), n_channels, n_times), float64, µV

        Returns
        -------
        ndarray of the same shape
            Unchanged where neither Fp1 nor Fp2 nor Fpz can be used.
        """
        proxies = self._eye_proxies(indices)
        if not proxies:
            self._without_proxies += len(indices)
            return trials_uv
        cleaned, n_removed, converged = remove_eye_components(trials_uv, self.info, proxies)
        self._eyes_removed += n_removed
        self._not_converged += not converged
        return cleaned

    def reference(self, trials_uv: np.ndarray) -> None:
        """Subtract, in place, the mean over channels; a flat channel neither enters it nor gets it.

        Parameters
        ----------
        trials_uv : ndarray of shape (n_trials, n_channels, n_times), float64, µV
        """
        for trial, flat in zip(trials_uv, self.silent, strict=True):
            if not flat.all():
                trial[~flat] -= trial[~flat].mean(axis=0)

    def tell(self) -> list[str]:
        """Return a note for each kind of repair that took place."""
        of = f"of {len(self.replaced)} trials"
        told = [
            (self.replaced.any(), f"channels interpolated, in how many {of}: {self._list(self.replaced)}"),
            (self.silent.any(), f"flat channels set to zero, in how many {of}: {self._list(self.silent)}"),
            (self._beyond_repair, f"too many bad channels to interpolate in {self._beyond_repair} {of}"),
            (self._eyes_removed, f"{self._eyes_removed} eye components removed in {len(self.replaced)} trials"),
            (self._without_proxies, f"eye movements not removed in {self._without_proxies} {of}: no usable Fp1 or Fp2"),
            (self._not_converged, f"ICA stopped before convergence in {self._not_converged} fits"),
        ]
        return [note for happened, note in told if happened]

    def _eye_proxies(self, indices: Sequence[int]) -> list[str]:
        """Return the proxies that were measured, not interpolated, in at least half of the trials."""
        lost = (self.replaced | self.silent)[list(indices)].mean(axis=0) > 0.5
        usable = {name for name, is_lost in zip(self.info["ch_names"], lost, strict=True) if not is_lost}
        groups = ([name for name in places if name in usable] for places in EYE_PROXIES)
        return next((group for group in groups if group), [])

    def _list(self, where: np.ndarray) -> str:
        counts = zip(self.info["ch_names"], where.sum(axis=0), strict=True)
        return ", ".join(f"{name} {count}" for name, count in counts if count)
