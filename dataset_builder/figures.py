"""How all pictures are drawn: same data, same bytes; no window, no date, no file.

Colours are told apart with every common colour vision (Okabe and Ito 2008, "Color universal design"; viridis and
cividis of Matplotlib), and no meaning hangs on colour alone.
"""

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

#: Colours of text and of what stands back.
INK, FAINT, RULE = "#1d2733", "#5b6673", "#d5dbe1"

#: Matplotlib settings of every picture. DejaVu comes with Matplotlib, so bytes do not depend on installed fonts.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "svg.hashsalt": "eeg-emotion-copilot",
    "figure.facecolor": "white",
}


def to_png(figure: Figure) -> bytes:
    """Return the figure in a palette of 256 colours: a third of the bytes, no visible difference."""
    canvas, packed = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(packed, format="png", compress_level=6)  # 9 would take ten times as long for a tenth of the bytes
    return packed.getvalue()


def to_svg(figure: Figure) -> bytes:
    """Return the figure as SVG without date and with repeatable identifiers."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
