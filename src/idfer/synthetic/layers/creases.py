"""Folds and wrinkles: what age leaves and what muscles raise, added to the canvas as ink."""

from __future__ import annotations

from torch import Tensor

from idfer.synthetic.canvas import Canvas, bump, ramp, square, wave
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers.head import EQUATOR, Head


def aged(f: Factors) -> Tensor:
    """How deep age has cut: a little faster the older."""
    return (0.40 * f.age + 0.60) * f.age


def _fine(c: Canvas) -> Tensor:
    """Lines cannot be thinner than a pixel: in small images they are paler instead."""
    return (c.px / 24).clamp(max=1.0)


def forehead(c: Canvas, f: Factors) -> None:
    """Lines across the forehead (age, AU1, AU2) and between the brows (age, AU4)."""
    x, y = c.x, c.y
    side = x.abs()
    raised = 0.55 * f.au1 + 0.45 * f.au2
    lines = (0.55 * aged(f) + 0.38 * raised * (0.4 + 0.6 * f.age)).clamp(max=0.8) * _fine(c)
    rows = wave((y + 0.62 + 0.05 * raised + 0.03 * wave(x * 0.9)) / 0.135)
    area = ramp((0.60 - side) * 4) * ramp((-0.54 - y) * 12) * ramp((y + 0.96) * 8)
    c.ink.add_(lines * area * ramp(rows * 1.3 - 0.35))
    frown = 0.75 * f.au4 + 0.38 * aged(f)
    c.ink.add_(frown * bump(square(side - 0.072 - 0.10 * (y + 0.4), 0.034) + square(y + 0.43, 0.17)))


def eyes(c: Canvas, f: Factors) -> None:
    """Crow's feet and bags (age, AU6, AU7), and the wrinkled bridge of the nose (AU9)."""
    side, y = c.x.abs(), c.y
    crow = (1.05 * aged(f) + 0.77 * f.au6 * (0.35 + 0.65 * f.age)).clamp(max=1.4) * _fine(c)
    ex, ey = side - 0.68, y + 0.10
    rays = wave((ey - 0.02) / (0.10 + 0.45 * ex.clamp(min=0)))
    c.ink.add_(crow * bump(square(ex - 0.10, 0.14) + square(ey, 0.20)) * ramp(rays * 1.4 - 0.2))
    dip = (side - 0.42) / 0.24
    ring = y - (0.10 + 0.03 * f.age - 0.04 * f.au6) + 0.075 * dip * dip
    bag = (0.02 + 0.61 * aged(f) + 0.15 * f.au6 + 0.09 * f.au7).clamp(max=0.85)
    c.ink.add_(bag * ramp((1 - dip.abs()) * 4) * bump(square(ring, 0.045)))
    rows = wave((y + 0.02) / 0.085 + 0.8 * side)
    bridge = bump(square(side - 0.06, 0.15) + square(y + 0.08, 0.16)) * ramp(rows * 1.4)
    flank = bump(square(side - 0.155 - 0.25 * y, 0.05) + square(y - 0.06, 0.18))
    c.ink.add_(f.au9 * (bridge * _fine(c) + 0.6 * flank))


def mouth(c: Canvas, f: Factors, h: Head) -> None:
    """Nasolabial folds, marionette lines and the furrow above the chin."""
    side, y = c.x.abs(), c.y
    old = aged(f)
    # from the wings of the nose past the mouth corners
    smile = f.au12 * (1 - 0.4 * f.au26)
    t = (y - 0.36) / 0.50
    tc = t.clamp(0, 1)
    path = 0.235 + tc * ((0.31 + 0.23 * smile) - (0.05 + 0.10 * smile) * tc)
    depth = 0.05 + 0.60 * old + (0.28 + 0.2 * f.age) * smile + 0.40 * f.au10 + 0.35 * f.au9
    depth = (depth + 0.15 * f.au15 + 0.15 * f.au20).clamp(max=1)
    c.ink.add_(depth * ramp(t * 6) * ramp((1.05 - t) * 3.5) * bump(square(side - path, 0.075)))
    # from the mouth corners to the jaw
    t = (y - 0.80) / 0.30
    marionette = bump(square(side - 0.44 - 0.05 * t, 0.06))
    c.ink.add_(0.6 * old * ramp(t * 5) * ramp((1 - t) * 4) * marionette)
    # the chin raiser pulls a curved furrow
    arc = y - h.chin + (0.28 - EQUATOR) + 0.35 * c.x * c.x
    c.ink.add_((0.22 + 0.5 * f.au17 + 0.1 * old) * bump(square(arc, 0.06)) * ramp((0.26 - side) * 8))
