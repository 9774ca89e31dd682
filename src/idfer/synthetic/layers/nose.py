"""The nose: its relief, nostrils and the shadow under it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from idfer.synthetic.canvas import Canvas, bump, fold, ramp, square
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
    return Nose(
        x=c.x - aside(c.y, c.turn_x),
        tip=tip(f, c.turn_y),
        width=0.20 * (1 + 0.11 * f.nose_width) * fold(f.gender, 0.92, 1.10) * (1 + 0.08 * f.age),
        flare=0.12 * f.au9 + 0.10 * f.au10 + 0.08 * f.au12,
    )


def aside(y: Tensor, turn_x: Tensor) -> Tensor:
    """How far the middle of the nose lies aside at a height, in a head that is turned."""
    reach = ramp((y + 0.35) / 0.8)
    return 0.20 * turn_x * reach


def tip(f: Factors, turn_y: Tensor) -> Tensor:
    """Height of the tip of the nose."""
    return 0.355 + 0.03 * f.nose_length + 0.10 * turn_y * 0.5 + 0.02 * f.age - 0.03 * f.au9


def relief(c: Canvas, f: Factors, n: Nose) -> None:
    """Bridge, tip and wings, added to the height of the face."""
    side, y = n.x.abs(), c.y - n.tip
    rise = ramp((c.y + 0.55) / 0.95)
    fall = ramp((0.16 - y) / 0.18)
    bridge = bump(square(n.x, n.width * (0.85 + 0.20 * rise)) * 0.60)
    c.height.add_(0.185 * rise * (0.35 + 0.65 * rise) * fall * bridge)
    c.height.add_(0.085 * bump(square(n.x, n.width * 0.95) + square(y, 0.19)))
    wings = square(side - n.width * (0.80 + n.flare), 0.12) + square(y - 0.055 + 0.05 * f.au9, 0.10)
    c.height.add_(0.055 * bump(wings))


def draw(c: Canvas, f: Factors, n: Nose) -> None:
    """Nostrils and the shadow under the tip."""
    shade = c.skin
    side = n.x.abs()
    y = c.y - n.tip
    under = bump(square(n.x, n.width * 1.25) + square(y - 0.135, 0.085))
    c.paint(shade * 0.70, 0.42 * under)
    tilt = y - 0.105 - 0.10 * (side - 0.5 * n.width) + 0.03 * f.au9
    hole = bump(square(side - n.width * (0.46 + 0.4 * n.flare), 0.072) + square(tilt, 0.048))
    c.paint(shade * 0.34, 0.78 * ramp(hole * 1.4))
    wing = bump(square(side - n.width * (1.14 + n.flare), 0.035) + square(y - 0.06 + 0.05 * f.au9, 0.10))
    c.paint(shade * 0.62, 0.42 * wing)
