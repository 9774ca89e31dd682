"""What JPEG does to faces, in tensors on any device: 4:2:0 chroma and 8 x 8 blocks of rounded cosines.

Wallace, "The JPEG still picture compression standard", CACM 1991; tables of ITU-T T.81, annex K; scaled by
quality as libjpeg does. Entropy coding loses nothing and is left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32,
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Images as they come back from a JPEG file.

    Args:
        images: (B, 3, S, S) float RGB on the scale [0, 255].
        quality: (B,) 1 to 100.

    Returns:
        (B, 3, S, S) float on the same scale, not rounded.
    """
    side = images.shape[-1]
    wanted = math.ceil(side / 16) * 16  # whole blocks of chroma
    padded = F.pad(images, (0, wanted - side) * 2, mode="replicate")
    luma, *chroma = _mixed(padded - 128, _TO_YCC).unbind(1)
    planes = [_blocks_rounded(luma, _table(_LUMINANCE, quality))]
    table = _table(_CHROMINANCE, quality)
    for plane in chroma:
        halved = F.avg_pool2d(plane[:, None], 2)[:, 0]
        rounded = _blocks_rounded(halved, table)[:, None]
        planes.append(F.interpolate(rounded, scale_factor=2, mode="bilinear", align_corners=False)[:, 0])
    back = _mixed(torch.stack(planes, 1), _TO_RGB) + 128
    return back[..., :side, :side].clamp(0, 255)


def _mixed(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """(B, 3, H, W) with each pixel's channels times a 3 x 3 matrix."""
    return torch.einsum("dc,bchw->bdhw", torch.tensor(matrix, device=images.device), images)


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """(B, 8, 8) steps that coefficients are rounded to."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = torch.tensor(base, device=quality.device, dtype=torch.float32).reshape(8, 8)
    return ((steps * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)


def _blocks_rounded(planes: Tensor, steps: Tensor) -> Tensor:
    """(B, H, W) with the cosine coefficients of each 8 x 8 block rounded to steps (B, 8, 8)."""
    count, height, width = planes.shape
    blocks = planes.reshape(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    cosines = _cosines(planes.device)
    steps = steps[:, None, None]
    rounded = (cosines @ blocks @ cosines.T / steps).round() * steps
    return (cosines.T @ rounded @ cosines).transpose(2, 3).reshape(count, height, width)


def _cosines(device: torch.device) -> Tensor:
    """(8, 8) the orthonormal cosine transform, a row per frequency."""
    place = torch.arange(8, dtype=torch.float32, device=device)
    rows = torch.cos(place[:, None] * (2 * place + 1) * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows
