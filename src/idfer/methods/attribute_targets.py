"""How a method sees a batch's attributes: padded level posteriors, or whitened ID vectors (docs/adr/0003)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.errors import IdferError, UsageError


class LevelPosteriors:
    """Level posteriors, side by side in a batch, as one padded row per attribute.

    (B, ΣK) -> (B, A, max K) with zeros where an attribute has fewer levels.

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


class WhitenedVectors:
    """Retrieved ID vectors in decorrelated unit-variance coordinates, an attribute at a time.

    A soft ID vector of K levels lies in a (K-1)-dimensional simplex of the CLIP space; in all other
    directions its variance is 0, where a Gaussian critic degenerates. MI is invariant to this invertible map.

    Args:
        retrieved: (N, A, E) ID vectors of the training rows.
        levels: number of levels of each attribute, K[a].

    Raises:
        IdferError: an attribute never varies, so there is nothing to be invariant to.
    """

    def __init__(self, retrieved: Tensor, levels: dict[str, int]):
        width = max(levels.values()) - 1
        self.mean = retrieved.mean(0)
        bases, masks = [], []
        for a, (name, count) in enumerate(levels.items()):
            _, scale, directions = torch.linalg.svd(retrieved[:, a] - self.mean[a], full_matrices=False)
            scale = scale / max(1, len(retrieved)) ** 0.5
            rank = min(count - 1, int((scale > 1e-3 * scale[0].clamp_min(1e-6)).sum()))
            if rank == 0 or float(scale[0]) < 1e-6:
                raise IdferError(
                    f"attribute {name!r} is the same for every training face; leave it out of --use."
                )
            basis = retrieved.new_zeros(retrieved.shape[2], width)
            basis[:, :rank] = directions[:rank].T / scale[:rank]
            bases.append(basis)
            masks.append((torch.arange(width) < rank).float())
        self.basis, self.mask = torch.stack(bases), torch.stack(masks)

    def to(self, device: torch.device) -> WhitenedVectors:
        """Move to a device, in place."""
        self.mean, self.basis, self.mask = self.mean.to(device), self.basis.to(device), self.mask.to(device)
        return self

    def __call__(self, retrieved: Tensor) -> Tensor:
        """(B, A, E) -> (B, A, max K - 1)."""
        return torch.einsum("bae,aed->bad", retrieved - self.mean, self.basis)
