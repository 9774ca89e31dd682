"""The nose: its relief, nostrils and the shadow under it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from idfer.synthetic.canvas import Canvas, bump, fold, ramp
from idfer.synthetic.factors import Factors


@dataclass(frozen=True)
class Nose:
    """Coordinates and sizes of N noses."""

    x: Tensor
    tip: Tensor
    width: Tensor
    flare: Tensor


def nose(c: Canvas, f: Factors) -> Nose:
    """The nose stands out, so a turned head moves its tip further than the cheeks."""
    reach = ramp((c.y + 0.35) / 0.8)
    return Nose(
        x=c.x - 0.20 * c.turn_x * reach,
        tip=0.355 + 0.03 * f.nose_length + 0.10 * c.turn_y * 0.5 + 0.02 * f.age - 0.03 * f.au9,
        width=0.20 * (1 + 0.11 * f.nose_width) * fold(f.gender, 0.92, 1.10) * (1 + 0.08 * f.age),
        flare=0.12 * f.au9 + 0.10 * f.au10 + 0.08 * f.au12,
    )


def relief(c: Canvas, f: Factors, n: Nose) -> Tensor:
    """Height of the nose above the face, (N, H, W)."""
    rise = ramp((c.y + 0.42) / 0.85)
    fall = ramp((n.tip + 0.13 - c.y) / 0.12)
    half = n.width * (0.55 + 0.35 * rise)
    z = (0.05 + 0.17 * rise) * fall * bump((n.x / half) * (n.x / half) * 0.55)
    side = n.x.abs()
    y = c.y - n.tip
    z = z + 0.10 * bump(_q(n.x, n.width * 0.75) + _q(y, 0.15))
    return z + 0.085 * bump(_q(side - n.width * (0.80 + n.flare), 0.10) + _q(y - 0.055 + 0.05 * f.au9, 0.10))


def draw(c: Canvas, f: Factors, n: Nose, shade: Tensor) -> None:
    """Nostrils and the shadow under the tip; `shade` is the colour of skin in shadow."""
    side = n.x.abs()
    y = c.y - n.tip
    under = bump(_q(n.x, n.width * 1.25) + _q(y - 0.135, 0.085))
    c.paint(shade * 0.72, 0.50 * under)
    tilt = y - 0.105 - 0.10 * (side - 0.5 * n.width) + 0.03 * f.au9
    hole = bump(_q(side - n.width * (0.46 + 0.4 * n.flare), 0.072) + _q(tilt, 0.048))
    c.paint(shade * 0.30, 0.95 * ramp(hole * 1.6))
    wing = bump(_q(side - n.width * (1.14 + n.flare), 0.035) + _q(y - 0.06 + 0.05 * f.au9, 0.10))
    c.paint(shade * 0.62, 0.55 * wing)


def _q(distance: Tensor, width: Tensor | float) -> Tensor:
    scaled = distance / width
    return scaled * scaled
