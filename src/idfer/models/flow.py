"""Rectified flow: faces drawn from noise, under the same condition (Liu et al. 2023; Lipman et al. 2023).

    x_t = (1 - t) noise + t face,    t in [0, 1]          a network learns v(x_t, t, asked) ~ face - noise
    dx/dt = v(x, t, asked)                                 and noise is carried to a face by Heun's method

Where `idfer.models.decoder` draws the mean of all faces that could have such features, this draws one of
them, sharp: what features do not tell is made up, and differs with the noise. [ours: the network] A small
U-Net on 2 x 2 patches, modulated by time and by what is asked; docs/adr/0010 says why it is no library's.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.models.condition import WIDTH, Condition
from idfer.models.decoder import check_size
from idfer.models.film import FilmBlock

STEPS = 8  # of Heun's method, two looks at the network each but for the last
_PATCH, _LOWEST = 2, 8  # pixels that make one, and the side of the lowest level
_CHANNELS = (128, 96, 64, 32, 32)  # from the lowest level up


class Flow(nn.Module):
    """(expression feature, identity features, strengths), noise -> face.

    Args:
        expression: D, width of expression features.
        identity: (A, E), number and width of identity features; A = 0 without.
        size: side of the pictures, pixels.
    """

    def __init__(self, expression: int, identity: tuple[int, int], size: int):
        super().__init__()
        self.size = check_size(size)
        self.condition = Condition(expression, identity)
        self.read_time = nn.Sequential(nn.Linear(64, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        levels = (size // _PATCH).bit_length() - _LOWEST.bit_length() + 1
        channels = _CHANNELS[:levels][::-1]  # from the highest level down
        plane = 3 * _PATCH**2
        self.enter = nn.Conv2d(plane, channels[0], 3, padding=1)
        steps = [(channels[0], channels[0]), *pairwise(channels)]
        self.down = nn.ModuleList(_Residual(a, b) for a, b in steps)
        self.middle = _Residual(channels[-1], channels[-1])
        self.up = nn.ModuleList(_Residual(2 * b, a) for a, b in reversed(steps))
        self.leave = nn.Conv2d(channels[0], plane, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor, time: Tensor, asked: Tensor) -> Tensor:
        """Velocity (B, 3, S, S) of pictures on the way (B, 3, S, S), at times (B,), asked for (B, W)."""
        asked = asked + self.read_time(_waves(time))
        hidden = self.enter(F.pixel_unshuffle(picture, _PATCH))
        passed = []
        for k, block in enumerate(self.down):
            hidden = block(F.avg_pool2d(hidden, 2) if k else hidden, asked)
            passed.append(hidden)
        hidden = self.middle(hidden, asked)
        for k, block in enumerate(self.up):
            hidden = F.interpolate(hidden, scale_factor=2.0, mode="nearest") if k else hidden
            hidden = block(torch.cat([hidden, passed.pop()], 1), asked)
        return F.pixel_shuffle(self.leave(hidden), _PATCH)

    def sample(self, asked: Tensor, seed: int = 0, steps: int = STEPS) -> Tensor:
        """Draw B faces from one and the same noise: they differ by what is asked (B, W), not by chance.

        Args:
            asked: by the condition.
            seed: of the noise.
            steps: of Heun's method.

        Returns:
            (B, 3, S, S) in [0, 1], RGB.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, 3, self.size, self.size, generator=generator)
        picture = noise.to(asked.device).expand(len(asked), -1, -1, -1)
        for k in range(steps):
            now, later = (picture.new_full((len(asked),), (k + j) / steps) for j in (0, 1))
            slope = self(picture, now, asked).float()
            ahead = picture + slope / steps
            if k + 1 < steps:
                ahead = picture + (slope + self(ahead, later, asked).float()) / (2 * steps)
            picture = ahead
        drawn: Tensor = (picture / 2 + 0.5).clamp(0, 1)
        return drawn


class _Residual(nn.Module):
    """Two modulated convolutions and a way around them."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.first = FilmBlock(inside, outside, WIDTH)
        self.second = FilmBlock(outside, outside, WIDTH)
        self.around = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, picture: Tensor, asked: Tensor) -> Tensor:
        drawn: Tensor = self.around(picture) + self.second(self.first(picture, asked), asked)
        return drawn


def _waves(time: Tensor) -> Tensor:
    """(B, 64) sines and cosines of times (B,) in [0, 1], from one slow to one fast (Vaswani et al. 2017)."""
    rates = torch.exp(torch.linspace(0, math.log(1000.0), 32, device=time.device))
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
