"""The head: outline, ears, neck, and the relief and creases that light will model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from idfer.synthetic.canvas import Canvas, bump, fold, ramp, wave
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
        top=1.38 + 0.02 * f.forehead,
        chin=1.42 * (1 + 0.03 * f.face_length + 0.02 * f.chin_length) * fold(f.gender, 0.965, 1.03)
        + 0.15 * f.au26
        - 0.02 * f.au17,
        taper=0.135 - 0.075 * f.gender - 0.035 * f.jaw_width + 0.02 * f.au26 - 0.03 * f.cheek_fullness,
        square=(0.10 + 0.30 * f.gender + 0.07 * f.chin_width + 0.05 * f.jaw_width).clamp(0, 0.75),
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
    gauge = (uu * uu + vv * vv + (2 - 2 * h.square * below) * uu * vv).sqrt().sqrt()
    radius = (x * x + down * down).sqrt()
    return radius * (1 - 1 / gauge.clamp(min=1e-3))


def relief(c: Canvas, f: Factors, h: Head) -> Tensor:
    """Height of the face above a flat plane, in units, (N, H, W): what light models into soft shading."""
    x, y = c.x, c.y
    side = x.abs()
    u, v = x / h.width, (y - EQUATOR) / h.chin
    z = -0.42 * u * u * u * u - 0.20 * u * u - 0.10 * v * v - 0.22 * v * v * v * v
    # forehead and brow ridge, low and heavy on masculine faces
    z += (0.05 + 0.07 * f.gender + 0.02 * f.au4) * bump(
        _q(side - 0.36, 0.36) + _q(y + 0.36 - 0.05 * f.au4, 0.17)
    )
    # eye sockets deepen with age
    z -= (0.10 + 0.05 * f.age) * bump(_q(side - 0.40, 0.36) + _q(y + 0.13, 0.26))
    # cheeks: rise in a smile, hollow and sink with age
    lift = 0.5 * f.au6 + 0.5 * f.au12
    z += (0.075 + 0.02 * f.cheekbones + 0.09 * lift) * bump(
        _q(side - 0.52 - 0.02 * lift, 0.36) + _q(y - 0.30 + 0.08 * lift - 0.08 * f.age, 0.30)
    )
    z -= (0.03 + 0.05 * f.age - 0.03 * f.cheek_fullness).clamp(min=0) * bump(
        _q(side - 0.62, 0.3) + _q(y - 0.70, 0.34)
    )
    z += 0.06 * f.age * bump(_q(side - 0.52, 0.22) + _q(y - 0.92, 0.2))
    # chin
    z += (0.07 + 0.03 * f.gender + 0.05 * f.au17) * bump(_q(x, 0.30) + _q(y - h.chin + 0.30, 0.2))
    # around the mouth, and the groove under the lower lip
    z += 0.07 * bump(_q(x, 0.5) + _q(y - 0.74, 0.34))
    return z


def creases(c: Canvas, f: Factors, h: Head) -> Tensor:
    """Darkness of folds and wrinkles, 0..1, (N, H, W), of age and of muscles at work."""
    x, y = c.x, c.y
    side = x.abs()
    ink = torch.zeros_like(x)
    old = f.age * f.age * 0.75 + 0.25 * f.age
    fine = (c.px / 24).clamp(max=1.0)  # lines cannot be thinner than a pixel: draw them paler instead

    # nasolabial folds: from the wings of the nose past the mouth corners
    smile = f.au12 * (1 - 0.4 * f.au26)
    t = (y - 0.36) / 0.50
    tc = t.clamp(0, 1)
    path = 0.235 + (0.26 + 0.13 * smile) * tc + (0.05 + 0.10 * smile) * tc * (1 - tc)
    depth = (
        0.06 + 0.62 * old + 0.50 * smile + 0.40 * f.au10 + 0.35 * f.au9 + 0.15 * f.au15 + 0.15 * f.au20
    ).clamp(max=1)
    ends = ramp(t * 6) * ramp((1.05 - t) * 3.5)
    ink += depth * ends * bump(_q(side - path, 0.075))

    # marionette lines: mouth corners to jaw
    t = (y - 0.80) / 0.30
    ink += 0.6 * old * ramp(t * 5) * ramp((1 - t) * 4) * bump(_q(side - 0.44 - 0.05 * t, 0.06))

    # forehead lines
    raised = 0.55 * f.au1 + 0.45 * f.au2
    lines = (0.70 * old + 0.40 * raised * (0.4 + 0.6 * f.age)).clamp(max=0.9)
    rows = wave((y + 0.62 + 0.05 * raised + 0.03 * wave(x * 0.9)) / 0.135)
    area = ramp((0.62 - side) * 5) * ramp((-0.56 - y) * 12) * ramp((y + 0.99) * 8)
    ink += lines * fine * area * ramp(rows * 1.6 - 0.35)

    # frown lines between the brows
    frown = (0.85 * f.au4 + 0.45 * old).clamp(max=1)
    ink += frown * bump(_q(side - 0.075, 0.042) + _q(y + 0.40, 0.17))

    # crow's feet
    crow = (0.75 * old + 0.55 * f.au6 * (0.35 + 0.65 * f.age)).clamp(max=1)
    ex, ey = side - 0.68, y + 0.10
    rays = wave((ey - 0.02) / (0.10 + 0.45 * ex.clamp(min=0)))
    ink += crow * fine * bump(_q(ex - 0.10, 0.14) + _q(ey, 0.20)) * ramp(rays * 1.4 - 0.2) * 1.4

    # bags under the eyes
    dip = (side - 0.42) / 0.24
    ring = y - (0.10 + 0.03 * f.age - 0.04 * f.au6 - 0.075 * dip * dip)
    bag = (0.04 + 0.75 * old + 0.30 * f.au6 + 0.15 * f.au7).clamp(max=1)
    ink += bag * ramp((1 - dip.abs()) * 4) * bump(_q(ring, 0.045)) * 0.85

    # nose wrinkles
    rows = wave((y + 0.02) / 0.085 + 0.8 * side)
    ink += f.au9 * fine * bump(_q(side - 0.06, 0.15) + _q(y + 0.08, 0.16)) * ramp(rows * 1.4)
    ink += f.au9 * 0.6 * bump(_q(side - 0.16 - 0.25 * (y + 0.02), 0.05) + _q(y - 0.06, 0.18))

    # chin: the raiser pulls a curved furrow, the dimples of the muscle below
    arc = y - (h.chin - 0.40 + EQUATOR + 0.10 - 0.35 * x * x + 0.02)
    ink += (0.22 + 0.5 * f.au17 + 0.1 * old) * bump(_q(arc, 0.06)) * ramp((0.26 - side) * 8)
    return ink.clamp(max=1.0)


def _q(distance: Tensor, width: Tensor | float) -> Tensor:
    """Squared distance in widths."""
    scaled = distance / width
    return scaled * scaled
