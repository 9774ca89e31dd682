"""A convolution whose channels are scaled and shifted by a vector (Perez et al. 2018, FiLM)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FilmBlock(nn.Module):
    """3 x 3 convolution, normalised channels, scale and shift by what is asked, SiLU.

    Args:
        inside: channels that come in.
        outside: channels that go out; a multiple of 8.
        width: of the vector that modulates.
    """

    def __init__(self, inside: int, outside: int, width: int):
        super().__init__()
        self.convolve = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.normalise = nn.GroupNorm(8, outside, affine=False)
        self.modulate = nn.Linear(width, 2 * outside)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, picture: Tensor, asked: Tensor) -> Tensor:
        """(B, outside, S, S) of (B, inside, S, S) and (B, width)."""
        scale, shift = self.modulate(asked)[..., None, None].chunk(2, dim=1)
        return F.silu(self.normalise(self.convolve(picture)) * (1 + scale) + shift)
