"""The skin as pictures in the canonical plane: its colour and its fine relief.

The layers of the drawn engine (complexion, creases, brows, stubble) are painted on a canvas whose pixels are
texels; the mesh carries them where the face moves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, grain, ramp, square, wave
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers import brows, camera, creases, hair, head, skin
from idfer.synthetic.mesh.person import stream

REACH = (1.55, 1.75)  # |x| at the sides of a texture, |y| at its top and bottom
_CENTRE = 0.12  # y of its middle
_LEVEL = -1.5  # of brow_tilt: on a head in the round the drawn brows slope outwards, which looks worried


def coordinates(canonical: np.ndarray) -> np.ndarray:
    """Texture coordinates (V, 2) in 0..1 of canonical points (V, 2)."""
    u = 0.5 + 0.5 * canonical[:, 0] / REACH[0]
    v = 0.5 + 0.5 * (canonical[:, 1] - _CENTRE) / REACH[1]
    placed: np.ndarray = np.stack([u, v], -1).astype(np.float32)
    return placed


def canvas(f: Factors, side: int) -> Canvas:
    """A canvas of texels for one face, N = 1."""
    axis = (torch.arange(side, dtype=torch.float32) + 0.5) / side * 2 - 1
    x = (axis * REACH[0]).reshape(1, 1, -1).expand(1, side, side).contiguous()
    y = (axis * REACH[1] + _CENTRE).reshape(1, -1, 1).expand(1, side, side).contiguous()
    zero, one = torch.zeros(1, side, side), torch.ones(1, side, side)
    still = torch.zeros(1, 1, 1)
    return Canvas(
        rgb=torch.zeros(3, 1, side, side), x=x, y=y, head_x=x, head_y=y, height=zero.clone(),
        ink=zero.clone(), light=one, px=torch.full((1, 1, 1), side / (2 * REACH[0])), turn_x=still,
        turn_y=still, skin=complexion(f), hair=colours.hair(f.hair_colour, f.hair_grey),
    )  # fmt: skip


def complexion(f: Factors) -> Tensor:
    """Colour of the skin (3, N, 1, 1), sRGB: the Monk tone, less chalky where it is light."""
    tone = colours.blend(colours.MONK, f.skin - 1)
    fair = (1 - (f.skin - 1) / 5).clamp(0, 1)
    deep = ((f.skin - 7) / 3).clamp(0, 1)
    rosy, umber = colours.rgb(0.905, 0.73, 0.64), colours.rgb(0.29, 0.175, 0.125)
    tone = colours.mix(colours.mix(tone, rosy, 0.62 * fair), umber, 0.8 * deep)
    return tone * colours.rgb(1.0, 0.955, 0.91)


def paint(f: Factors, side: int, mouth_half: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour (side, side, 3), linear, and height (side, side) in canonical units, of one face's skin.

    Args:
        f: one face.
        side: texels a side.
        mouth_half: half the width of the mouth at rest, in canonical units.
    """
    f = f.map(lambda stacked: stacked.reshape(len(stacked), -1, 1, 1))
    still = _still(f)
    c = canvas(f, side)
    with torch.inference_mode():
        h = head.proportions(still)
        lined = _lined(f)
        creases.forehead(c, lined)
        creases.eyes(c, lined)
        creases.mouth(c, lined, h)
        ink = _blurred(c.ink.clamp(0, 1), side, 0.018)
        rough, pores = _unevenness(c, f)
        even = c.skin.expand_as(c.rgb)
        c.rgb.copy_(colours.mix(even, skin.complexion(c, f), 0.42) * (1 + 0.035 * rough - 0.012 * pores))
        _sockets(c, f)
        _beard(c, f)
        mouth = _lips(c, f, mouth_half)
        _brows(c, replace(still, brow_tilt=still.brow_tilt + _LEVEL))
        depth = _folds(f) + 0.14 * f.age + 0.10 * ramp((f.skin - 5) / 4)
        c.rgb.mul_(1 - depth * ink)
        cloth = _mask(c, f)
        height = -0.045 * ink * (1 - cloth) + 0.0005 * pores * (1 - mouth) - 0.003 * mouth * wave(c.x * 13)
        linear = _linear(c.rgb.clamp(0, 1))
    return linear[:, 0].permute(1, 2, 0).numpy(), height[0].numpy()


def _lined(f: Factors) -> Factors:
    """The face as old as its lines: some are lined early and others late."""
    earlier = -0.25 + 0.70 * float(stream(float(f.cohort), float(f.identity), 10).random())
    return replace(f, age=(f.age + earlier).clamp(0, 1))


def _folds(f: Factors) -> float:
    """How dark the person's folds are: some show every movement at once, others hardly any."""
    return 0.10 + 0.42 * float(stream(float(f.cohort), float(f.identity), 9).random())


_MOVING = tuple(name for name in Factors.names() if name.startswith("au"))


def _still(f: Factors) -> Factors:
    """The same face at rest: what the mesh moves is painted where it rests."""
    zero = torch.zeros_like(f.age)
    return replace(f, **{name: zero for name in (*_MOVING, "lopsided")})


def _blurred(planes: Tensor, side: int, by: float = 0.022) -> Tensor:
    """Planes (K, H, W) blurred by so much of a face's half-width."""
    deviation = torch.full((1, 1, 1), by * side / (2 * REACH[0]))
    return camera.blur(planes[:, None], deviation)[:, 0]


