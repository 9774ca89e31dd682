"""Retrieved ID vectors in coordinates that continuous estimators can work with (docs/adr/0003)."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.errors import IdferError


class Whitening:
    """Per attribute, retrieved ID vectors in decorrelated unit-variance coordinates.

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

    def to(self, device: torch.device) -> Whitening:
        """Move to a device, in place."""
        self.mean, self.basis, self.mask = self.mean.to(device), self.basis.to(device), self.mask.to(device)
        return self

    def __call__(self, retrieved: Tensor) -> Tensor:
        """(B, A, E) -> (B, A, max K - 1)."""
        return torch.einsum("bae,aed->bad", retrieved - self.mean, self.basis)
