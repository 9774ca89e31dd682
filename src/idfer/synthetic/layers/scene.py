"""What is around the face: background, clothes, neck, ears, glasses, things in the way."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, fold, ramp, square, wave
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers.head import Head
from idfer.synthetic.layers.skin import warm


def background(c: Canvas, f: Factors) -> None:
    """A soft two-tone backdrop."""
    colour = colours.hsv(f.background_hue, f.background_saturation, f.background_value)
    tilt = (f.background_gradient * c.head_x + 0.6 * c.head_y) / 3.6
    glow = bump(square(c.head_x, 2.6) + square(c.head_y + 0.2, 2.6))
    c.rgb.copy_((colour * (0.88 - 0.18 * tilt + 0.16 * glow)).clamp(0, 1))


def body(c: Canvas, f: Factors, h: Head) -> None:
    """Neck and shoulders, with the shadow of the chin."""
    skin = c.skin
    x, y = c.head_x - 0.10 * c.turn_x, c.head_y
    side = x.abs()
    half = fold(f.gender, 0.50, 0.66) + 0.02 * f.face_width
    slope = 1.46 + 0.10 * f.gender
    trunk = ramp((y - 1.30) * 2.2)
    neck = c.cover(side - half - 0.28 * trunk * trunk)
    chin = h.chin - 0.15
    round_ = 0.72 + 0.28 * (1 - square(x - 0.12 * f.light_x, 0.8)).clamp(0, 1)
    lit = round_ * (0.60 + 0.36 * ramp((y - chin - 0.02 - 0.15 * side) * 3.2))
    tendons = (
        1
        - 0.16 * f.age * bump(square(side - 0.17 - 0.1 * (y - 1.3), 0.05))
        - 0.10 * f.age * ramp(wave(y * 5) * 2 - 1)
    )
    c.paint(warm(skin, lit * tendons), neck * ramp((y - 0.5) * 4))
    cloth = colours.hsv(f.clothes_hue, f.clothes_saturation, f.clothes_value)
    shoulder = y - (slope + 0.10 * side * side + 0.34 * (side - 0.8).clamp(min=0) * fold(f.gender, 1.0, 0.5))
    collar = (square(x, half + 0.16) + square(y - slope + 0.02, 0.28)).sqrt() - 1
    torso = c.cover(torch.maximum(-shoulder, -collar * 0.30))
    shade = 0.92 - 0.16 * square(x - 0.4 * f.light_x, 2.0) - 0.16 * bump(square(collar, 0.35))
    c.paint(cloth * shade, torso)


def ears(c: Canvas, f: Factors, h: Head) -> None:
    """Ears, behind the outline of the face; a turned head shows the nearer one more."""
    skin = c.skin
    side = c.head_x.abs()
    right = (c.head_x > 0).to(torch.float32) * 2 - 1
    size = 1 + 0.07 * f.ear_size + 0.10 * f.age
    ex = side - h.width - 0.035 + 0.20 * right * c.turn_x
    ey = c.head_y - 0.06 - 0.5 * c.turn_y + 0.10 * ex
    gauge = (square(ex, 0.135 * size) + square(ey, 0.27 * size)).sqrt()
    radius = (ex * ex + ey * ey).sqrt()
    distance = radius * (1 - 1 / gauge.clamp(min=1e-3))
    shade = 0.88 - 0.26 * bump(square(ex - 0.01, 0.09) + square(ey, 0.17))
    c.paint(warm(skin * colours.rgb(1.0, 0.94, 0.92), shade), c.cover(distance))


def glasses(c: Canvas, f: Factors) -> None:
    """Frames, round or square, and a trace of reflection."""
    boxy = (f.glasses > 1.5).to(torch.float32)
    x = c.x - 0.06 * c.turn_x
    side = x.abs()
    gx, gy = (side - 0.435) / 0.335, (c.y + 0.09) / (0.27 - 0.03 * boxy)
    xx, yy = gx * gx, gy * gy
    gauge = (xx * xx + yy * yy + (2 - 1.5 * boxy) * xx * yy).sqrt().sqrt()
    rim = (gauge - 1) * 0.29
    bridge = torch.maximum((c.y + 0.15 + 0.06 * (1 - square(x, 0.12))).abs() - 0.018, side - 0.13)
    temple = torch.maximum((c.y + 0.17).abs() - 0.018, 0.75 - side)
    temple = torch.maximum(temple, side - 1.0)
    frame = torch.minimum(rim.abs() - 0.022, torch.minimum(bridge, temple))
    tone = colours.mix(
        colours.rgb(0.10, 0.09, 0.10), colours.rgb(0.50, 0.34, 0.20), ramp(f.frame_tone * 3 - 1.6)
    )
    glare = bump(square(gx + gy * 0.8 + 0.7, 0.25)) * c.cover(rim)
    c.paint(colours.rgb(1.0, 1.0, 1.0), 0.10 * glare)
    c.paint(tone, 0.92 * c.cover(frame))


def occlusion(c: Canvas, f: Factors) -> None:
    """Now and then something hides a part: a mask, a hand, an object, a strand of hair."""
    skin, hair = c.skin, c.hair
    kind = f.occlusion
    x, y = c.x, c.y
    # mask: from below the eyes to the chin
    mask = torch.maximum((x.abs() - 0.80), torch.maximum(0.26 + 0.12 * x * x - y, y - 1.42))
    pleats = 0.93 + 0.05 * wave(y * 5)
    cloth = colours.mix(
        colours.rgb(0.62, 0.78, 0.86), colours.rgb(0.93, 0.93, 0.92), (f.occlusion_x > 0).float()
    )
    c.paint(cloth * pleats * (1 - 0.22 * x * x), c.cover(mask) * _is(kind, 1))
    # hand: four fingers against one cheek
    turn = (f.occlusion_x > 0).to(torch.float32) * 2 - 1
    hx, hy = x * turn - 0.62, y - 0.75 - 0.15 * f.occlusion_y
    fx = (hx + 0.35 * hy) / 0.155
    nearest = fx - (fx + 0.5).floor().clamp(-2, 1)
    finger = torch.maximum(nearest.abs() - 0.47, -(hy + 0.42 - 0.05 * (fx * fx))) * 0.155
    c.paint(warm(skin, 0.97 - 0.55 * nearest * nearest), c.cover(finger) * _is(kind, 2))
    # object: a cup or a microphone before the chin
    ox, oy = x - 0.5 * f.occlusion_x, y - 0.98 - 0.12 * f.occlusion_y
    thing = torch.maximum(ox.abs() - 0.30 + 0.05 * oy, -oy)
    paint = colours.hsv(
        f.clothes_hue + 0.4, 0.5 * f.clothes_saturation + 0.2, 0.35 + 0.5 * f.background_value
    )
    c.paint(paint * (1.0 - 1.6 * (ox - 0.08) * (ox - 0.08)), c.cover(thing) * _is(kind, 3))
    # strand of hair across one eye
    sx = x * turn - 0.36 - 0.28 * (y + 0.6) * (y + 0.2)
    strand = torch.maximum(sx.abs() - 0.10 - 0.05 * y, torch.maximum(-1.15 - y, y - 0.9))
    c.paint(hair * (0.9 + 0.15 * wave(sx * 12)), c.cover(strand) * _is(kind, 4) * (f.hair_style > 1.5))


def _is(kind: Tensor, which: int) -> Tensor:
    return ((kind - which).abs() < 0.5).to(torch.float32)
