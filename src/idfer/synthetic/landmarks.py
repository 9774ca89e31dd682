"""Where eyes, nose and mouth of drawn faces are: known, not found, so that faces can be aligned by them.

The same five points as a detector gives (`idfer.data.landmarks`), from the shapes that the layers draw.
"""

from __future__ import annotations

import numpy as np
import torch

from idfer.synthetic.factors import Factors
from idfer.synthetic.layers import eyes, mouth, nose, pose


def landmarks(factors: Factors, size: int) -> np.ndarray:
    """The five landmarks of N drawn faces.

    Args:
        factors: the faces.
        size: image side in pixels, as they are rendered.

    Returns:
        (N, 5, 2) float32 x, y in pixels: the eye on the left of the image, that on the right, the tip of the
        nose, the left and the right corner of the mouth. They may lie outside the image.
    """
    f = factors
    turn_x, turn_y = (torch.sin(torch.deg2rad(angle)) for angle in (f.yaw, f.pitch))
    eye_x, eye_y = eyes.centre(f), torch.full_like(f.yaw, eyes.HEIGHT)
    tip = nose.tip(f, turn_y)
    middle, half = mouth.middle_x(f) + 0.05 * turn_x, mouth.half_width(f)
    places = [(-eye_x, eye_y), (eye_x, eye_y), (nose.aside(tip, turn_x), tip)]
    for side in (-1, 1):
        lift = mouth.corner_lift(f, 1 + 0.9 * f.lopsided * side)
        places.append((middle + side * half, mouth.middle_y(f) - 0.7 * lift))
    found = torch.stack([pose.seen_at(f, x, y, size) for x, y in places], 1)
    return np.asarray(found.numpy(), np.float32)
