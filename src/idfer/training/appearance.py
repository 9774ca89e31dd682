"""Strong training augmentation [ours]: faces as cameras, light, skin and files might show them.

A model that has seen only rendered faces takes their even skin and clean pixels for what faces are. Here all
that an expression does not change is drawn anew for each face and step: tint, light, texture, things in the
way, sharpness, grain, compression. Domain randomisation: Tobin et al., IROS 2017. Labels do not change, and
each part is left out for some faces, so that clean ones are seen too.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.training.augment import move
from idfer.training.draws import Draws
from idfer.training.jpeg import jpeg

_CELLS = (4, 8, 16, 32)  # bands of texture: cells a side
_LUMA = (0.299, 0.587, 0.114)


def strong(images: Tensor, generator: torch.Generator, first: int = 0, of: int | None = None) -> Tensor:
    """Augment uint8 faces (B, 3, S, S) into float faces on the scale [0, 255], same shape and device.

    Geometry: mirrored with probability ½, rotated by σ = 4°, scaled by σ = 5 % and stretched by σ = 3 %,
    shifted by σ = 2.5 % of the side. Then, in this order: tint, light, texture, things in the way, grey,
    blur, a picture that ends at the face, few pixels, grain and JPEG; see each. What is done is the same for
    a face whichever part of the batch is given.

    Args:
        images: (B, 3, S, S) uint8.
        generator: a CPU generator; the same state gives the same pixels but for rounding.
        first: place of the first of these faces in their batch, where they are a part of it.
        of: faces of that batch; None where these are all.
    """
    draws = Draws(generator, first, len(images), of or len(images), images.device)
    growth = 0.05 * draws.normal(1) + 0.03 * draws.normal(2)
    flip = 1 - 2 * draws.chance(0.5)
    faces = move(images, flip, math.radians(4) * draws.normal(), growth, 0.025 * draws.normal(2)) / 255
    for part in (tint, light, texture, occlude, grey, blur, cut, coarsen, grain, compress):
        faces = part(faces, draws)
    return faces.mul_(255)


def tint(faces: Tensor, draws: Draws) -> Tensor:
    """Colours mixed a little, gains per channel and of all, gamma and contrast; eight of ten faces."""
    done = draws.chance(0.8)
    mixed = torch.eye(3, device=faces.device) + _of(done, 2) * 0.05 * draws.normal(3, 3)
    gains = (done[:, None] * (0.09 * draws.normal(3) + 0.22 * draws.normal(1))).exp()
    gamma, contrast = (_of((done * s * draws.normal()).exp(), 3) for s in (0.22, 0.18))
    coloured = torch.einsum("bdc,bchw->bdhw", mixed * gains[..., None], faces)
    curved = coloured.clamp(1e-4, 1) ** gamma
    mean = curved.mean((1, 2, 3), keepdim=True)
    return ((curved - mean) * contrast + mean).clamp_(0, 1)


def light(faces: Tensor, draws: Draws) -> Tensor:
    """Light from somewhere: a smooth field of 3 x 3 that multiplies; six of ten faces."""
    strength = draws.chance(0.6) * draws.uniform(0, 0.5)
    field = _spread(draws.normal(1, 3, 3), faces.shape[-1])
    return (faces * (_of(strength, 3) * field).exp()).clamp_(0, 1)


def texture(faces: Tensor, draws: Draws) -> Tensor:
    """Noise in bands of 4 to 32 cells a side, partly grey: skin that is not even; half of the faces."""
    done, side = draws.chance(0.5), faces.shape[-1]
    for cells in _CELLS:
        amount = _of(done * 0.03 * draws.normal().abs(), 3)
        noise = 0.7 * draws.normal(1, cells, cells) + 0.5 * draws.normal(3, cells, cells)
        if cells < side:  # finer is grain
            faces = faces + _spread(amount * noise, side)
    return faces.clamp(0, 1)


def occlude(faces: Tensor, draws: Draws) -> Tensor:
    """A soft-edged ellipse or box of some colour, anywhere, half axes of .05 to .25; one of five faces."""
    side, done = faces.shape[-1], draws.chance(0.2)
    place = (torch.arange(side, device=faces.device) + 0.5) / side
    x, y = place - draws.uniform(0, 1, 1), place - draws.uniform(0, 1, 1)
    angle = draws.uniform(0, math.pi)
    cos, sin, x, y = _of(angle.cos(), 2), _of(angle.sin(), 2), x[:, None, :], y[:, :, None]
    axes, power = draws.uniform(0.05, 0.25, 2), _of(2 + 6 * draws.chance(0.5), 2)  # 8: all but a box
    across = ((cos * x + sin * y) / _of(axes[:, 0], 2)).abs() ** power
    along = ((cos * y - sin * x) / _of(axes[:, 1], 2)).abs() ** power
    alpha = ((1 - across - along) * 4).clamp(0, 1) * _of(done, 2)
    colour = draws.uniform(0, 1, 3, 1, 1) + 0.1 * _spread(draws.normal(3, 4, 4), side)
    return faces + (colour.clamp(0, 1) - faces) * alpha[:, None]


def grey(faces: Tensor, draws: Draws) -> Tensor:
    """Colour taken out of four of ten faces, a part of it of one in five: many collections are grey."""
    kind, share = draws.uniform(0, 1), draws.uniform(0, 1)
    amount = (kind < 0.4).float() + ((kind >= 0.4) & (kind < 0.6)).float() * share
    luma = torch.einsum("c,bchw->bhw", torch.tensor(_LUMA, device=faces.device), faces)[:, None]
    return faces + (luma - faces) * _of(amount, 3)


def blur(faces: Tensor, draws: Draws) -> Tensor:
    """Gaussian blur of up to σ = 1.4 pixels of a face of 64; three of ten faces."""
    count, side = len(faces), faces.shape[-1]
    largest = 1.4 * side / 64
    sigma = (draws.chance(0.3) * draws.uniform(0.2, 1) * largest).clamp(min=1e-3)
    reach = math.ceil(2.5 * largest)
    offsets = torch.arange(-reach, reach + 1, device=faces.device)
    kernel = (-0.5 * (offsets / sigma[:, None]) ** 2).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    planes = F.pad(faces, (reach,) * 4, mode="replicate").reshape(1, 3 * count, side + 2 * reach, -1)
    across = F.conv2d(planes, kernel[:, None, None, :], groups=3 * count)
    return F.conv2d(across, kernel[:, None, :, None], groups=3 * count).reshape(faces.shape)


def cut(faces: Tensor, draws: Draws) -> Tensor:
    """Pictures that end at the face: edges repeated outwards, as alignment fills them; half of the faces.

    Up to .34 of the side at the top, .12 at the bottom, .16 left and right: what collections of faces that
    were cut out before leave of hair and background.
    """
    side, done = faces.shape[-1], draws.chance(0.5)
    top, bottom, left, right = (
        (done * draws.uniform(0, most) * side).long()[:, None] for most in (0.34, 0.12, 0.16, 0.16)
    )
    at = torch.arange(side, device=faces.device)
    rows, columns = at.clamp(top, side - 1 - bottom), at.clamp(left, side - 1 - right)
    shape = faces.shape
    return faces.gather(2, rows[:, None, :, None].expand(shape)).gather(
        3, columns[:, None, None, :].expand(shape)
    )


def coarsen(faces: Tensor, draws: Draws) -> Tensor:
    """Few pixels: brought down to a quarter to eight tenths of the side and up again; four of ten faces."""
    done, share, side = draws.chance(0.4) > 0, draws.uniform(0.25, 0.8), faces.shape[-1]
    few = (share[done] * side).round().clamp(min=min(8, side)).tolist()
    if few:
        weights = torch.stack([_coarse(int(k), side) for k in few]).to(faces.device)[:, None]
        faces = faces.clone()
        faces[done] = weights @ faces[done] @ weights.transpose(2, 3)
    return faces


def grain(faces: Tensor, draws: Draws) -> Tensor:
    """Noise of each pixel and channel, up to σ = .05; three of ten faces."""
    sigma = draws.chance(0.3) * draws.uniform(0, 0.05)
    return (faces + _of(sigma, 3) * draws.normal(*faces.shape[1:])).clamp_(0, 1)


def compress(faces: Tensor, draws: Draws) -> Tensor:
    """JPEG of quality 25 to 95; three of ten faces."""
    done, quality = draws.chance(0.3) > 0, draws.uniform(25, 95).round()
    if done.any():
        faces = faces.clone()
        faces[done] = jpeg(faces[done] * 255, quality[done]) / 255
    return faces


def _of(values: Tensor, axes: int) -> Tensor:
    """(B, ...) of one value each with so many more axes, to be broadcast."""
    return values[(..., *(None,) * axes)]


def _spread(cells: Tensor, side: int) -> Tensor:
    """Smooth fields (B, C, S, S) of cells (B, C, k, k): bicubic interpolation, as two products."""
    weights = _bicubic(cells.shape[-1], side).to(cells.device)
    return weights @ cells @ weights.T


@cache
def _coarse(few: int, side: int) -> Tensor:
    """(S, S) what each of S pixels adds to each where few lie between: their means, interpolated."""
    small = F.adaptive_avg_pool1d(torch.eye(side), few)
    return F.interpolate(small[None], size=side, mode="linear", align_corners=False)[0].T.contiguous()


@cache
def _bicubic(cells: int, side: int) -> Tensor:
    """(S, k) what each of k cells adds to each of S pixels."""
    unit = torch.eye(cells)[None, :, :, None].expand(-1, -1, -1, 4)
    return F.interpolate(unit, size=(side, 4), mode="bicubic", align_corners=False)[0, :, :, 0].T
