"""Pictures of the signal itself: traces and scalp maps, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from dataset_builder.errors import InputError
from dataset_builder.figures import FAINT, INK, STYLE, to_png
from dataset_builder.scalp_map import flatten_places, locate_channels, make_grid, make_interpolator
from dataset_builder.types import BANDS

#: Colours of traces from front to back, by the first letter of a channel's name.
_LOBES: dict[str, str] = {"F": "#0b63a5", "C": "#00735c", "T": "#8a4b00", "P": "#7a3e8e", "O": "#b0291c"}

#: Height of a trace's lane in robust standard deviations of the median channel.
_LANE_SD = 5.0

#: An interpolated map from fewer places would be mostly invented.
MIN_MAP_CHANNELS = 8

#: Radius of a map in inches, points along its side, and how far it reaches beyond head and channels.
_MAP_RADIUS_IN, _MAP_PIXELS, _BEYOND = 0.84, 64, 1.04


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
    rows, places = locate_channels(channels)
    if len(rows) < MIN_MAP_CHANNELS:
        raise InputError(f"scalp map: {len(rows)} channels have a 10-10 position; at least {MIN_MAP_CHANNELS} needed")
    power_db = 10 * np.log10(np.exp(2.0 * np.asarray(band_de, dtype=np.float64)[rows]) / (2 * np.pi * np.e))
    dots = flatten_places(places)
    reach = max(1.0, float(np.hypot(*dots.T).max())) * _BEYOND
    maps = make_interpolator(places, make_grid(reach, _MAP_PIXELS)) @ power_db
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 2.75), dpi=125)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))  # one for all: each further one costs as much as its map
        axes.set_axis_off()
        for column, (band, (low, high)) in enumerate(BANDS.items()):
            centre, limits = (0.955 + 2 * column, 1.4), (power_db[:, column].min(), power_db[:, column].max())
            _draw_map(axes, maps[:, column].reshape(_MAP_PIXELS, _MAP_PIXELS), centre, limits)
            _draw_head(axes, np.asarray(centre), _MAP_RADIUS_IN / reach, dots)
            _draw_colours(axes, centre[0], limits)
            name = f"{band}  {low:g}–{high:g} Hz"
            axes.text(centre[0], 2.42, name, ha="center", va="bottom", fontsize=9, fontweight="bold")
        axes.set(xlim=(0, 10), ylim=(0, 2.75))
        return to_png(figure)


def _draw_map(axes: Axes, values: np.ndarray, centre: tuple[float, float], limits: tuple[float, float]) -> None:
    """Draw one round map with four lines of equal value; lengths in inches."""
    (x, y), radius = centre, _MAP_RADIUS_IN
    circle = Circle(centre, radius, transform=axes.transData)
    extent = (x - radius, x + radius, y - radius, y + radius)
    image = axes.imshow(
        values, extent=extent, origin="lower", aspect="auto", cmap="viridis", clim=limits, interpolation="bilinear"
    )
    image.set_clip_path(circle)
    if limits[1] - limits[0] > 1e-9:
        levels = np.linspace(*limits, 6)[1:-1]
        lines = axes.contour(values, levels, extent=extent, origin="lower", colors=INK, linewidths=0.7)
        lines.set_clip_path(circle)


def _draw_head(axes: Axes, centre: np.ndarray, scale_in: float, dots: np.ndarray) -> None:
    """Draw the head's outline with nose and ears, and where the channels lie."""
    turn = np.linspace(0, 2 * np.pi, 90)
    ear = np.array([[0.995, 0.14], [1.06, 0.17], [1.08, 0.06], [1.06, -0.1], [1.05, -0.19], [0.98, -0.2]])
    outline = [np.stack([np.cos(turn), np.sin(turn)], axis=1), ear, ear * (-1, 1)]
    outline.append(np.array([[-0.12, 0.993], [0.0, 1.1], [0.12, 0.993]]))
    axes.add_collection(LineCollection([centre + line * scale_in for line in outline], colors=INK, linewidths=1.1))
    axes.plot(*(centre + dots * scale_in).T, "k.", markersize=3)


def _draw_colours(axes: Axes, x: float, limits: tuple[float, float]) -> None:
    """Draw which colour is which value, below a map."""
    left, right, top, bottom = x - 0.575, x + 0.575, 0.5, 0.41
    ramp = np.linspace(0, 1, 128)[np.newaxis]
    axes.imshow(ramp, extent=(left, right, bottom, top), aspect="auto", cmap="viridis", interpolation="nearest")
    span = limits[1] - limits[0]
    ticks = [tick for tick in MaxNLocator(3).tick_values(*limits) if limits[0] <= tick <= limits[1] and span > 1e-9]
    for tick in ticks or limits[:1]:
        place = left + (right - left) * ((tick - limits[0]) / span if span > 1e-9 else 0.5)
        axes.plot([place, place], [bottom, bottom - 0.03], color=FAINT, linewidth=0.8)
        axes.text(place, bottom - 0.05, f"{round(tick, 6):g}", ha="center", va="top", fontsize=7.5, color=FAINT)


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
