"""Level posteriors, side by side in a batch, as one padded row per attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.errors import UsageError


class Levels:
    """(B, ΣK) -> (B, A, max K) with zeros where an attribute has fewer levels.

    Args:
        levels: level names of each attribute.
        device: where posteriors will be.

    Attributes:
        mask: (A, max K), 1 for the levels that exist.

    Raises:
        UsageError: there is no attribute.
    """

    def __init__(self, levels: Mapping[str, Sequence[str]], device: torch.device):
        if not levels:
            raise UsageError("this method needs at least one attribute: name one in --use.")
        counts = [len(names) for names in levels.values()]
        ends = torch.tensor(counts).cumsum(0)
        column = torch.arange(max(counts)).expand(len(counts), -1)
        exists = column < torch.tensor(counts)[:, None]
        # one column of zeros is appended to the posteriors; padding points there
        self._index = torch.where(exists, column + (ends - torch.tensor(counts))[:, None], ends[-1]).to(
            device
        )
        self.mask = exists.float().to(device)
        last = set((ends - 1).tolist())
        self._free = [k for k in range(int(ends[-1])) if k not in last]

    def free(self, posterior: Tensor) -> Tensor:
        """(B, ΣK - A): all levels but each attribute's last, which is one minus the others."""
        return posterior[:, self._free]

    def __call__(self, posterior: Tensor) -> Tensor:
        """One row of level posteriors per attribute, (B, A, max K)."""
        return F.pad(posterior, (0, 1))[:, self._index]
