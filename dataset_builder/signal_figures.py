"""Pictures of the signal itself: traces and scalp maps, as PNG bytes."""

from __future__ import annotations  # MNE loads a part of itself for every class that an annotation evaluates

from collections.abc import Sequence
from typing import Any

import mne
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dataset_builder.errors import InputError
from dataset_builder.figures import INK, STYLE, to_png
from dataset_builder.types import BANDS

#: Colours of traces from front to back, by the first letter of a channel's name.
_LOBES: dict[str, str] = {"F": "#0b63a5", "C": "#00735c", "T": "#8a4b00", "P": "#7a3e8e", "O": "#b0291c"}

#: Height of a trace's lane in robust standard deviations of the median channel.
_LANE_SD = 5.0

#: An interpolated map from fewer places would be mostly invented.
MIN_MAP_CHANNELS = 8


def plot_traces(signal_uv: np.ndarray, sfreq_hz: float, channels: Sequence[str], marked: Sequence[str] = ()) -> bytes:
    """Draw all channels of one window, one under the other.

    Parameters
    ----------
    signal_uv : ndarray of shape (n_channels, n_times), µV
    sfreq_hz : float
        Sampling frequency in Hz.
    channels : sequence of str
    marked : sequence of str
        Channels of bad quality; drawn grey with a cross at their name.

    Returns
    -------
    bytes
        PNG. Each trace has its mean removed and is cut off where it would leave its lane by far; the bar gives µV.
    """
    centred = np.nan_to_num(np.asarray(signal_uv, dtype=np.float64))
    centred = centred - np.median(centred, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(centred), axis=1)
    lane_uv = _round_up(_LANE_SD * float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0)
    seconds = np.arange(centred.shape[1]) / sfreq_hz
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 1.1 + 0.235 * len(channels)), dpi=125)
        axes = figure.add_axes((0.062, 0.0, 0.925, 1.0))
        _fit_axes(axes, figure, bottom_in=0.42, top_in=0.3)
        for lane, (name, trace) in enumerate(zip(channels, centred, strict=True)):
            bad = name in marked
            colour = "#717a85" if bad else _LOBES.get(name[:1].upper(), INK)
            reach = 0.5 if bad else 1.2
            shape = np.clip(trace / lane_uv, -reach, reach) - lane
            axes.plot(seconds, shape, color=colour, linewidth=0.55, antialiased=True)
            axes.text(-0.006, -lane, f"{name} ✕" if bad else name, color=colour, **_beside(axes))
        _style_time_axis(axes, seconds[-1] + 1 / sfreq_hz, len(channels))
        _draw_scale(axes, seconds[-1], lane_uv)
        return to_png(figure)


def plot_band_topomaps(band_de: np.ndarray, channels: Sequence[str]) -> bytes:
    """Draw one scalp map of mean band power per band.

    Parameters
    ----------
    band_de : ndarray of shape (n_channels, 5), nats
        Differential entropy per channel and band of `BANDS`, averaged over time. Drawn as band power in dB relative
        to 1 µV², ``10 log10(variance)`` with ``variance = exp(2 DE) / (2 pi e)``.
    channels : sequence of str
        10-10 names; channels without a standard position are left out.

    Returns
    -------
    bytes
        PNG; each map has its own colour scale.

    Raises
    ------
    InputError
        If fewer than `MIN_MAP_CHANNELS` channels have a position.
    """
    montage = _load_montage()
    placed = [row for row, name in enumerate(channels) if name in montage.ch_names]
    if len(placed) < MIN_MAP_CHANNELS:
        raise InputError(f"scalp map: {len(placed)} channels have a 10-10 position; at least {MIN_MAP_CHANNELS} needed")
    info = mne.create_info([channels[row] for row in placed], sfreq=1.0, ch_types="eeg")
    info.set_montage(montage)
    power_db = 10 * np.log10(np.exp(2.0 * np.asarray(band_de, dtype=np.float64)[placed]) / (2 * np.pi * np.e))
    with rc_context(STYLE | {"axes.edgecolor": INK}):
        figure = Figure(figsize=(10, 2.75), dpi=125)
        for column, (band, (low, high)) in enumerate(BANDS.items()):
            axes = figure.add_axes((0.008 + column * 0.2, 0.2, 0.175, 0.66))
            image, _ = mne.viz.plot_topomap(
                power_db[:, column],
                info,
                axes=axes,
                show=False,
                cmap="viridis",
                vlim=(power_db[:, column].min(), power_db[:, column].max()),
                contours=4,
                sensors="k.",
                res=96,
            )
            for dots in axes.lines:
                dots.set_markersize(3)
            axes.set_title(f"{band}  {low:g}–{high:g} Hz", fontsize=9, fontweight="bold", pad=4)
            bar = figure.colorbar(
                image, cax=figure.add_axes((0.038 + column * 0.2, 0.15, 0.115, 0.035)), orientation="horizontal"
            )
            bar.ax.tick_params(labelsize=7.5, length=2, pad=2)
            bar.ax.locator_params(nbins=3)
            bar.outline.set_visible(False)  # type: ignore[operator]
        return to_png(figure)


def _fit_axes(axes: Axes, figure: Figure, bottom_in: float, top_in: float) -> None:
    height = figure.get_figheight()
    left, _, width, _ = axes.get_position().bounds
    axes.set_position((left, bottom_in / height, width, 1 - (bottom_in + top_in) / height))


def _beside(axes: Axes) -> dict[str, Any]:
    return {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 8.5}


def _style_time_axis(axes: Axes, end_s: float, n_channels: int) -> None:
    axes.set(xlim=(0, end_s), ylim=(-n_channels + 0.2, 0.8), yticks=[])
    axes.set_xlabel("seconds", fontsize=8)
    axes.tick_params(axis="x", length=2, labelsize=8)
    axes.grid(axis="x", color="#e9edf1", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _draw_scale(axes: Axes, end_s: float, lane_uv: float) -> None:
    """Draw a bar of one lane's height above the plot's right end."""
    pixels_up = axes.transAxes.transform((0, 1))[1] + 4
    above = axes.transData.inverted().transform((0, pixels_up))[1]
    axes.plot([end_s * 0.997] * 2, [above, above + 1], color=INK, linewidth=1.6, clip_on=False)
    axes.text(end_s * 0.991, above + 0.5, f"{lane_uv:g} µV", ha="right", va="center", fontsize=8)


def _round_up(value: float) -> float:
    """Return the next number of the series 1, 2, 5, 10, 20, 50 ..."""
    power = 10 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))


def _load_montage() -> mne.channels.DigMontage:
    """Return 10-05 positions; MNE renamed the montage in 1.13."""
    name = "colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005"
    return mne.channels.make_standard_montage(name)
