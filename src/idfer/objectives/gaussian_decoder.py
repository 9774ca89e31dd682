r"""q(c[a]|x): a diagonal Gaussian with learned mean and variance, on which several bounds stand.

    log q(c|x) = -½ Σ_d [ (c_d - μ_d(x))² / σ_d²(x) + log σ_d²(x) ] - (D/2) log 2π      (nats)

fitted by maximum likelihood on detached features with an optimiser of its own. The constant is left out: it
cancels in every bound. log σ² passes through a tanh that keeps it in ±`log_variance`; x is layer-normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.objectives.attribute_mlps import AttributeMLPs
from idfer.objectives.penalty_term import PenaltyTerm, normal


class GaussianDecoder(PenaltyTerm):
    """A Gaussian q(c|x) for A attributes; a subclass gives `values`.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the (whitened) attribute vectors c[a].
        hidden: width of q's hidden layer.
        log_variance: bound of |log σ²|, in nats.
        normalise: layer-normalise x; False only where x's scale is fixed from outside.
    """

    extra = 0  # inputs beside x

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        log_variance: float = 6.0,
        normalise: bool = True,
    ):
        super().__init__(attributes, dim_x, dim_y)
        self.attributes, self.dim_y = attributes, dim_y
        self.log_variance, self.normalise = log_variance, normalise
        self.mlps = AttributeMLPs(attributes, dim_x + self.extra, 2 * dim_y, hidden)

    def gaussian(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(c|x), each (A, B, dim_y)."""
        mean, raw = self.mlps(self.inputs(x, y)).chunk(2, dim=-1)
        return mean, self.log_variance * torch.tanh(raw / self.log_variance)

    def inputs(self, x: Tensor, y: Tensor | None) -> Tensor:
        """What q is conditioned on: x alone."""
        return normal(x, self.normalise)

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) given q and c (A, B, dim_y), mask (A, 1, dim_y) and shares (A, B)."""
        raise NotImplementedError

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats."""
        q = self.gaussian(x, y)
        self._count_saturated(q[1], self.log_variance, mask)
        return self.values(q, c.transpose(0, 1), mask[:, None], share, y)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Negative log-likelihood of q, (A,) in nats (constant left out)."""
        return -log_density(self.gaussian(x, y), c.transpose(0, 1), mask[:, None]).mean(1)


def log_density(q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor) -> Tensor:
    """log q(c|x) (A, B) in nats without its constant, for q and c (A, B, dim_y) and mask (A, 1, dim_y)."""
    mean, log_variance = q
    return -0.5 * (((c - mean).square() * (-log_variance).exp() + log_variance) * mask).sum(-1)


def gain_over(q: tuple[Tensor, Tensor], c: Tensor, first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """log q(c|x) - E log q(c'|x), (A, B) in nats, for negatives c' with moments E c' and E c'².

    The mean of a Gaussian log-density over negatives needs only their first two moments.
    """
    mean, log_variance = q
    negative = second - 2 * mean * first + mean.square()
    return (0.5 * (negative - (c - mean).square()) * (-log_variance).exp() * mask).sum(-1)
