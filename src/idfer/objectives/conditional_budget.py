r"""The conditional information budget: nats about the image beyond what the label says.

    z ~ N(μ(x), σ²(x)),     residual(x, y) = KL( q(z | x) || b(z | y) )                     (nats)

(conditional entropy bottleneck: Fischer 2020, arXiv:2002.05379.) b is a backward encoder, a Gaussian whose
mean and variance are read from the label. For any b,

    E residual = I(z; x | y) + E KL( p(z | y) || b(z | y) ) >= I(z; x | y) >= I(z; identity | y)

so beyond what the label says of a face, one draw of z tells at most so many nats about anything in the image,
whatever the probe. Unlike the rate to N(0, I) (`budget.py`) it is not spent on the label itself. It does not
hold for the mean of z; K draws, or K images of a person, may tell K times as much; and it is a mean over the
faces it was measured on, with a b that was fitted to others.

μ, log σ² (B, D); y (B, 2) in [-1, 1]; residual (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 64
LOG_VARIANCE = (-8.0, 6.0)


class BackwardEncoder(nn.Module):
    """b(z | y): a diagonal Gaussian over D units, its mean and log-variance read from the label by an MLP.

    Args:
        dim: D.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2 * dim))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (B, D) each, of labels (B, 2)."""
        mean, log_variance = self.net(y).chunk(2, -1)
        return mean, log_variance.clamp(*LOG_VARIANCE)


def residual(mean: Tensor, log_variance: Tensor, of_label: tuple[Tensor, Tensor]) -> Tensor:
    """KL from N(mean, exp(log_variance)) to b, (B,) in nats.

    Args:
        mean: (B, D).
        log_variance: (B, D), of a diagonal Gaussian.
        of_label: b's mean and log-variance, (B, D) each.
    """
    b_mean, b_log_variance = of_label
    ratio = log_variance - b_log_variance
    distance = (mean - b_mean).square() * torch.exp(-b_log_variance)
    return 0.5 * (distance + torch.expm1(ratio) - ratio).sum(-1)
