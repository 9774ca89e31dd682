"""conv4 and conv7: small networks for small faces [ours].

conv4 is there so that a benchmark of many runs fits on two cores. conv7 is for a model that is to be used: in
about three times the time it sees more of a face, and tells anger on photographs from rest better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

GRID = 4


class Residual(nn.Module):
    """A convolution of as many channels, normalised and added to what came in."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), at least 0."""
        return torch.relu(features + self.norm(self.conv(features)))


class Conv4(nn.Module):
    """Four convolutions of stride 2 with batch normalisation; a 4 x 4 grid of places is kept.

    Valence is read from where a mouth corner is. With means over the four quarters of the image the same
    network needed about twice the epochs to begin to learn it.

    Args:
        width: channels after the first convolution; each following one doubles them.
        residual: a residual convolution follows each but the first.
    """

    def __init__(self, width: int = 16, residual: bool = False):
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for k, (inside, outside) in enumerate(pairwise(sizes)):
            side = 5 if k == 0 else 3
            layers += [
                nn.Conv2d(inside, outside, side, stride=2, padding=side // 2, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(inplace=True),
            ]
            if residual and k:
                layers.append(Residual(outside))
        self.features = nn.Sequential(*layers)
        self.num_features = sizes[-1] * GRID**2
        self.contract: dict[str, Any] = {"size": 64, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 16 * 8 * width): the last layer's means over a 4 x 4 grid."""
        # channels last: the same numbers up to rounding, a fifth faster on a CPU
        features: Tensor = self.features(image.contiguous(memory_format=torch.channels_last))
        if features.shape[-2:] != (GRID, GRID):  # at 64 pixels they are, and pooling them costs 5 % of a step
            features = nn.functional.adaptive_avg_pool2d(features, GRID)
        return features.flatten(1)


def conv7() -> Conv4:
    """Seven convolutions, half as wide again: .7 million parameters."""
    return Conv4(24, residual=True)


SMALL: Mapping[str, Callable[[], Conv4]] = {"conv4": Conv4, "conv7": conv7}
"""Name of a backbone -> what makes it; none has published weights."""
