r"""CLUB: an upper bound of mutual information to minimise, for A attributes at once.

    I(x; c) <= E_p(x,c) log q(c|x) - E_p(x) E_p(c) log q(c|x)

(Cheng et al. 2020, arXiv:2006.12013), here vCLUB: q(c|x) is a Gaussian with learned mean and variance,
fitted by maximum likelihood on detached features with an optimiser of its own. It bounds I only while q is
accurate. Known failures and what guards them [ours]:

- a negative estimate, whose minimisation diverges: an attribute's mean below 0 contributes no gradient;
- a saturated log-variance: it passes through a tanh that keeps it in ±`log_variance`;
- negatives that include the positive: sample i is left out of its own negatives;
- scale: x is layer-normalised without affine, so shrinking the features gains nothing;
- a non-finite estimate contributes nothing.

`guards` counts how often each acted since the last `pop_guards`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CLUB(nn.Module):
    """vCLUB for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the (whitened) attribute vectors c[a].
        hidden: width of q's hidden layer.
        log_variance: bound of |log σ²|, in nats.
    """

    def __init__(self, attributes: int, dim_x: int, dim_y: int, hidden: int = 64, log_variance: float = 6.0):
        super().__init__()
        self.attributes, self.dim_y, self.log_variance = attributes, dim_y, log_variance
        self.hidden = nn.Linear(dim_x, attributes * hidden)
        self.out = nn.Parameter(torch.randn(attributes, hidden, 2 * dim_y) * hidden**-0.5 * 0.1)
        self.bias = nn.Parameter(torch.zeros(attributes, 1, 2 * dim_y))
        self.guards = {"negative": 0, "saturated": 0, "non_finite": 0}

    def gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(c|x), each (A, B, dim_y), for x (B, dim_x)."""
        normal = F.layer_norm(x, x.shape[-1:])
        hidden = F.gelu(self.hidden(normal)).view(len(x), self.attributes, -1).transpose(0, 1)
        mean, raw = torch.baddbmm(self.bias, hidden, self.out).chunk(2, dim=-1)
        return mean, self.log_variance * torch.tanh(raw / self.log_variance)

    def learning_loss(self, x: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """Negative log-likelihood of q on detached x, a scalar in nats (constant left out).

        Args:
            x: (B, dim_x).
            c: (B, A, dim_y).
            mask: (A, dim_y), 1 for the coordinates that exist, 0 for padding.
        """
        mean, log_variance = self.gaussian(x.detach())
        error = (c.transpose(0, 1) - mean).square() * (-log_variance).exp() + log_variance
        return 0.5 * (error * mask[:, None]).sum(-1).mean(1).sum()

    def forward(self, x: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats; arguments as in `learning_loss`.

        The mean over the B - 1 negatives of a Gaussian log-density needs only their first two moments,
        so the cost is O(B), not O(B²).

        Raises:
            ValueError: fewer than two samples, where there is no negative.
        """
        if len(x) < 2:
            raise ValueError("CLUB needs at least two samples in a batch: one has no negative.")
        mean, log_variance = self.gaussian(x)
        c = c.transpose(0, 1)
        positive = (c - mean).square()
        others = len(x) - 1
        first = (c.sum(1, keepdim=True) - c) / others
        second = (c.square().sum(1, keepdim=True) - c.square()) / others
        negative = second - 2 * mean * first + mean.square()
        gain = 0.5 * (negative - positive) * (-log_variance).exp()
        self._count_saturated(log_variance)
        return (gain * mask[:, None]).sum(-1)

    def guarded(self, x: Tensor, c: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """What to minimise: Σ_a of the positive, finite means of `forward`, a scalar in nats.

        Args:
            x: (B, dim_x).
            c: (B, A, dim_y).
            mask: (A, dim_y).
            keep: (B, A) weights of the samples in each attribute's mean, e.g. 0 where it stays attached.
        """
        share = keep.transpose(0, 1)
        bound = (self(x, c, mask) * share).sum(1) / share.sum(1).clamp_min(1e-6)
        finite = torch.isfinite(bound)
        positive = finite & (bound > 0)
        self.guards["non_finite"] += int((~finite).sum())
        self.guards["negative"] += int((finite & ~positive).sum())
        return torch.where(positive, bound, torch.zeros_like(bound)).sum()

    def _count_saturated(self, log_variance: Tensor) -> None:
        edge = log_variance.detach().abs() > 0.95 * self.log_variance
        self.guards["saturated"] += int(edge.float().mean() > 0.5)

    def pop_guards(self) -> dict[str, int]:
        """How often each guard acted since the last call."""
        counts, self.guards = self.guards, dict.fromkeys(self.guards, 0)
        return counts
