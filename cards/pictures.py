"""A picture of a card: its place in the repository, its words, its bytes, and what all of them have in common."""

from dataclasses import dataclass

from matplotlib.axes import Axes

from cards.assets import ASSETS
from cards.chain import Chain

#: This folder's own numbers, those of probes, those of controls.
OWN, OTHERS, CONTROLS = "#1f5a8a", "#b3541e", "#7a3e8e"


@dataclass(frozen=True)
class Picture:
    """One picture.

    Parameters
    ----------
    name : str
        Path in the repository.
    alt : str
        What is to be seen, for those who cannot see it.
    data : bytes
        PNG.
    """

    name: str
    alt: str
    data: bytes


def name_picture(kind: str) -> str:
    """Return where a picture lies in the repository."""
    return f"{ASSETS}{kind}.png"


def mark_title(chain: Chain, title: str) -> str:
    """Return a title that says if the data are made up."""
    return f"{title} (SYNTHETIC data)" if chain.synthetic else title


def finish_axes(axes: Axes) -> None:
    """Take away the frame and write the legend."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
