"""φ = LeakyReLU ∘ BatchNorm ∘ Linear, and its maps of all attributes in one batched operation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IDENTITY_SCALE = 0.1
"""Scale of identity features at the start, against the expression's [ours].

Identity features are learned within a few steps; at full scale they would drown z' before the expression is
learned. The critics that train them ignore scale.
"""


def activated(projected: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """LeakyReLU ∘ BatchNorm of (B, C)."""
    return F.leaky_relu(norm(projected), 0.1)


def identity_norm(attributes: int, dim: int) -> nn.BatchNorm1d:
    """The normalisation of all identity features side by side, at their scale."""
    norm = nn.BatchNorm1d(attributes * dim)
    nn.init.constant_(norm.weight, IDENTITY_SCALE)
    return norm


def identity_maps(attributes: int, width: int, dim: int) -> nn.Parameter:
    """(A, width, D): the linear part of every φ_a."""
    return nn.Parameter(torch.randn(attributes, width, dim) / math.sqrt(width))


def identity_features(x: Tensor, maps: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """φ_a of x (B, A, width), all attributes at once, (B, A, D)."""
    raw = torch.einsum("baf,afd->bad", x, maps)
    return activated(raw.flatten(1), norm).view_as(raw)
