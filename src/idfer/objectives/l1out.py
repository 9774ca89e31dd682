r"""Leave-one-out: an upper bound of mutual information from the other samples' conditionals.

    I(x; c) <= E_i [ log q(c_i|x_i) - log 1/(B-1) Σ_{j≠i} q(c_i|x_j) ]      (nats)

(Poole et al. 2019, arXiv:1905.06922, section 2.3). An upper bound in expectation when q is the true p(c|x);
with a fitted Gaussian q it inherits q's error, in either direction. Tighter than CLUB, whose negative term is
the mean of the logarithms instead of the logarithm of the mean (Jensen), for O(B²) instead of O(B).

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B); all pairs by matrix products.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from idfer.objectives.gaussian_decoder import GaussianDecoder


class L1Out(GaussianDecoder):
    """Leave-one-out bound for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the (whitened) attribute vectors c[a].
        hidden: width of q's hidden layer.
        log_variance: bound of |log σ²| in nats; in float32 the expanded square loses e^12 · 10⁻⁷ = 0.02 nats.
        normalise: layer-normalise x.
    """

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        log_variance: float = 12.0,
        normalise: bool = True,
    ):
        super().__init__(attributes, dim_x, dim_y, hidden, log_variance, normalise)

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) in nats."""
        pairs = pair_log_density(q, c, mask)
        itself = torch.eye(c.shape[1], dtype=torch.bool, device=c.device)
        others = pairs.masked_fill(itself, -math.inf).logsumexp(2) - math.log(c.shape[1] - 1)
        return pairs.diagonal(dim1=1, dim2=2) - others


def pair_log_density(q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor) -> Tensor:
    """log q(c_i|x_j) as (A, B, B) in nats without its constant: the square is expanded into products."""
    mean, log_variance = q
    precision = (-log_variance).exp() * mask
    constant = (mean.square() * precision + log_variance * mask).sum(-1)
    square = torch.cat([c.square(), -2 * c], -1) @ torch.cat([precision, mean * precision], -1).mT
    return -0.5 * (square + constant[:, None])
