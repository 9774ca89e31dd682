"""Framing and head pose: from pixels to canonical face coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas
from idfer.synthetic.factors import Factors

VIEW = 1.42  # half the image side in face half-widths, at scale 1: a tight crop, as a face detector gives
CENTRE = 0.05  # canonical y of the image centre: leaves room for a dropped jaw
DOME = 0.85  # depth of the face, in half-widths


def place(f: Factors, size: int) -> Canvas:
    """An empty canvas with the coordinates of every pixel.

    The head is a paraboloid dome z(x, y); a turn by yaw and pitch moves the point seen at (x, y) by
    z sin(angle), which shows one side of the face more and lets the features slide as on a real head.

    Args:
        f: factors as (N, 1, 1) tensors.
        size: image side in pixels.
    """
    axis = ((torch.arange(size, dtype=torch.float32) + 0.5) / size * 2 - 1) * VIEW
    column, row = axis.reshape(1, 1, -1), axis.reshape(1, -1, 1)
    cosine, sine = _turn(f.roll)
    left, down = column - f.shift_x, row - f.shift_y
    x = (left * cosine + down * sine) / f.scale
    y = (down * cosine - left * sine) / f.scale + CENTRE
    depth = dome(x, y)
    turn_x, turn_y = _turn(f.yaw)[1], _turn(f.pitch)[1]
    n = f.yaw.shape[0]
    return Canvas(
        rgb=torch.zeros(3, n, size, size),
        x=x - depth * turn_x,
        y=y - depth * turn_y,
        head_x=x,
        head_y=y,
        height=torch.zeros_like(x),
        ink=torch.zeros_like(x),
        light=torch.ones_like(x),
        px=f.scale * (size / (2 * VIEW)),
        turn_x=turn_x,
        turn_y=turn_y,
        skin=colours.skin(f.skin),
        hair=colours.hair(f.hair_colour, f.hair_grey),
    )


def dome(x: Tensor, y: Tensor) -> Tensor:
    """Depth of the head at canonical places, before it turns."""
    across, along = x / 1.15, (y + 0.1) / 1.55
    return (DOME * (1 - across * across - along * along)).clamp(min=-0.35)


def seen_at(f: Factors, x: Tensor, y: Tensor, size: int) -> Tensor:
    """(N, 2) where a place on the head is seen, in pixels of the image: what `place` does, turned round.

    Args:
        f: factors as (N,) tensors.
        x: (N,) canonical.
        y: (N,) canonical.
        size: image side in pixels.
    """
    turn_x, turn_y = _turn(f.yaw)[1], _turn(f.pitch)[1]
    head_x, head_y = x, y
    for _ in range(8):  # the dome moves a place by less than it bends: this converges
        depth = dome(head_x, head_y)
        head_x, head_y = x + depth * turn_x, y + depth * turn_y
    cosine, sine = _turn(f.roll)
    across, along = head_x * f.scale, (head_y - CENTRE) * f.scale
    column = across * cosine - along * sine + f.shift_x
    row = along * cosine + across * sine + f.shift_y
    return (torch.stack([column, row], 1) / VIEW + 1) * (size / 2)


def _turn(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine, computed in float64 so that rounding to float32 hides last-bit differences."""
    angle = degrees.double() * (torch.pi / 180)
    return angle.cos().float(), angle.sin().float()
