"""Palettes, interpolated along continuous factors; all sRGB in 0..1, as (3, N, 1, 1) tensors."""

from __future__ import annotations

import torch
from torch import Tensor

MONK = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
"""Monk Skin Tone scale 1..10 (Ellis Monk, 2019, via Google's open release)."""
HAIR = ("1d1817", "3a2a21", "6b4a30", "8f4a27", "c9a468")
IRIS = ("2f1d12", "5a371d", "7a6032", "56704a", "5c86ad")


def _table(hexes: tuple[str, ...]) -> Tensor:
    return torch.tensor([[int(h[k : k + 2], 16) / 255 for k in (0, 2, 4)] for h in hexes])


def blend(hexes: tuple[str, ...], position: Tensor) -> Tensor:
    """Colour at a continuous position (N, 1, 1) of a palette, 0 = its first entry."""
    table = _table(hexes)
    where = position.reshape(-1).clamp(0, len(hexes) - 1)
    low = where.floor().clamp(max=len(hexes) - 2)
    part = (where - low)[:, None]
    index = low.to(torch.int64)
    return mix(table[index], table[index + 1], part).T[:, :, None, None].contiguous()


def mix(a: Tensor, b: Tensor | float, t: Tensor | float) -> Tensor:
    """a + (b - a) t."""
    return a + (b - a) * t


def rgb(red: float, green: float, blue: float) -> Tensor:
    """One colour for all faces, (3, 1, 1, 1)."""
    return torch.tensor([red, green, blue]).reshape(3, 1, 1, 1)


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Colour (3, N, 1, 1) from hue, saturation and value in 0..1, each (N, 1, 1)."""
    shifts = torch.tensor([0.0, 2 / 3, 1 / 3]).reshape(3, 1, 1, 1)
    turned = hue + shifts
    corner = ((turned - turned.floor()) * 6 - 3).abs() - 1
    return value * (1 + saturation * (corner.clamp(0, 1) - 1))


def skin(tone: Tensor) -> Tensor:
    """Skin colour of a Monk tone (N, 1, 1) in 1..10 in slightly warm light; dark skin is exposed for."""
    gain = 1 + 0.22 * ((tone - 6) / 4).clamp(0, 1)
    return blend(MONK, tone - 1) * rgb(0.985, 0.945, 0.915) * gain


def hair(colour: Tensor, grey: Tensor) -> Tensor:
    """Hair colour of a palette position and a share of grey, (N, 1, 1) each."""
    return mix(blend(HAIR, colour), rgb(0.78, 0.77, 0.76), grey * 0.92)
