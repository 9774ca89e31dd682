"""From an expression feature and identity features back to a face [ours; the source shows such pictures].

A feed-forward generator. What is asked of it is one vector: the expression feature, and a token per
attribute, which is the identity feature's where the attribute is attached and one learned for "unknown" where
it is not. It modulates every layer (Perez et al. 2018, FiLM), from a learned 4 x 4 picture up to the face.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.errors import UsageError

_START = 4  # side of the learned picture
_CHANNELS = (128, 128, 96, 64, 48, 32)  # at 4, 8, 16, 32, 64 and 128 pixels


def check_size(size: int) -> int:
    """A side that the decoder can draw: a power of two from 16 to 256.

    Raises:
        UsageError: another.
    """
    if size not in (16, 32, 64, 128, 256):
        raise UsageError(f"a decoder draws 16, 32, 64, 128 or 256 pixels a side, not {size}.")
    return size


class Decoder(nn.Module):
    """(expression feature, identity features, strengths) -> face.

    Args:
        expression: D, width of expression features.
        identity: (A, E), number and width of identity features; A = 0 without.
        size: side of the pictures, pixels.
        width: of the vector that modulates the layers.
    """

    expression_centre: Tensor
    expression_scale: Tensor
    identity_centre: Tensor
    identity_scale: Tensor

    def __init__(self, expression: int, identity: tuple[int, int], size: int, width: int = 192):
        super().__init__()
        count, wide = identity
        self.size = check_size(size)
        self.register_buffer("expression_centre", torch.zeros(expression))
        self.register_buffer("expression_scale", torch.ones(expression))
        self.register_buffer("identity_centre", torch.zeros(count, wide))
        self.register_buffer("identity_scale", torch.ones(count, wide))
        self.read_expression = nn.Linear(expression, width)
        self.read_identity = nn.Parameter(torch.randn(count, wide, width) / max(1, wide) ** 0.5)
        self.unknown = nn.Parameter(torch.zeros(count, width))
        self.mix = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        levels = (size // 2).bit_length() - _START.bit_length()  # doublings to half the side
        channels = [_CHANNELS[min(k, len(_CHANNELS) - 1)] for k in range(levels + 1)]
        self.start = nn.Parameter(torch.randn(channels[0], _START, _START))
        self.first = _Block(channels[0], channels[0], width)
        self.blocks = nn.ModuleList(_Block(a, b, width) for a, b in pairwise(channels))
        self.paint = nn.Conv2d(channels[-1], 12, 3, padding=1)

    def calibrate(self, expression: Tensor, identity: Tensor) -> None:
        """Take centre and scale of features from those of the training faces, (N, D) and (N, A, E)."""
        for name, values in (("expression", expression), ("identity", identity)):
            getattr(self, f"{name}_centre").copy_(values.mean(0))
            getattr(self, f"{name}_scale").copy_(values.std(0).clamp_min(1e-4))

    def asked(self, expression: Tensor, identity: Tensor, strength: Tensor) -> Tensor:
        """(B, width) what modulates the layers; of (B, D), (B, A, E), and (B, A): 1 attached, 0 detached."""
        shown = (expression - self.expression_centre) / self.expression_scale
        who = (identity - self.identity_centre) / self.identity_scale
        token = torch.einsum("bae,aew->baw", who, self.read_identity)
        token = self.unknown + strength[..., None] * (token - self.unknown)
        return self.mix(self.read_expression(shown) + token.sum(1))  # type: ignore[no-any-return]

    def forward(self, expression: Tensor, identity: Tensor, strength: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], RGB; arguments as of `asked`. Strengths beyond [0, 1] extrapolate."""
        asked = self.asked(expression, identity, strength)
        picture = self.first(self.start.expand(len(asked), -1, -1, -1), asked)
        for block in self.blocks:
            picture = block(F.interpolate(picture, scale_factor=2.0, mode="nearest"), asked)
        return torch.sigmoid(F.pixel_shuffle(self.paint(picture), 2))


class _Block(nn.Module):
    """A convolution whose normalised channels are scaled and shifted by what is asked."""

    def __init__(self, inside: int, outside: int, width: int):
        super().__init__()
        self.convolve = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.normalise = nn.GroupNorm(8, outside, affine=False)
        self.modulate = nn.Linear(width, 2 * outside)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, picture: Tensor, asked: Tensor) -> Tensor:
        scale, shift = self.modulate(asked)[..., None, None].chunk(2, dim=1)
        return F.silu(self.normalise(self.convolve(picture)) * (1 + scale) + shift)
