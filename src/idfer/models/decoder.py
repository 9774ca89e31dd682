"""From an expression feature and identity features back to a face [ours; the source shows such pictures].

A feed-forward generator: the vector that it is asked for (`idfer.models.condition`) gives a small picture and
modulates every layer from there up to the face. It draws the mean of all faces that could have such features.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.errors import UsageError
from idfer.models.condition import WIDTH, Condition
from idfer.models.film import FilmBlock

SIZES = (16, 32, 64, 128, 256)
_START = 8  # side of the first picture; modulation alone moves a mouth late in training
_CHANNELS = (128, 96, 64, 48, 32)  # at 8, 16, 32, 64 and 128 pixels


def check_size(size: int) -> int:
    """A side that decoders can draw.

    Raises:
        UsageError: another.
    """
    if size not in SIZES:
        raise UsageError(f"a decoder draws 16, 32, 64, 128 or 256 pixels a side, not {size}.")
    return size


class Decoder(nn.Module):
    """(expression feature, identity features, strengths) -> face.

    Args:
        expression: D, width of expression features.
        identity: (A, E), number and width of identity features; A = 0 without.
        size: side of the pictures, pixels.
    """

    def __init__(self, expression: int, identity: tuple[int, int], size: int):
        super().__init__()
        self.size = check_size(size)
        self.condition = Condition(expression, identity)
        levels = (size // 2).bit_length() - _START.bit_length()  # doublings to half the side
        channels = [_CHANNELS[min(k, len(_CHANNELS) - 1)] for k in range(levels + 1)]
        self.start = nn.Linear(WIDTH, channels[0] * _START**2)
        self.first = FilmBlock(channels[0], channels[0], WIDTH)
        self.blocks = nn.ModuleList(FilmBlock(a, b, WIDTH) for a, b in pairwise(channels))
        self.paint = nn.Conv2d(channels[-1], 12, 3, padding=1)

    def forward(self, asked: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], RGB; of the condition's (B, W)."""
        picture = self.start(asked).unflatten(1, (-1, _START, _START))
        picture = self.first(picture.contiguous(memory_format=torch.channels_last), asked)
        for block in self.blocks:
            picture = block(F.interpolate(picture, scale_factor=2.0, mode="nearest"), asked)
        return torch.sigmoid(F.pixel_shuffle(self.paint(picture), 2))

    def sample(self, asked: Tensor, seed: int = 0) -> Tensor:
        """As `forward`: one face for a vector, whatever the seed."""
        drawn: Tensor = self(asked)
        return drawn
