"""Where electrodes sit on a head seen from above, for a drawing of circles."""

from functools import cache

import mne
import numpy as np

from dataset_builder.sources.montage import TEN_TEN


@cache
def load_places() -> dict[str, tuple[float, float]]:
    """Return the place of every 10-10 electrode.

    Returns
    -------
    dict of str to (float, float)
        Name -> (right, down) from the vertex, by the azimuthal equidistant projection; 1 is the circle through Fpz, T7,
        Oz and T8, which lies 90 degrees from the vertex.
    """
    names = mne.channels.get_builtin_montages()
    montage = mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in names else "standard_1005")
    found = montage.get_positions()["ch_pos"]
    places = {name: np.asarray(found[name]) for name in TEN_TEN if name in found}
    # The montage's head is no sphere around its origin: the centre of the sphere that fits its electrodes best.
    points = np.stack(list(places.values()))
    system = np.column_stack([2 * points, np.ones(len(points))])
    centre = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0][:3]
    return {name: _project(point - centre) for name, point in places.items()}


def _project(point: np.ndarray) -> tuple[float, float]:
    right, front, up = point / np.linalg.norm(point)
    angle, reach = np.arctan2(front, right), np.arccos(np.clip(up, -1, 1)) / (np.pi / 2)
    return round(float(reach * np.cos(angle)), 4), round(float(-reach * np.sin(angle)), 4)
