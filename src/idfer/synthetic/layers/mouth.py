"""The mouth: lips, the line or opening between them, teeth and tongue."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, fold, ramp, square, wave
from idfer.synthetic.factors import Factors


def draw(c: Canvas, f: Factors) -> None:
    """Draw the mouth, with `f` as (N, 1, 1) tensors.

    The corners lift with AU12 and fall with AU15, but also by the person's own resting curve and with age:
    a resting old mouth looks like a faint AU15, as on real faces.
    """
    skin = c.skin
    half = half_width(f)
    u = (c.x - middle_x(f) - 0.05 * c.turn_x) / half
    uu = (u * u).clamp(max=1.6)
    uneven = 1 + 0.9 * f.lopsided * u.clamp(-1, 1)
    q = (1 - uu).clamp(min=0)
    round_ = q.sqrt()

    lift, middle = corner_lift(f, uneven), middle_y(f)
    base = middle - lift * (uu - 0.30)
    parted = 0.075 * f.au25 * (1 - 0.7 * f.au24) + 0.085 * f.au12 * f.au25
    opening = (
        parted + 0.43 * f.au26 * (0.25 + 0.75 * f.au25) + 0.05 * f.au16 * f.au25 + 0.05 * f.au10 * f.au25
    )
    shape = q + (round_ - q) * (0.25 + 0.55 * f.au26)
    top = base - ((0.24 + 0.14 * f.au26) * opening + 0.045 * f.au10 + 0.02 * f.au9) * shape
    below = (0.76 - 0.14 * f.au26) * opening + 0.035 * f.au16 * f.au25 - 0.045 * f.au10 * (1 - f.au25)
    bottom = base + below * shape

    pressed = (1 - 0.60 * f.au24) * (1 - 0.35 * f.au23) * (1 - 0.38 * f.age) * (1 + 0.17 * f.lip_fullness)
    full = pressed * fold(f.gender, 1.18, 0.86)
    bow = 1 - 0.28 * bump(uu / 0.06) + 0.06 * bump((u.abs() - 0.3) * (u.abs() - 0.3) / 0.06)
    body = 0.5 * q + 0.5 * round_
    outer_top = top - 0.078 * full * (1 - 0.25 * f.au12) * body * bow
    outer_bottom = bottom + 0.105 * full * (1 - 0.22 * f.au12) * (1 + 0.15 * f.au17) * body

    # colour: a rosier, darker skin; lipstick on top
    natural = colours.mix(skin * 0.80, colours.rgb(0.66, 0.27, 0.28), 0.40) * (0.92 + 0.08 * skin)
    stick = colours.mix(colours.rgb(0.80, 0.28, 0.36), colours.rgb(0.62, 0.06, 0.12), f.lipstick)
    stick = stick * (0.55 + 0.45 * skin)
    lips = colours.mix(natural, stick, 0.85 * f.makeup)
    lips = colours.mix(lips, skin * 0.85, 0.30 * f.age * (1 - f.makeup))
    within = ramp((1.02 - u.abs()) * 12)
    above = ramp((base - c.y) / 0.05 + 0.5)
    glint = bump(square(u, 0.55) + square(c.y - bottom - 0.05 * full, 0.035 * full + 0.01))
    glow = (1.06 - 0.24 * above) * (0.55 + 0.45 * c.light)
    lit = lips * glow + (0.16 + 0.10 * f.makeup) * glint
    c.paint(lit, c.cover(torch.maximum(outer_top - c.y, c.y - outer_bottom) * 0.95) * within)
    # shadow under the lower lip
    c.paint(skin * 0.55, 0.38 * bump(square(u, 0.75) + square(c.y - outer_bottom - 0.05, 0.055)))

    # the opening: cavity, tongue, teeth
    gap = bottom - top
    inside = c.cover(torch.maximum(top - c.y, c.y - bottom)) * within * ramp(opening * 40)
    cavity = colours.rgb(0.26, 0.07, 0.08).expand(3, *c.x.shape).clone()
    tongue = bump(square(u, 0.62) + square(c.y - bottom + 0.02, 0.12)) * ramp(gap * 6 - 0.7)
    cavity += (colours.rgb(0.72, 0.32, 0.34) - cavity) * (0.85 * tongue)
    enamel = colours.rgb(0.97, 0.95, 0.91) - 0.10 * f.age * colours.rgb(0.3, 0.6, 1.5)
    bared = 0.095 * (0.45 + 0.55 * (f.au12 + f.au10 + 0.7 * f.au20).clamp(max=1)) * (0.35 + 0.65 * shape)
    upper_teeth = c.cover(c.y - top - bared)
    gaps = 1 - 0.10 * (c.px / 40).clamp(max=1) * ramp(wave(u * 3.5 + 0.5) * 4 - 3)
    cavity += (enamel * gaps * (0.87 - 0.25 * uu) - cavity) * upper_teeth
    low = 0.06 * (f.au16 + 0.5 * f.au20).clamp(max=1)
    lower_teeth = c.cover(bottom - low - c.y) * ramp(low * 50)
    cavity += (enamel * 0.82 * gaps - cavity) * lower_teeth
    c.paint(cavity * (0.7 + 0.3 * c.light), inside)

    # the line between closed lips, and the corners
    line = c.stroke(c.y - base, 0.014) * ramp((1.06 - u.abs()) * 10)
    c.paint(skin * 0.22, 0.85 * line * (1 - ramp(opening * 30)))
    corner = bump(square(u.abs() - 1.0, 0.13) + square(c.y - middle + lift * 0.70, 0.045))
    c.paint(skin * 0.30, 0.75 * corner)


def half_width(f: Factors) -> Tensor:
    """From the middle of the mouth to a corner, in units."""
    half = 0.345 * (1 + 0.055 * f.mouth_width) * fold(f.gender, 0.98, 1.05)
    return half * (
        1
        + 0.30 * f.au12
        + 0.26 * f.au20
        + 0.08 * f.au10
        - 0.16 * f.au23
        - 0.05 * f.au24
        - 0.42 * f.au26 * (1 - f.au12)
    )


def middle_x(f: Factors) -> Tensor:
    """Where the middle of a frontal mouth lies: a lopsided smile draws it aside."""
    return 0.03 * f.lopsided * (f.au12 - f.au15)


def middle_y(f: Factors) -> Tensor:
    """Height of the line between the lips, without the lift of its corners."""
    return (
        0.735 + 0.02 * f.mouth_height + 0.012 * f.face_length - 0.03 * f.au17 - 0.02 * f.au10 + 0.02 * f.au12
    )


def corner_lift(f: Factors, uneven: Tensor | float = 1.0) -> Tensor:
    """How far the corners are lifted; the line is a parabola, which leaves the middle to 0.3 of it."""
    rest = 0.028 * f.mouth_curve - 0.045 * f.age + 0.012 * (1 - f.gender)
    return rest + (0.185 * f.au12 - 0.135 * f.au15 - 0.03 * f.au17) * uneven - 0.03 * f.au20