def _unevenness(c: Canvas, f: Factors) -> tuple[Tensor, Tensor]:
    """Soft blotches and fine pores, about -1..1 each, the person's own."""
    seed = f.cohort * 7919 + f.identity * 31 + 5
    side = c.x.shape[-1]
    coarse, fine = max(8, side // 20), max(16, side // 3)

    def field(cells: int, stream: int) -> Tensor:
        plane, _ = grain(seed.reshape(-1), cells, cells, stream)
        return torch.nn.functional.interpolate(
            plane[:, None], size=(side, side), mode="bicubic", align_corners=False
        )[:, 0]

    return field(coarse, 3) * 0.8 + field(coarse * 2, 4) * 0.4, field(fine, 5) * 0.7


def _sockets(c: Canvas, f: Factors) -> None:
    """Darker, redder skin round the eyes, the line of the lashes, and make-up."""
    side = c.x.abs()
    around = bump(square(side - 0.41, 0.34) + square(c.y + 0.10, 0.20))
    shade = c.skin * colours.rgb(0.80, 0.70, 0.70)
    c.paint(shade, (0.22 + 0.22 * f.age) * around)
    below = bump(square(side - 0.40, 0.25) + square(c.y - 0.03, 0.09))
    c.paint(c.skin * colours.rgb(0.74, 0.66, 0.70), (0.12 + 0.22 * f.age) * below)
    tint = colours.mix(colours.rgb(0.40, 0.25, 0.30), colours.rgb(0.30, 0.22, 0.18), f.lipstick)
    lid = bump(square(side - 0.42, 0.28) + square(c.y + 0.20, 0.10))
    c.paint(tint * (0.35 + 0.65 * c.skin), 0.65 * f.makeup * lid)
    nostril = bump(square(side - 0.10, 0.055) + square(c.y - 0.46, 0.035))
    c.paint(c.skin * 0.25, 0.5 * nostril)


def _brows(c: Canvas, f: Factors) -> None:
    """The drawn engine's eyebrows, with gaps between hairs and soft edges."""
    bare = c.rgb.clone()
    brows.draw(c, f)
    soft, gaps = _hairs(c, bare, f.cohort * 13 + f.identity + 3, 7, 0.016)
    c.rgb.copy_((bare + soft * (1.25 + 0.25 * gaps).clamp(0.4, 1.5)).clamp(0, 1))


def _beard(c: Canvas, f: Factors) -> None:
    """The skin under a beard and its stubble; longer hairs are strands."""
    bare = c.rgb.clone()
    hair.beard(c, f)
    soft, gaps = _hairs(c, bare, f.cohort * 17 + f.identity + 9, 8, 0.05)
    fade = ramp((1.0 - c.x.abs()) * 2.5)  # towards the ears
    c.rgb.copy_((bare + fade * soft * (0.80 + 0.25 * gaps).clamp(0.2, 1.1)).clamp(0, 1))


def _hairs(c: Canvas, bare: Tensor, seed: Tensor, use: int, blur: float) -> tuple[Tensor, Tensor]:
    """What was drawn over bare skin with soft edges, (3, 1, S, S), and a person's gaps, (1, S, S)."""
    side = c.x.shape[-1]
    plane, _ = grain(seed.reshape(-1), side // 2, side // 2, use)
    gaps = torch.nn.functional.interpolate(plane[:, None], size=(side, side), mode="bilinear")[:, 0]
    return _blurred((c.rgb - bare).reshape(3, side, side), side, blur).reshape(c.rgb.shape), gaps


def _mask(c: Canvas, f: Factors) -> Tensor:
    """A mask of cloth from below the eyes to the chin, where the factors ask for one; its coverage."""
    cloth = colours.mix(
        colours.rgb(0.62, 0.78, 0.86), colours.rgb(0.93, 0.93, 0.92), (f.occlusion_x > 0).float()
    )
    cover = masked(c.x, c.y) * ((f.occlusion - 1).abs() < 0.5)
    c.paint(cloth * (0.93 + 0.07 * wave(c.y * 5)), cover)
    return cover


def masked(x: Tensor, y: Tensor) -> Tensor:
    """Coverage of a mask in the canonical plane, 0..1."""
    outside = torch.maximum(x.abs() - 1.1, torch.maximum(0.20 + 0.10 * x * x - y, y - 1.55))
    return ramp(0.5 - outside * 12)


def _lips(c: Canvas, f: Factors, half: float) -> Tensor:
    """Lips, natural or painted; returns their coverage."""
    u = c.x / (half * 1.02)
    uu = (u * u).clamp(max=1.5)
    q = (1 - uu).clamp(min=0)
    round_ = q.sqrt()
    body = 0.5 * q + 0.5 * round_
    bow = 1 - 0.20 * bump(uu / 0.06) + 0.05 * bump((u.abs() - 0.3) * (u.abs() - 0.3) / 0.06)
    top = 0.735 - 0.090 * body * bow
    bottom = 0.735 + 0.098 * (0.35 * q + 0.65 * round_)
    inside = torch.maximum(top - c.y, c.y - bottom)
    soft = ramp(0.5 - inside * 22) * ramp((1.05 - u.abs()) * 12)
    light = (1 - (f.skin - 1) / 6).clamp(0, 1)
    natural = c.skin * colours.mix(colours.rgb(0.86, 0.66, 0.68), colours.rgb(0.86, 0.60, 0.60), light)
    rose, red = colours.rgb(0.72, 0.34, 0.40), colours.rgb(0.52, 0.08, 0.13)
    # the same lipstick is deeper on deeper skin
    painted = colours.mix(rose, red, f.lipstick) * (0.42 + 0.75 * c.skin.mean(0, keepdim=True)).clamp(max=1)
    strength = (0.62 - 0.12 * f.gender - 0.15 * f.age).clamp(0.2, 1)
    c.paint(natural, strength * soft)
    c.paint(painted, 0.55 * f.makeup * soft)
    return soft


def _linear(srgb: Tensor) -> Tensor:
    """Linear light of sRGB values."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
