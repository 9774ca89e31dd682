"""Random numbers for the faces of a batch, of which a process may hold a part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Draws for `count` faces, which are the same whoever holds the others.

    Attributes:
        generator: a CPU generator; the same state gives the same draws on every device.
        first: place of the first of these faces in their batch.
        count: these faces.
        of: faces of the batch.
        device: where the draws are wanted.
    """

    generator: torch.Generator
    first: int
    count: int
    of: int
    device: torch.device

    def normal(self, *shape: int) -> Tensor:
        """(count, *shape) of mean 0 and deviation 1."""
        return self._part(torch.randn(self.of, *shape, generator=self.generator))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(count, *shape), even from low to high."""
        return self._part(torch.rand(self.of, *shape, generator=self.generator)) * (high - low) + low

    def chance(self, probability: float) -> Tensor:
        """(count,) 1 with a probability, else 0."""
        return (self.uniform(0, 1) < probability).float()

    def _part(self, drawn: Tensor) -> Tensor:
        return drawn[self.first : self.first + self.count].to(self.device)
