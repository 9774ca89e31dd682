"""Hair: eight styles as one parametric shape; back part behind the head, front part over it; beard."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, ramp, square, wave
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers.head import EQUATOR, Head

# per style: bald, buzz, short, curly, bob, long, wavy, bun
_TOP = (0.0, 0.03, 0.13, 0.24, 0.15, 0.13, 0.17, 0.09)  # volume above the skull
_SIDE = (0.0, 0.012, 0.05, 0.22, 0.17, 0.14, 0.20, 0.03)  # volume beside it
_END = (-0.1, 0.0, 0.04, 0.30, 0.78, 1.75, 1.55, 0.02)  # how far down the hair reaches
_COVER = (0.0, 0.0, 0.0, 0.45, 1.0, 1.0, 1.0, 0.0)  # over the ears
_FLARE = (0.0, 0.0, 0.0, 0.0, 0.06, 0.05, 0.12, 0.0)  # widening downwards
_ROUND = (0.3, 0.3, 0.3, 0.55, 0.10, 0.12, 0.10, 0.3)  # narrowing at the end
_CURL = (0.0, 0.15, 0.25, 1.0, 0.05, 0.0, 0.55, 0.0)
_FRINGE = (0.0, 0.0, 0.7, 0.3, 1.0, 0.7, 0.4, 0.25)


def _of(style: Tensor, table: tuple[float, ...]) -> Tensor:
    return torch.tensor(table)[style.reshape(-1).to(torch.int64)].reshape(-1, 1, 1)


class Hair:
    """Shape and shading of the hair of N heads, shared by its back and its front part."""

    def __init__(self, c: Canvas, f: Factors, h: Head) -> None:
        style = f.hair_style
        self.colour = c.hair
        self.has = (style > 0.5).to(torch.float32)
        self.curl = _of(style, _CURL)
        self.cover = _of(style, _COVER)
        self.end = _of(style, _END)
        self.bun = (style > 6.5).to(torch.float32)
        grow = 1 + 0.12 * f.hair_volume
        top, beside = _of(style, _TOP) * grow, _of(style, _SIDE) * grow
        # Hair wraps the skull, halfway between what turns and what does not.
        x, y = 0.5 * (c.x + c.head_x), 0.5 * (c.y + c.head_y)
        self.x, self.y = x, y
        self.lumps = wave(3.1 * x + 0.35 * wave(2.3 * y)) * wave(3.0 * y + 0.3 * wave(2.1 * x + 0.2))
        puff = self.curl * 0.035 * self.lumps
        down = y - EQUATOR
        below = down.clamp(min=0)
        width = (
            h.width + beside + _of(style, _FLARE) * below + puff + 0.03 * (self.curl > 0.5) * wave(y * 1.6)
        )
        tail = ramp((y - self.end + 0.45) / 0.55)
        width = width * (1 - _of(style, _ROUND) * tail * tail)
        height = h.top + top + puff
        u, v = x / width, down.clamp(max=0) / height
        uu, vv = u * u, v * v
        gauge = (uu * uu + vv * vv + 1.45 * uu * vv).sqrt().sqrt()
        radius = (x * x + down.clamp(max=0) * down.clamp(max=0)).sqrt()
        cap = radius * (1 - 1 / gauge.clamp(min=1e-3))
        self.gauge = gauge
        self.shape = torch.maximum(cap, y - self.end - 0.05 * wave(x * 1.1) * self.cover)
        self.parting = 0.16 * f.parting

    def shade(self, c: Canvas, f: Factors) -> Tensor:
        """Hair colour with strands, roundness and a soft highlight, (3, N, H, W)."""
        fan = (self.x - self.parting) / (1.75 + 0.75 * self.y.clamp(max=0.1))
        fine = (c.px / 30).clamp(max=1.0)
        strands = 0.5 * wave(4.3 * fan + 0.15 * self.y) + 0.5 * fine * wave(
            11.7 * fan + 0.6 * wave(self.y * 0.7)
        )
        curls = wave(5.2 * self.x + 0.6 * wave(2.4 * self.y)) * wave(5.0 * self.y + 0.5 * wave(2.6 * self.x))
        texture = strands + (curls * (0.5 + 0.8 * fine) - strands) * (self.curl > 0.4)
        g = self.gauge.clamp(max=1.15)
        lit = 1.05 - 0.42 * g * g * g * g + 0.10 * texture
        lit = lit + 0.22 * f.light_x * self.x.clamp(-1, 1) * f.light_strength
        band = bump(square(self.gauge - 0.80, 0.16)) * ramp((-0.55 - self.y) * 4) * (1 + 0.4 * strands)
        return self.colour * lit + (0.05 + 0.13 * self.colour) * band

    def back(self, c: Canvas, f: Factors) -> None:
        """Hair behind the neck and the ears, and the bun."""
        knot = c.cover((square(self.x, 0.42) + square(self.y + 1.62, 0.30)).sqrt() * 0.33 - 0.33)
        c.paint(self.colour * (0.80 + 0.18 * wave(self.x * 2.4 + self.y * 1.5)), knot * self.bun)
        c.paint(self.colour * 0.50, c.cover(self.shape) * self.has * ramp(self.cover * 4))

    def front(self, c: Canvas, f: Factors, h: Head) -> None:
        """Hair over the forehead, temples and, in the long styles, the sides of the face."""
        receded = f.hairline * (1 - 0.6 * self.cover)
        line = -(1.00 + 0.035 * f.forehead + 0.24 * receded)
        swing = c.x - self.parting * 1.5
        fringe = f.fringe * _of(f.hair_style, _FRINGE) * (1 - receded)
        # the fringe falls from the parting, ragged at its lower edge
        line = line + fringe * (0.42 + 0.028 * wave(c.x * 5.3 + 2 * self.parting) - 0.10 * swing.abs())
        line = line - 0.10 * receded * bump(square(c.x.abs() - 0.45, 0.30)) + 0.03 * self.curl * self.lumps
        waist = h.width * (0.915 - 0.035 * self.cover) - 0.03 * self.cover * ramp((c.y + 0.2) * 1.2)
        # sideburns and the edge beside the ears run out to a point
        waist = waist + 0.16 * (1 - self.cover) * ramp((c.y + 0.25) * 3.2)
        below = c.y + 0.30
        u = c.x / waist
        v = below.clamp(max=0) / (line + 0.30)
        uu, vv = u * u, v * v
        gauge = (uu * uu + vv * vv + 1.55 * uu * vv).sqrt().sqrt()
        radius = (c.x * c.x + below.clamp(max=0) * below.clamp(max=0)).sqrt()
        opening = radius * (1 - 1 / gauge.clamp(min=1e-3))
        hair = torch.maximum(self.shape, -opening)
        shadow = torch.maximum(self.shape, -opening - 0.06)
        soft = ramp(0.5 - shadow * 9) * self.has
        c.paint(self.colour * 0.3, 0.30 * soft * c.cover(self.shape))
        thin = 1 - 0.55 * f.hairline * ramp((-0.75 - self.y) * 3) * (1 - self.cover)
        solid = colours.mix(thin, thin * 0.80, (f.hair_style < 1.5).to(torch.float32))
        c.paint(self.shade(c, f), c.cover(hair) * self.has * solid)


def beard(c: Canvas, f: Factors) -> None:
    """Stubble or beard on moustache, chin and jaw; drawn before the lips."""
    side = c.x.abs()
    colour, skin = c.hair, c.skin
    # moustache: an arc over the upper lip, down past the mouth corners
    over = c.y - 0.625 - 0.02 * f.mouth_height - 0.55 * side * side
    moustache = (
        bump(square(over, 0.115)) * 1.7 * ramp((0.50 - side) * 7) * (1 - 0.5 * bump(square(c.x, 0.05)))
    )
    chin = bump(square(c.x, 0.46) + square(c.y - 1.12, 0.36)) * 1.6
    # full: up the jaw to the ears along a curve
    edge = 0.86 - 1.5 * (side - 0.36).clamp(min=0) * (side - 0.16).clamp(min=0) / 0.5
    jaw = ramp((c.y - edge) * 4.5 + 0.4) * ramp((c.y + 0.10) * 3)
    full = torch.maximum(jaw * ramp(f.beard_shape * 5 - 1.2), chin.clamp(max=1.0))
    area = torch.maximum(moustache.clamp(max=1.0), full)
    area = area * (1 - 0.6 * bump(square(c.x, 0.14) + square(c.y - 0.95, 0.06)))
    # a shaved masculine jaw keeps a shadow
    c.paint(
        skin * colours.rgb(0.62, 0.64, 0.68),
        0.26 * ramp(2 * f.gender - 0.8) * torch.maximum(moustache, jaw).clamp(max=1.0),
    )
    density = ramp((f.facial_hair - 0.05) * 1.35) * (f.facial_hair > 0.05)
    hairs = 0.86 + 0.14 * wave(c.x * 9 + 0.7 * wave(c.y * 5)) * wave(c.y * 7 + 0.4 * wave(c.x * 4))
    c.paint(colours.mix(colour, skin * 0.35, 0.25) * hairs, area * density * 0.93)
