"""Drawing primitives on pixel planes.

Only additions, products, quotients, square roots, minima, maxima and comparisons touch pixels: IEEE 754 fixes
their results to the last bit, so that a face has the same pixels in any batch, chunk or number of threads.
(Vectorised exp or sin differ in the last bit between the body and the tail of an array.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

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
        height: (N, H, W) relief of the face above a flat plane, in units; light models it.
        ink: (N, H, W) darkness of folds and wrinkles, 0..1.
        light: (N, H, W) diffuse light on the face, 0..1.
        px: (N, 1, 1) pixels per unit.
        turn_x: (N, 1, 1) sine of the yaw; `turn_y` that of the pitch.
        skin: (3, N, 1, 1) colour of the skin in even light.
        hair: (3, N, 1, 1) colour of the hair.
    """

    rgb: Tensor
    x: Tensor
    y: Tensor
    head_x: Tensor
    head_y: Tensor
    height: Tensor
    ink: Tensor
    light: Tensor
    px: Tensor
    turn_x: Tensor
    turn_y: Tensor
    skin: Tensor
    hair: Tensor

    def cover(self, distance: Tensor) -> Tensor:
        """Anti-aliased coverage (0..1) of a shape from its signed distance in units, negative inside."""
        return ramp(0.5 - distance * (self.px / 1.5))

    def stroke(self, distance: Tensor, half_width: Tensor | float) -> Tensor:
        """Coverage of a line, from the distance to its middle; thinner than a pixel it fades instead."""
        return self.cover(distance.abs() - half_width)

    def paint(self, colour: Tensor, alpha: Tensor) -> None:
        """Lay `colour` (3, N, 1, 1) or (3, N, H, W) over the image with opacity `alpha` (N, H, W)."""
        for channel, value in zip(self.rgb, colour, strict=True):
            channel += (value - channel).mul_(alpha)

    def band(self, top: float, bottom: float) -> Canvas:
        """The pixel rows in which any face reaches the canonical heights `top` to `bottom`, as a view.

        A layer that paints nothing elsewhere gives the same image on its band, for less work.
        """
        highest, lowest = self._reach
        rows = [
            k
            for k, (low, high) in enumerate(zip(highest, lowest, strict=True))
            if high >= top and low <= bottom
        ]
        chosen = slice(rows[0], rows[-1] + 1) if rows else slice(0, 0)
        return self._map(lambda plane: plane[..., chosen, :] if plane.shape[-1] > 1 else plane)

    @cached_property
    def _reach(self) -> tuple[list[float], list[float]]:
        """Smallest and largest canonical y in each pixel row."""
        return self.y.amin((0, 2)).tolist(), self.y.amax((0, 2)).tolist()

    def only(self, images: Tensor) -> Canvas:
        """A copy of some images, by their indices; `put` brings it back."""
        return self._map(lambda plane: plane[..., images, :, :])

    def put(self, images: Tensor, part: Canvas) -> None:
        """Take the colours of `only(images)` back."""
        self.rgb[:, images] = part.rgb

    def _map(self, function: Callable[[Tensor], Tensor]) -> Canvas:
        return Canvas(*(function(getattr(self, field.name)) for field in fields(self)))

    def multiply(self, factor: Tensor) -> None:
        """Multiply the image by `factor` (3, N, 1, 1) or (N, H, W)."""
        self.rgb.mul_(factor)


def ramp(t: Tensor) -> Tensor:
    """Smoothstep: 0 below 0, 1 above 1, 3t^2 - 2t^3 between."""
    t = t.clamp(0, 1)
    return (t * -2).add_(3).mul_(t).mul_(t)


def bump(q: Tensor) -> Tensor:
    """Smooth compact bump (1 - q)^2 for a squared normalised distance q < 1, else 0."""
    t = (1 - q).clamp_(min=0)
    return t.mul_(t)


def wave(t: Tensor) -> Tensor:
    """A smooth wave of period 1 in -1..1, 1 at integers (a cosine without transcendental functions)."""
    s = (t - t.floor()).mul_(2).sub_(1).abs_()
    return (s * -2).add_(3).mul_(s).mul_(s).mul_(2).sub_(1)


def square(distance: Tensor, width: Tensor | float) -> Tensor:
    """Squared distance, in units of a width."""
    scaled = distance / width
    return scaled * scaled


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


def grain(seed: Tensor, height: int, width: int, stream: int) -> tuple[Tensor, Tensor]:
    """Two planes (N, H, W) of white noise that only depend on a seed and the pixel; mean 0, deviation 1.

    An integer hash (xor, shift, multiply: exact) gives four bytes per pixel; the centred sum of two is close
    enough to a normal draw for camera noise.
    """
    index = torch.arange(height * width, dtype=torch.int64).reshape(1, height, width) * 0x9E3779B1
    h = index + ((seed.to(torch.int64) + stream * 0x1000003) * 0x85EBCA6B).reshape(-1, 1, 1)
    h &= _MASK
    h = (h ^ (h >> 16)).mul_(0x7FEB352D).bitwise_and_(_MASK)
    h = (h ^ (h >> 15)).mul_(0x846CA68B).bitwise_and_(_MASK)
    h ^= h >> 16
    first = (h & 255).add_((h >> 8).bitwise_and_(255))
    second = ((h >> 16).bitwise_and_(255)).add_(h >> 24)
    return _unit(first), _unit(second)


def _unit(total: Tensor) -> Tensor:
    """Sums of two bytes, mean 255 and deviation 104.5, as standard noise."""
    return total.to(torch.float32).sub_(255.0).mul_(1 / 104.5)


_MASK = 0xFFFFFFFF
