"""The edges of the lids."""

from __future__ import annotations

import numpy as np

_BINS = 20


def rims(points: np.ndarray, skin: np.ndarray, centres: np.ndarray, radius: float) -> list[np.ndarray]:
    """For each eye the vertices round its opening, counted from the person's nose or temple over the top.

    In each direction from the centre, as seen from the front, the nearest vertex of the skin is on the edge.

    Args:
        points: (V, 3) of a face with open eyes.
        skin: (V,) bool.
        centres: (2, 3) of the eyeballs.
        radius: of the eyeballs.
    """
    found = []
    for centre in centres:
        apart = points - centre
        near = np.flatnonzero(
            skin & (apart[:, 2] > 0.3 * radius) & (np.linalg.norm(apart, axis=1) < 1.8 * radius)
        )
        angle = np.arctan2(apart[near, 1], apart[near, 0])
        reach = np.hypot(apart[near, 0], apart[near, 1])
        bins = np.floor((angle + np.pi) / (2 * np.pi) * _BINS).astype(int) % _BINS
        loop = [near[bins == k][reach[bins == k].argmin()] for k in range(_BINS) if (bins == k).any()]
        found.append(np.array(loop, np.int64))
    return found
