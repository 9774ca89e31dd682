"""Batched training augmentation [ours]: flip, small shift, rotation and scale, brightness and contrast."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, generator: torch.Generator, first: int = 0, of: int | None = None) -> Tensor:
    """Augment uint8 faces (B, 3, S, S) into float faces on the scale [0, 255], same shape and device.

    Geometry: mirrored with probability ½, rotated by σ = 2°, scaled by σ = 3 %, shifted by σ = 2 % of the
    side, edge pixels repeated. Light: brightness and contrast by σ = 10 %. Labels do not change. Kept mild:
    mouth corners and lids are a few pixels wide, and stronger warps hid more than they taught.

    Args:
        images: (B, 3, S, S) uint8.
        generator: a CPU generator; the same state gives the same pixels.
        first: place of the first of these faces in their batch, where they are a part of it.
        of: faces of that batch; None where these are all.
    """
    count, device = len(images), images.device
    whole, part = of or count, slice(first, first + count)
    draw = torch.randn(whole, 6, generator=generator)[part]
    flip = (torch.rand(whole, generator=generator)[part] < 0.5).float() * -2 + 1
    moved = move(images, flip, draw[:, 0] * 0.035, 0.03 * draw[:, 1], 0.02 * draw[:, 2:4])
    light = (draw[:, 4:] * 0.1).to(device)[..., None, None, None]
    mean = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - mean) * (1 + light[:, 1]) + mean * (1 + light[:, 0])).clamp_(0, 255)


def move(images: Tensor, flip: Tensor, angle: Tensor, growth: Tensor, shift: Tensor) -> Tensor:
    """Mirror, turn, scale and shift each image, edge pixels repeated.

    Args:
        images: (B, 3, S, S), any type.
        flip: (B,) -1 mirrors, 1 does not.
        angle: (B,) in radians.
        growth: (B,) relative change of the part that is seen, held within 20 %; or (B, 2), across and down.
        shift: (B, 2) across and down, as fractions of the side, held within 10 %.

    Returns:
        (B, 3, S, S) float.
    """
    device = images.device
    across, down = (1 + growth.reshape(len(flip), -1).expand(-1, 2)).clamp(0.8, 1.2).unbind(1)
    shift = (2 * shift).clamp(-0.2, 0.2)
    cos, sin = angle.cos(), angle.sin()
    columns = torch.stack([cos * across * flip, sin * across * flip], 1)
    rows = torch.stack([-sin * down, cos * down], 1)
    grid = _grid(columns.to(device), rows.to(device), shift.to(device), images.shape[-1])
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def _grid(columns: Tensor, rows: Tensor, shift: Tensor, side: int) -> Tensor:
    """(B, S, S, 2) where each pixel is taken from: as `affine_grid`, in a quarter of its time."""
    place = (torch.arange(side, device=shift.device) * 2 + 1) / side - 1
    across = columns[:, None] * place[:, None] + shift[:, None]
    down = rows[:, None] * place[:, None]
    return across[:, None] + down[:, :, None]
