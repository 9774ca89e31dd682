"""Eyebrows: where the brow muscles (AU1, 2, 4) and gender presentation are read first."""

from __future__ import annotations

import torch

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, fold, ramp, wave
from idfer.synthetic.factors import Factors


def draw(c: Canvas, f: Factors) -> None:
    """Draw both eyebrows on |x|: a tapered quadratic band from the inner to the outer end."""
    skin, hair = c.skin, c.hair
    right = (c.x > 0).to(torch.float32) * 2 - 1
    side = c.x.abs()
    uneven = 1 + 0.5 * f.lopsided * right
    inner = 0.185 - 0.055 * f.au4 - 0.025 * f.gender
    length = 0.52 + 0.02 * f.face_width
    t = (side - inner) / length
    tc = t.clamp(0, 1)
    # Rest: low and straight for masculine, high and arched for feminine presentation; they sink with age.
    rest = -0.43 - 0.022 * f.brow_height + 0.055 * f.gender + 0.02 * f.age
    start = rest - 0.15 * f.au1 * uneven + 0.13 * f.au4 + 0.04 * f.au9 - 0.015 * f.brow_tilt + 0.02 * f.au6
    end = rest + 0.03 + 0.025 * f.brow_tilt - 0.13 * f.au2 * uneven + 0.02 * f.au4 + 0.05 * f.age
    arch = fold(f.gender, 0.060, 0.030) + 0.014 * f.brow_arch + 0.05 * f.au2 - 0.03 * f.au4
    line = start + (end - start) * tc - 4 * arch * tc * (1 - tc) * (0.6 + 0.8 * tc)
    thick = 0.040 * (1 + 0.17 * f.brow_thickness) * fold(f.gender, 0.72, 1.50) * (1 - 0.15 * f.age)
    body = thick * (1 - 0.62 * tc * tc) * (0.72 + 0.28 * ramp(tc * 6))
    ends = torch.maximum(-t, t - 1) * length
    distance = torch.maximum((c.y - line).abs() - body, ends)
    colour = colours.mix(colours.mix(hair * 0.80, skin * 0.30, 0.25), hair, f.hair_grey * 0.8)
    texture = 0.90 + 0.10 * wave(side * 16 - c.y * 9)
    c.paint(
        colour * texture, fold(f.gender, 0.80, 0.93) * c.cover(distance - 0.006) * (0.55 + 0.45 * ramp(t * 7))
    )
