"""What decoders learn from.

A feed-forward decoder compares its face with the true one: pixels at three scales, edges, and what the run
reads. Pixels alone give blurred mouths, and the mouth is the expression. Edges weigh its corners; and the
expression feature that the run reads from the decoded face should be the one that was asked for. [ours]
A flow learns the way from noise to the face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from idfer.models.flow import Flow

SCALES = (1, 2, 4)


def pixels(decoded: Tensor, face: Tensor) -> Tensor:
    """Mean squared difference of (B, 3, S, S), averaged over full, half and quarter size.

    Squared, so that what features do not tell is drawn as the mean of all who could have them: an absolute
    difference draws the median, which is the face of the majority.
    """
    parts = [(F.avg_pool2d(decoded, k) - F.avg_pool2d(face, k)).square().mean() for k in SCALES]
    return torch.stack(parts).mean()


def edges(decoded: Tensor, face: Tensor) -> Tensor:
    """Mean absolute difference of the differences between neighbouring pixels."""
    across = (decoded.diff(dim=3) - face.diff(dim=3)).abs().mean()
    return across + (decoded.diff(dim=2) - face.diff(dim=2)).abs().mean()


def reread(read: Tensor, asked: Tensor, scale: Tensor) -> Tensor:
    """Mean squared difference of expression features (B, D), in units of their spread over faces (D,)."""
    return ((read - asked) / scale).square().mean()


def velocity(flow: Flow, face: Tensor, asked: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of a flow's velocity, at a random time of each face's way.

    Times are logit-normal: the middle of the way is hardest (Esser et al. 2024).

    Args:
        flow: to be trained.
        face: (B, 3, S, S) in [0, 1].
        asked: (B, W) by its condition.
        generator: of noise and times, on the CPU.
    """
    target = 2 * face - 1
    noise = torch.randn(face.shape, generator=generator).to(face.device)
    time = torch.randn(len(face), generator=generator).sigmoid().to(face.device)
    way = torch.lerp(noise, target, time[:, None, None, None])
    error: Tensor = flow(way, time, asked).float() - (target - noise)
    return error.square().mean()
