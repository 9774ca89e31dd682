"""Drawing primitives on pixel planes.

Only additions, products, quotients, square roots, minima, maxima and comparisons touch pixels: IEEE 754 fixes
their results to the last bit, so that a face has the same pixels in any batch, chunk or number of threads.
(Vectorised exp or sin differ in the last bit between the body and the tail of an array.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Canvas:
    """N images in the making.

    Attributes:
        rgb: (3, N, H, W) colour, 0..1, changed in place.
        x: (N, H, W) canonical face coordinate, unit = half the width of an average face, 0 = mid-line,
            > 0 to image right. Canonical means that pose and framing are undone.
        y: (N, H, W) the same downwards; 0 lies between the eyes and the nose tip, the chin near 1.28.
        head_x: (N, H, W) as `x` without undoing yaw and pitch: for what does not turn, or lies behind.
        head_y: (N, H, W) as `y`, likewise.
        px: (N, 1, 1) pixels per unit.
        turn_x: (N, 1, 1) sine of the yaw; `turn_y` that of the pitch.
    """

    rgb: Tensor
    x: Tensor
    y: Tensor
    head_x: Tensor
    head_y: Tensor
    px: Tensor
    turn_x: Tensor
    turn_y: Tensor

    def cover(self, distance: Tensor) -> Tensor:
        """Anti-aliased coverage (0..1) of a shape from its signed distance in units, negative inside."""
        return ramp(0.5 - distance * (self.px / 1.5))

    def stroke(self, distance: Tensor, half_width: Tensor | float) -> Tensor:
        """Coverage of a line, from the distance to its middle; thinner than a pixel it fades instead."""
        return self.cover(distance.abs() - half_width)

    def paint(self, colour: Tensor, alpha: Tensor) -> None:
        """Lay `colour` (3, N, 1, 1) or (3, N, H, W) over the image with opacity `alpha` (N, H, W)."""
        for channel, value in zip(self.rgb, colour, strict=True):
            channel += (value - channel) * alpha

    def multiply(self, factor: Tensor) -> None:
        """Multiply the image by `factor` (3, N, 1, 1) or (N, H, W)."""
        self.rgb.mul_(factor)


def ramp(t: Tensor) -> Tensor:
    """Smoothstep: 0 below 0, 1 above 1, 3t^2 - 2t^3 between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(q: Tensor) -> Tensor:
    """Smooth compact bump (1 - q)^2 for a squared normalised distance q < 1, else 0."""
    t = (1 - q).clamp(min=0)
    return t * t


def wave(t: Tensor) -> Tensor:
    """A smooth wave of period 1 in -1..1, 1 at integers (a cosine without transcendental functions)."""
    s = (2 * (t - t.floor()) - 1).abs()
    return 2 * s * s * (3 - 2 * s) - 1


def fold(c: Tensor, low: float, high: float) -> Tensor:
    """Linear map of a factor 0..1 to low..high."""
    return low + (high - low) * c


def gradient(plane: Tensor, px: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of a plane (N, H, W) along x and y per unit, by central differences."""
    dx = torch.zeros_like(plane)
    dy = torch.zeros_like(plane)
    dx[:, :, 1:-1] = plane[:, :, 2:] - plane[:, :, :-2]
    dy[:, 1:-1] = plane[:, 2:] - plane[:, :-2]
    half = px / 2
    return dx * half, dy * half


def grain(seed: Tensor, height: int, width: int, stream: int) -> Tensor:
    """White noise that only depends on a seed and the pixel: (N, H, W), mean 0, deviation 1.

    An integer hash (xor, shift, multiply: exact) gives four bytes per pixel; their centred sum is close to a
    normal draw.
    """
    index = torch.arange(height * width, dtype=torch.int64).reshape(1, height, width)
    h = (
        index * 0x9E3779B1 + (seed.to(torch.int64) + stream * 0x1000003).reshape(-1, 1, 1) * 0x85EBCA6B
    ) & _MASK
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & _MASK
    h = ((h ^ (h >> 15)) * 0x846CA68B) & _MASK
    h = h ^ (h >> 16)
    total = (h & 255) + ((h >> 8) & 255) + ((h >> 16) & 255) + (h >> 24)
    return (total.to(torch.float32) - 510.0) / 147.8


_MASK = 0xFFFFFFFF
