r"""What attributes still shift in an expression feature at a fixed label, measured in training and taken out [ours].

A network that has not seen enough reads the same expression a little differently on older or on darker faces,
whatever its objective. At a fixed label that shift is a plain regression coefficient:

    μ = Φ(y) B + Σ_a D_a c[a] + rest          z_exp = μ - Σ_a D_a ( c[a] - mean c[a] )

c[a] are the levels as the identity features know them (`evidence.py`), so that the same can be subtracted at run
time. They err, and a regression on what errs is too flat; so D is estimated with an instrument (two-stage least
squares): the levels that were *retrieved*, averaged over the person's faces. Φ(y) are powers of valence and
arousal up to the third. All moments are running means over the last hundred or so batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY = 0.99
_RIDGE = 1e-4


class Offsets(nn.Module):
    """Measures and subtracts attributes' offsets in an expression feature.

    Args:
        levels: A * K, attribute levels side by side.
        dim: D, width of the expression feature.
    """

    moments: Tensor
    cross: Tensor
    slope: Tensor
    centre: Tensor

    def __init__(self, levels: int, dim: int):
        super().__init__()
        width = len(_powers(torch.zeros(1, 2))[0]) + levels
        self.levels = levels
        self.register_buffer("moments", torch.zeros(width, width))
        self.register_buffer("cross", torch.zeros(width, dim))
        self.register_buffer("slope", torch.zeros(levels, dim))
        self.register_buffer("centre", torch.zeros(levels))

    @torch.no_grad()
    def measure(self, mean: Tensor, label: Tensor, known: Tensor, retrieved: Tensor) -> None:
        """Take B training faces into account.

        Args:
            mean: (B, D) expression features, nothing taken out yet.
            label: (B, 2) valence and arousal.
            known: (B, A * K) levels as identity features know them.
            retrieved: (B, A * K) levels as retrieved, averaged over the person.
        """
        powers = _powers(label.float())
        x, z = torch.cat([powers, known.float()], 1), torch.cat([powers, retrieved.float()], 1)
        share = (1 - DECAY) / len(x)
        self.moments.mul_(DECAY).addmm_(z.T, x, alpha=share)
        self.cross.mul_(DECAY).addmm_(z.T, mean.float(), alpha=share)
        self.centre.copy_(self.moments[0, -self.levels :] / self.moments[0, 0])
        ridge = _RIDGE * self.moments[0, 0] * torch.eye(len(self.moments), device=x.device)
        self.slope.copy_(torch.linalg.solve(self.moments + ridge, self.cross)[-self.levels :])

    def forward(self, known: Tensor) -> Tensor:
        """(B, D) what to subtract for levels (B, A * K)."""
        return (known - self.centre) @ self.slope


def _powers(label: Tensor) -> Tensor:
    """(B, 10) 1, and valence and arousal up to the third power."""
    v, a = label.unbind(-1)
    one = torch.ones_like(v)
    return torch.stack([one, v, a, v * v, v * a, a * a, v**3, v * v * a, v * a * a, a**3], 1)
