"""The last seconds of a stream on a regular grid of samples, with dropped samples noticed and filled."""

import numpy as np

#: Time stamps jitter and chunks arrive late, but not for so long: what stays late is missing samples.
_SETTLED_S = 2.0

#: Samples that must be missing for good to be counted; below is the drift between two clocks.
_LEAST = 0.75

#: And more than this share of the range over which the stamps jitter.
_LEAST_OF_JITTER = 0.6

#: How fast the drift of clocks is followed, per second.
_FOLLOW = 0.1


class SampleBuffer:
    """Keeps the newest samples of a stream.

    Samples are counted and compared with their time stamps: where the stamps stay ahead of the count, samples were
    dropped. The hole is filled with a straight line where the stamps jump, so that time stays right.

    Parameters
    ----------
    n_channels : int
    sfreq_hz : float
        Nominal sampling frequency of the stream.
    keep_s : float
        How many seconds are kept.

    Attributes
    ----------
    dropped : int
        Samples that never arrived, since the beginning; at least, for jitter hides single ones.
    received : int
        Samples that arrived.
    newest_s : float
        Time stamp of the newest sample, seconds on the stream's clock; NaN before the first.
    """

    def __init__(self, n_channels: int, sfreq_hz: float, keep_s: float) -> None:
        self.sfreq_hz = sfreq_hz
        self._capacity = round(keep_s * sfreq_hz)
        self._settled = max(2, round(_SETTLED_S * sfreq_hz))
        self.dropped = 0
        self.received = 0
        self.newest_s = float("nan")
        #: Time stamp of the first sample, how far stamps usually are ahead of the count, and the count.
        self._origin_s, self._usual, self._count = float("nan"), float("nan"), 0
        self._data = np.empty((n_channels, 0), dtype=np.float32)
        self._filled, self._lag = np.empty(0, dtype=bool), np.empty(0)

    def __len__(self) -> int:
        return self._data.shape[1]

    def append(self, samples: np.ndarray, stamps_s: np.ndarray) -> None:
        """Add samples in the order of arrival; those that are no finite numbers count as filled, not as dropped.

        Parameters
        ----------
        samples : ndarray of shape (n_times, n_channels)
        stamps_s : ndarray of shape (n_times,), seconds
        """
        if not len(stamps_s):
            return
        if not np.isnan(self.newest_s) and stamps_s[0] < self.newest_s - _SETTLED_S:
            self._forget()  # the source was started anew
        if np.isnan(self.newest_s):
            self._origin_s = float(stamps_s[0])
        lag = (stamps_s - self._origin_s) * self.sfreq_hz - (self._count + np.arange(len(stamps_s)))
        self._count += len(stamps_s)
        self.received += len(stamps_s)
        values, lost = _hold_last(samples.T.astype(np.float32), self._data[:, -1:])
        self._data = np.concatenate([self._data, values], axis=1)
        self._filled = np.concatenate([self._filled, lost])
        self._lag = np.concatenate([self._lag, lag])
        self.newest_s = float(stamps_s[-1])
        self._notice_drops(len(stamps_s) / self.sfreq_hz)
        self._trim()

    def window(self, seconds: float) -> tuple[np.ndarray, float]:
        """Return the newest samples.

        Parameters
        ----------
        seconds : float
            As many as there are, if there are fewer.

        Returns
        -------
        samples : ndarray of shape (n_channels, n_times), float32
        missing_share : float
            Share of them that was filled, 0 to 1.
        """
        count = min(len(self), round(seconds * self.sfreq_hz))
        start = len(self) - count
        return self._data[:, start:], float(self._filled[start:].mean()) if count else 0.0

    def _forget(self) -> None:
        self._data, self._filled, self._lag = self._data[:, :0], self._filled[:0], self._lag[:0]
        self._origin_s = self.newest_s = self._usual = float("nan")
        self._count = 0

    def _notice_drops(self, elapsed_s: float) -> None:
        """Compare how far the stamps are ahead of the count with how far they usually are."""
        if len(self._lag) < self._settled:
            return
        ahead = float(self._lag[-self._settled :].min())
        least = max(_LEAST, _LEAST_OF_JITTER * float(np.ptp(self._lag)))
        if np.isnan(self._usual):
            self._usual = ahead
        missing = round(ahead - self._usual) if ahead - self._usual >= least else 0
        if missing:
            self._fill(missing)
            self.dropped += missing
            ahead -= missing
        self._usual += min(1.0, _FOLLOW * elapsed_s) * (ahead - self._usual)

    def _fill(self, missing: int) -> None:
        """Put samples where the stamps jump most, not longer ago than drops stay unnoticed."""
        first = max(1, len(self._lag) - 2 * self._settled - 1)
        at = first + int(np.diff(self._lag[first - 1 :]).argmax())
        inserted = min(missing, self._capacity)
        weights = np.arange(1, inserted + 1, dtype=np.float32) / (inserted + 1)
        before, after = self._data[:, at - 1, None], self._data[:, at, None]
        self._data = np.concatenate(
            [self._data[:, :at], before + (after - before) * weights, self._data[:, at:]], axis=1
        )
        self._filled = np.insert(self._filled, at, np.ones(inserted, dtype=bool))
        later = self._lag[at:] - missing
        self._lag = np.concatenate([self._lag[:at], np.full(inserted, later[0]), later])
        self._count += missing

    def _trim(self) -> None:
        if (surplus := len(self) - self._capacity) > 0:
            self._data, self._filled = self._data[:, surplus:], self._filled[surplus:]
            self._lag = self._lag[surplus:]


def _hold_last(values: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace samples that are no finite numbers by the last ones that are; some devices mark lost packets so."""
    lost = ~np.isfinite(values).all(axis=0)
    if not lost.any():
        return values, lost
    first = before if before.shape[1] else np.zeros((len(values), 1), dtype=np.float32)
    known = np.concatenate([first, values], axis=1)
    last = np.maximum.accumulate(np.where(np.concatenate([[False], lost]), 0, np.arange(known.shape[1])))
    return known[:, last[1:]], lost
