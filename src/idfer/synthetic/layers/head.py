"""The head: its proportions and outline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idfer.synthetic.canvas import bump, fold
from idfer.synthetic.factors import Factors


@dataclass(frozen=True)
class Head:
    """Proportions of N heads, all (N, 1, 1), in face half-widths."""

    width: Tensor
    top: Tensor
    chin: Tensor
    taper: Tensor
    square: Tensor
    jowl: Tensor


EQUATOR = -0.15  # height of the widest part of the head


def proportions(f: Factors) -> Head:
    """Sizes of the head from its shape factors; the jaw drop lengthens it."""
    return Head(
        width=0.97 * (1 + 0.045 * f.face_width) * fold(f.gender, 0.975, 1.02),
        top=1.27 + 0.02 * f.forehead,
        chin=1.42 * (1 + 0.03 * f.face_length + 0.02 * f.chin_length) * fold(f.gender, 0.965, 1.03)
        + 0.15 * f.au26
        - 0.02 * f.au17,
        taper=0.150 - 0.125 * f.gender - 0.035 * f.jaw_width + 0.02 * f.au26 - 0.03 * f.cheek_fullness,
        square=(0.06 + 0.40 * f.gender + 0.07 * f.chin_width + 0.05 * f.jaw_width).clamp(0, 0.75),
        jowl=0.10 * f.age * f.age,
    )


def outline(x: Tensor, y: Tensor, h: Head, grow: Tensor | float = 0.0) -> Tensor:
    """Signed distance, in units, to the outline of the head grown by `grow`; negative inside.

    A gauge function F (1 on the outline): a squircle whose lower half tapers to the chin. Along a ray from
    the centre the outline lies at |p| / F, so that |p| (1 - 1/F) is the distance along the ray.
    """
    down = y - EQUATOR
    below = (down > 0).to(torch.float32)
    v = down / ((h.chin * below + h.top * (1 - below)) + grow)
    low = v.clamp(min=0)
    sag = bump((low - 0.62) * (low - 0.62) / 0.10)
    u = x / ((h.width + grow) * (1 - h.taper * low * low * (1 + low) + h.jowl * sag))
    uu, vv = u * u, v * v
    gauge = (uu * uu + vv * vv + (2 - 2 * (h.square * below + 0.28 * (1 - below))) * uu * vv).sqrt().sqrt()
    radius = (x * x + down * down).sqrt()
    return radius * (1 - 1 / gauge.clamp(min=1e-3))
