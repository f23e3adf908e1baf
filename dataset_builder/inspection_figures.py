"""Pictures of one trial before and after coding, as SVG."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import welch

from dataset_builder.codecs.fidelity import Comparison, PowerComparison, WaveComparison
from dataset_builder.figures import FAINT, INK, RULE, STYLE, to_svg
from dataset_builder.types import BANDS

#: Truth is dark and thin, what is decoded is blue: told apart by shape as well.
_TRUTH, _DECODED = INK, "#0b63a5"

#: More channels than this cannot be told apart in one picture.
_MOST_WAVES = 6

#: Groups of channels in the spectrum: name, first letters, colour and dash.
_LOBES = (
    ("frontal", ("F",), "#0b63a5", "-"),
    ("central and temporal", ("C", "T"), "#00735c", "--"),
    ("posterior", ("P", "O"), "#b0291c", ":"),
)


def plot_spectrum(signal_uv: np.ndarray, sfreq_hz: float, channels: tuple[str, ...]) -> bytes:
    """Draw the power spectrum of one trial per part of the head, by Welch's method with windows of 4 s.

    Parameters
    ----------
    signal_uv : ndarray of shape (n_channels, n_times), µV
    sfreq_hz : float
        Sampling frequency in Hz.
    channels : tuple of str

    Returns
    -------
    bytes
        SVG; medians over channels in dB relative to 1 µV²/Hz, bands marked.
    """
    length = min(signal_uv.shape[-1], round(4 * sfreq_hz))
    frequencies_hz, density = welch(np.asarray(signal_uv, dtype=np.float64), fs=sfreq_hz, nperseg=length, axis=-1)
    shown = (frequencies_hz >= 0.5) & (frequencies_hz <= 47)
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 2.9))
        axes = figure.add_axes((0.062, 0.16, 0.925, 0.72))
        for name, letters, colour, dash in _LOBES:
            rows = [row for row, channel in enumerate(channels) if channel.startswith(letters)]
            if rows:
                level_db = 10 * np.log10(np.maximum(np.median(density[rows], axis=0)[shown], 1e-9))
                axes.plot(
                    frequencies_hz[shown], level_db, dash, color=colour, linewidth=1.4, label=f"{name} ({len(rows)})"
                )
        for band, (low, high) in BANDS.items():
            axes.axvline(low, color=RULE, linewidth=0.8, zorder=0)
            axes.text((low + high) / 2, 1.03, band, transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
        axes.set(xlim=(0.5, 47), xlabel="Hz", ylabel="dB re 1 µV²/Hz")
        axes.margins(y=0.18)
        axes.legend(frameon=False, fontsize=8, loc="lower left", ncols=3)
        axes.spines[["top", "right"]].set_visible(False)
        return to_svg(figure)


def plot_comparison(comparison: Comparison) -> bytes:
    """Draw what can be read back from a code beside the truth.

    Returns
    -------
    bytes
        SVG. Band power of one window as points over lines, of several windows as pairs of maps; waveforms as traces.
    """
    if isinstance(comparison, WaveComparison):
        return _plot_waves(comparison)
    return _plot_windows(comparison) if comparison.truth.shape[1] > 1 else _plot_points(comparison)


def _plot_points(comparison: PowerComparison) -> bytes:
    """Draw one panel per band: places from left to right, dB up."""
    places = np.arange(len(comparison.places))
    many = len(places) > 12
    reach = 1.1 * max(1.0, float(np.nanmax(np.abs([comparison.truth, comparison.decoded]))))
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 7.5 if many else 3.1))
        grid = figure.subplots(5 if many else 1, 1 if many else 5, sharex=True, sharey=True, squeeze=False)
        for axes, band, truth, decoded in zip(
            grid.ravel(), BANDS, comparison.truth[:, 0], comparison.decoded[:, 0], strict=True
        ):
            axes.axhline(0, color=RULE, linewidth=0.8)
            axes.plot(places, truth, color=_TRUTH, linewidth=1, marker="_", label="true")
            axes.plot(places, decoded, "o", color=_DECODED, markersize=4.5, fillstyle="none", label="decoded")
            axes.set_title(band, fontsize=9, fontweight="bold", loc="left", pad=3)
            axes.set(ylim=(-reach, reach), xticks=places)
            axes.set_xticklabels(comparison.places, rotation=90, fontsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        for row in grid:
            row[0].set_ylabel("dB from average", fontsize=8)
        grid[0, -1].legend(frameon=False, fontsize=8, loc="upper right", ncols=2 if many else 1)
        figure.tight_layout(pad=0.4)
        return to_svg(figure)


def _plot_windows(comparison: PowerComparison) -> bytes:
    """Draw two maps per band, the truth and what is decoded: windows from left to right, places down."""
    limit = max(1.0, float(np.nanquantile(np.abs(comparison.truth), 0.98)))
    few = len(comparison.places) <= 12
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 3.6 if few else 5.2))
        grid = figure.subplots(2, 5, sharex=True, sharey=True, squeeze=False)
        for column, band in enumerate(BANDS):
            for axes, values, what in zip(
                grid[:, column], (comparison.truth, comparison.decoded), ("true", "decoded"), strict=True
            ):
                image = axes.imshow(
                    values[column].T, aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest"
                )
                axes.set_title(f"{band}, {what}", fontsize=8.5, fontweight="bold", loc="left", pad=3)
                axes.set_yticks(range(len(comparison.places)) if few else [])
                axes.tick_params(length=0)
        for axes in grid[:, 0]:
            if few:
                axes.set_yticklabels(comparison.places, fontsize=7)
            else:
                axes.set_ylabel(f"{len(comparison.places)} channels, {comparison.places[0]} to {comparison.places[-1]}")
        for axes in grid[-1]:
            axes.set_xlabel("window", fontsize=8)
        figure.tight_layout(pad=0.4, rect=(0, 0, 0.94, 1))
        bar = figure.colorbar(image, cax=figure.add_axes((0.95, 0.2, 0.012, 0.6)))
        bar.ax.set_title("dB", fontsize=8)
        bar.outline.set_visible(False)  # type: ignore[operator]
        return to_svg(figure)


def _plot_waves(comparison: WaveComparison) -> bytes:
    """Draw one panel per channel, at most a few, spread over those that there are."""
    n_waves = min(_MOST_WAVES, len(comparison.places))
    chosen = np.linspace(0, len(comparison.places) - 1, n_waves).round().astype(int)
    seconds = np.arange(comparison.truth.shape[-1]) / comparison.sfreq_hz
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 0.5 + 1.05 * n_waves))
        grid = figure.subplots(n_waves, 1, sharex=True, squeeze=False)[:, 0]
        for axes, place in zip(grid, chosen, strict=True):
            _draw_pair(axes, seconds, comparison.truth[place], comparison.decoded[place])
            axes.set_ylabel(comparison.places[place], rotation=0, ha="right", va="center", fontsize=8.5, color=INK)
        grid[0].legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.96), ncols=2, borderpad=0)
        grid[-1].set_xlabel("seconds", fontsize=8)
        figure.tight_layout(pad=0.4)
        return to_svg(figure)


def _draw_pair(axes: Axes, seconds: np.ndarray, truth: np.ndarray, decoded: np.ndarray) -> None:
    axes.plot(seconds, truth, color=FAINT, linewidth=0.45, alpha=0.75, label="true")
    axes.plot(seconds, decoded, color=_DECODED, linewidth=1.1, label="decoded")
    axes.set(xlim=(0, seconds[-1]), ylim=(-4.2, 4.2), yticks=[-3, 0, 3])
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "right"]].set_visible(False)
