"""Skin: its complexion and how light models the relief of the face."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic.canvas import Canvas, bump, gradient, ramp, square, wave
from idfer.synthetic.factors import Factors


def light(c: Canvas, f: Factors) -> tuple[Tensor, Tensor]:
    """Diffuse light on the relief, about 1 where it faces the viewer, and the gloss of the skin, 0..1.

    Lambert plus ambient light; Blinn-Phong gloss with the half vector between light and viewer.
    """
    dx, dy = gradient(c.height, c.px)
    length = (1 + dx * dx + dy * dy).sqrt()
    lx, ly = 0.55 * f.light_x, 0.55 * f.light_y
    facing = (1 - dx * lx - dy * ly) / length
    half = (1 - 0.5 * (dx * lx + dy * ly)) / (length * (1 + 0.25 * (lx * lx + ly * ly)).sqrt())
    gloss = half.clamp(min=0)
    for _ in range(5):
        gloss = gloss * gloss
    gain = 0.25 + 0.55 * f.light_strength
    return (1 + gain * (facing - 1)).clamp(0.35, 1.3), gloss * (0.4 + 0.6 * f.light_strength)


def complexion(c: Canvas, f: Factors) -> Tensor:
    """Skin before light: cheeks and nose a little redder, freckles, blotches of age, rouge."""
    skin = c.skin
    side = c.x.abs()
    cheek = bump(square(side - 0.50, 0.44) + square(c.y - 0.34, 0.36))
    tip = bump(square(c.x, 0.2) + square(c.y - 0.36, 0.2))
    flush = (0.15 + 0.04 * f.au12) * cheek + 0.12 * tip + 0.13 * f.makeup * cheek
    spots = _blots(c.x, c.y, 3.4) * 0.07 * f.age * f.age
    freckled = f.freckles.reshape(-1).nonzero().reshape(-1)
    x, y = c.x[freckled], c.y[freckled]
    area = bump(square(x.abs() - 0.4, 0.6) + square(y - 0.25, 0.4))
    spots[freckled] += _blots(x, y, 5.3) * area * f.freckles[freckled] * 0.30
    dull = 1 - 0.05 * f.age
    red = skin[0] * (1 - 0.10 * flush - 0.7 * spots)
    green = skin[1] * (1 - 0.85 * flush - spots) * dull
    blue = skin[2] * (1 - 0.70 * flush - 1.1 * spots) * dull
    return torch.stack([red * (0.5 + 0.5 * dull), green, blue])


def _blots(x: Tensor, y: Tensor, frequency: float) -> Tensor:
    """An irregular pattern of soft spots, 0..1."""
    a = wave(frequency * x + 0.45 * wave(frequency * 0.61 * y))
    b = wave(frequency * 1.13 * y + 0.5 * wave(frequency * 0.53 * x + 0.3))
    return ramp(a * b * 1.6 - 0.4)


def warm(skin: Tensor, lit: Tensor) -> Tensor:
    """Skin colour under light `lit`; shadows turn warmer, as light scatters in skin."""
    loss = 1 - lit
    return torch.stack([skin[0] * (1 - 0.88 * loss), skin[1] * (1 - loss), skin[2] * (1 - 1.06 * loss)])
