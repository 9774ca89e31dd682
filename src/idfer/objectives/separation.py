r"""Separation: given the label, a prediction tells nothing of identity, to second order [ours].

    share_d = R²( f_d - E[f_d | y] ; c - E[c | y] )        I(f_d; c | y) = -½ log(1 - R²) for Gaussians (nats)

with linear conditional expectations: how much of a prediction's variance attributes still explain when the
label is held fixed (the "separation" of fairness, Barocas, Hardt and Narayanan 2023, chapter 3). Unlike
I(f; c), it may be driven to 0 without cost where labels and attributes are correlated. The adversary is
linear and solved in closed form from moving moments: a batch alone is too small to tell chance from leakage.

c (B, k), y (B, 2), f (B, d); returns (d,) shares in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_RIDGE = 1e-3  # of unit-variance attributes: posteriors of one attribute are nearly collinear


class Separation(nn.Module):
    """Share of the variance of f that c explains given y, from exponentially moving moments.

    Args:
        width_c: k.
        width_f: d.
        decay: of the moments, per batch; 0 uses the batch alone.
    """

    moments: Tensor
    seen: Tensor

    def __init__(self, width_c: int, width_f: int = 2, decay: float = 0.9):
        super().__init__()
        size = 3 + width_c + width_f
        self.width_c, self.decay = width_c, decay
        self.register_buffer("moments", torch.zeros(size, size))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, f: Tensor, c: Tensor, y: Tensor) -> Tensor:
        """Update the moments and return the shares (d,), with the gradient a batch of that size gives.

        Args:
            f: (B, d) predictions.
            c: (B, k) attributes of about unit variance, no gradient.
            y: (B, 2) labels.
        """
        rows = torch.cat([torch.ones_like(y[:, :1]), y, c, f], dim=1)
        batch = rows.T @ rows / len(rows)
        keep = torch.where(self.seen > 0, self.decay, 0.0)
        moments = keep * self.moments + (1 - keep) * batch
        self.moments, self.seen = moments.detach(), self.seen + 1
        # the batch enters with a share of 1 - decay; its gradient is brought back to full size
        moments = moments.detach() + (batch - batch.detach())
        shared = moments[3:, 3:] - moments[3:, :3] @ torch.linalg.solve(
            _lifted(moments[:3, :3], 1e-6), moments[:3, 3:]
        )
        k = self.width_c
        within, across = _lifted(shared[:k, :k], _RIDGE), shared[:k, k:]
        explained = (across * torch.linalg.solve(within, across)).sum(0)
        total = moments[3 + k :, 3 + k :].diagonal() - moments[0, 3 + k :].square()
        shares: Tensor = explained / total.clamp_min(1e-4)
        return shares


def _lifted(matrix: Tensor, ridge: float) -> Tensor:
    return matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
