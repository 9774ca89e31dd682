"""The relief of the face: heights that light turns into soft shading."""

from __future__ import annotations

from idfer.synthetic.canvas import Canvas, bump, square
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers.head import EQUATOR, Head


def dome(c: Canvas, f: Factors, h: Head) -> None:
    """The roundness of the head."""
    u, v = c.x / h.width, (c.y - EQUATOR) / h.chin
    uu, vv = u * u, v * v
    c.height.copy_(-(0.42 * uu + 0.20) * uu - (0.22 * vv + 0.10) * vv)


def upper(c: Canvas, f: Factors) -> None:
    """Brow ridge, low and heavy on masculine faces, and eye sockets, which deepen with age."""
    side, y = c.x.abs(), c.y
    c.height.add_(
        (0.05 + 0.07 * f.gender + 0.02 * f.au4)
        * bump(square(side - 0.36, 0.36) + square(y + 0.36 - 0.05 * f.au4, 0.17))
    )
    c.height.sub_((0.10 + 0.05 * f.age) * bump(square(side - 0.40, 0.36) + square(y + 0.13, 0.26)))


def lower(c: Canvas, f: Factors, h: Head) -> None:
    """Cheeks, mouth and chin."""
    x, y = c.x, c.y
    side = x.abs()
    # cheeks rise in a smile, hollow and sink with age
    lift = 0.5 * f.au6 + 0.5 * f.au12
    apple = square(side - 0.52 - 0.02 * lift, 0.36) + square(y - 0.30 + 0.08 * lift - 0.08 * f.age, 0.30)
    c.height.add_((0.075 + 0.02 * f.cheekbones + 0.09 * lift) * bump(apple))
    hollow = (0.03 + 0.05 * f.age - 0.03 * f.cheek_fullness).clamp(min=0)
    c.height.sub_(hollow * bump(square(side - 0.62, 0.3) + square(y - 0.70, 0.34)))
    c.height.add_(0.06 * f.age * bump(square(side - 0.52, 0.22) + square(y - 0.92, 0.2)))
    knob = 0.07 + 0.03 * f.gender + 0.05 * f.au17
    c.height.add_(knob * bump(square(x, 0.30) + square(y - h.chin + 0.30, 0.2)))
    c.height.add_(0.07 * bump(square(x, 0.5) + square(y - 0.74, 0.34)))
