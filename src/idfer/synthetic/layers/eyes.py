"""Eyes: aperture, sclera, iris, lids, lashes, eye shadow. Both eyes are drawn at once on |x|."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, ramp, square
from idfer.synthetic.factors import Factors

HEIGHT = -0.135  # canonical y of the middle of an eye


def centre(f: Factors) -> Tensor:
    """Canonical |x| of the middle of an eye."""
    return 0.425 + 0.018 * f.eye_spacing + 0.012 * f.face_width


def draw(c: Canvas, f: Factors) -> None:
    """Draw both eyes, with `f` as (N, 1, 1) tensors."""
    skin = c.skin
    right = (c.x > 0).to(torch.float32) * 2 - 1  # +1 on the image-right eye
    side = c.x.abs()
    half = 0.238 * (1 + 0.06 * f.eye_size) * (1.04 - 0.08 * f.gender)
    ex = side - centre(f)
    ey = c.y - HEIGHT + (0.035 + 0.045 * f.eye_tilt - 0.05 * f.age) * ex
    u = ex / half
    q = 1 - u * u

    # Lids droop with age, first at the outer corner.
    uneven = 1 - 0.25 * f.lopsided * right * (f.au6 + f.au7 + f.au43)
    closing = (0.40 * f.au7 + 0.26 * f.au6 + 0.10 * f.au4 + 0.20 * f.au9) * uneven
    open_up = (1.0 + 0.10 * f.eye_openness + 0.42 * f.au5 - closing - 0.24 * f.age) * (
        1 - 0.97 * f.au43 * uneven
    )
    open_up = open_up.clamp(min=0.02)
    open_low = (
        1.0 + 0.05 * f.eye_openness + 0.15 * f.au5 - 0.55 * f.au6 - 0.50 * f.au7 - 0.2 * f.au9 - 0.12 * f.au43
    )
    height = (0.136 - 0.024 * f.gender) * (1 + 0.05 * f.eye_size)
    hood = 1 - (0.12 + 0.38 * f.age) * ramp(u * 0.8 + 0.2)
    arch = q * (1 - 0.12 * u)
    upper = -height * open_up * arch * hood + 0.05 * f.au43 * q
    lower = 0.072 * open_low.clamp(min=0.05) * q * (1 + 0.15 * u)

    # soft lid above, eye shadow of the make-up
    lid = bump(u * u * 0.55 + square(ey - upper + 0.055, 0.10))
    c.paint(skin * 0.62, (0.22 + 0.10 * f.age) * lid)
    tint = colours.mix(colours.rgb(0.45, 0.25, 0.35), colours.rgb(0.35, 0.25, 0.20), f.lipstick)
    c.paint(tint * (0.35 + 0.65 * skin), 0.70 * f.makeup * lid)
    fold_line = ey - (upper - 0.062 - 0.02 * f.au5 + 0.03 * f.age)
    c.paint(skin * 0.42, 0.55 * c.stroke(fold_line, 0.012) * ramp(1.35 * q + 0.2))

    inside = c.cover(torch.maximum(upper - ey, ey - lower) * 0.92) * ramp(q * 6)
    # sclera, in the shadow of the lid
    under = ramp((ey - upper) / 0.07)
    white = colours.rgb(0.96, 0.95, 0.94) * (0.80 + 0.20 * under) * (0.72 + 0.28 * c.light)
    # iris and pupil look along the gaze
    gx = c.x - (side - ex) * right - 0.055 * f.gaze_x - 0.05 * c.turn_x
    gy = ey + 0.015 - 0.025 * f.gaze_y
    radius = (gx * gx + gy * gy).sqrt()
    iris_size = 0.118
    iris = c.cover(radius - iris_size)
    colour = colours.blend(colours.IRIS, f.iris)
    glow = 0.75 + 0.55 * ramp((gy + 0.02) / 0.12)
    ball = white + (colour * glow - white) * iris
    ball = ball * (1 - 0.55 * c.stroke(radius - iris_size + 0.012, 0.012))
    ball = ball * (1 - 0.95 * c.cover(radius - 0.048))
    spark = c.cover((square(gx + 0.038, 1.0) + square(gy + 0.045, 1.0)).sqrt() - 0.026)
    ball = ball + (1 - ball) * 0.9 * spark
    ball = ball * (0.62 + 0.38 * under)
    c.paint(ball, inside)

    # lash lines
    dark = colours.mix(skin * 0.16, colours.rgb(0.05, 0.04, 0.04), 0.7)
    ends = ramp((1.10 - u.abs()) * 8)
    thick = 0.016 + 0.012 * (1 - f.gender) + 0.016 * f.makeup
    wing = 0.06 * (f.makeup + 0.4 * (1 - f.gender)) * ramp((u - 0.75) * 3)
    c.paint(dark, (0.72 + 0.25 * (1 - f.gender)) * c.stroke(ey - upper + thick * 0.6 + wing, thick) * ends)
    c.paint(skin * 0.40, (0.45 + 0.3 * f.makeup) * c.stroke(ey - lower - 0.008, 0.008) * ramp(q * 3))
