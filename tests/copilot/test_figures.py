import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from copilot.figures import plot_scores, plot_windows
from dataset_builder.errors import InputError
from dataset_builder.signal_figures import plot_band_topomaps, plot_traces
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS
from tests.copilot.copilot_fakes import make_signal, peaked

SIGNAL = make_signal(1, 30)[0]
BAND_DE = np.random.default_rng(0).normal(2, 0.3, (30, 5))
SCORES = dict(zip(EMOTIONS, peaked("fear", 0.4), strict=True))
WINDOWS = np.array([peaked("fear", 0.4), peaked("joy", 0.9)])
DRAWINGS = {
    "traces": lambda: plot_traces(SIGNAL, 250.0, SCALP_CHANNELS, ["Fz"]),
    "topomaps": lambda: plot_band_topomaps(BAND_DE, SCALP_CHANNELS),
    "scores": lambda: plot_scores(SCORES, 1 / 9),
    "windows": lambda: plot_windows(WINDOWS, 30.0),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_same_data_give_the_same_bytes_without_a_date(name):
    first = DRAWINGS[name]()
    assert first == DRAWINGS[name]()
    assert b"date" not in first.lower().split(b"<g ")[0]
    assert b"Matplotlib v" not in first


@pytest.mark.parametrize("name", ["traces", "topomaps"])
def test_pictures_are_png_of_page_width(name):
    with Image.open(io.BytesIO(DRAWINGS[name]())) as picture:
        assert picture.format == "PNG"
        assert picture.width == 1250
        assert len(picture.convert("RGB").getcolors(10**6)) > 10


@pytest.mark.parametrize("name", ["scores", "windows"])
def test_charts_are_svg_without_scripts(name):
    root = ET.fromstring(DRAWINGS[name]())
    assert root.tag.endswith("svg")
    assert not [node for node in root.iter() if node.tag.endswith("script")]


def test_traces_are_drawn_even_where_the_signal_is_flat_or_missing():
    broken = SIGNAL.copy()
    broken[0], broken[1, :100], broken[2] = 0, np.nan, 1e6
    assert plot_traces(broken, 250.0, SCALP_CHANNELS) != DRAWINGS["traces"]()
    assert plot_traces(np.zeros_like(SIGNAL), 250.0, SCALP_CHANNELS).startswith(b"\x89PNG")


def test_marked_channels_look_different():
    assert plot_traces(SIGNAL, 250.0, SCALP_CHANNELS) != DRAWINGS["traces"]()


def test_channels_without_a_position_are_left_out_of_the_maps():
    more = np.vstack([BAND_DE, BAND_DE[:1] + 9])
    assert plot_band_topomaps(more, [*SCALP_CHANNELS, "EOG"]) == DRAWINGS["topomaps"]()


def test_too_few_positions_are_an_error():
    with pytest.raises(InputError, match="5 channels have a 10-10 position; at least 8"):
        plot_band_topomaps(BAND_DE[:5], SCALP_CHANNELS[:5])
