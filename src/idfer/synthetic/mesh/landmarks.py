"""The few points that place a head: where they lie in each model, and their frame of the drawn faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = (
    "eye_outer_left", "eye_inner_left", "eye_outer_right", "eye_inner_right", "nose_tip", "lip_top",
    "lip_upper_inner", "lip_lower_inner", "lip_bottom", "mouth_left", "mouth_right", "chin",
)  # fmt: skip
"""Order of `FaceAsset.landmarks`; left is the person's own, at x > 0."""

MAKEHUMAN = (11693, 11489, 5078, 4871, 5054, 455, 520, 523, 492, 7128, 368, 5296)
"""Vertices of MakeHuman's base mesh (hm08)."""
MULTI_PIE = (45, 42, 36, 39, 30, 51, 62, 66, 57, 54, 48, 8)
"""Which of the 68 points of Multi-PIE, that ICT FaceKit lists, they are."""

# Heights of the drawn engine's features (canonical y, down): eyes, nose tip, lips, chin, in its average face.
EYES_Y, EYES_X = -0.135, 0.425
_HEIGHTS = {"nose_tip": 0.355, "lip_top": 0.655, "lip_upper_inner": 0.735, "lip_bottom": 0.83, "chin": 1.38}


@dataclass(frozen=True)
class Frame:
    """Where a head lies in space: `(points - origin) / unit` are canonical units with y up, eyes at 0.

    Attributes:
        origin: (3,) point between the eyes.
        unit: length of half an average face's width.
    """

    origin: np.ndarray
    unit: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (V, 3) in units, y up, the drawn engine's height 0 at y = 0."""
        placed: np.ndarray = (points - self.origin) / self.unit
        placed[:, 1] -= EYES_Y
        return placed


def frame(eyes: np.ndarray, points: np.ndarray) -> Frame:
    """The frame of a head at rest.

    Args:
        eyes: (2, 3) centres of the left and the right eyeball.
        points: (len(NAMES), 3) landmarks.
    """
    middle = eyes.mean(0)
    apart = abs(eyes[0, 0] - eyes[1, 0]) / 2
    chin = points[NAMES.index("chin")]
    unit = 0.5 * (apart / EYES_X + (middle[1] - chin[1]) / (_HEIGHTS["chin"] - EYES_Y))
    return Frame(origin=middle, unit=float(unit))


def texture_place(points: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Canonical (x, y) of each vertex, seen from the front, so that both models are painted alike.

    Args:
        points: (V, 3) vertices in units as `Frame.place` gives them.
        landmarks: (len(NAMES), 3) in the same units.

    Returns:
        (V, 2): x scaled so that the corners of the eyes are where the drawn engine has them; y downwards,
        stretched between the features of the drawn face.
    """
    of = dict(zip(NAMES, landmarks, strict=True))
    corner = 0.5 * (of["eye_outer_left"] - of["eye_outer_right"])[0]
    x = points[:, 0] * (0.64 / corner)
    heights = [-of[name][1] for name in _HEIGHTS]
    heights = [-3.0, EYES_Y, *heights, heights[-1] + 3]
    drawn = [-3.0, EYES_Y, *_HEIGHTS.values(), _HEIGHTS["chin"] + 3]
    return np.stack([x, np.interp(-points[:, 1], heights, drawn)], -1)
