r"""Label-conditional CLUB: an upper bound of what x tells of c beyond what the label y implies [ours].

    I(x; c | y) <= E_p(x,c,y) log q(c|x,y) - E_p(x,y) E_p(c'|y) log q(c'|x,y)      (nats)

CLUB (Cheng et al. 2020, arXiv:2006.12013) within each y. Where labels and attributes are correlated,
minimising I(x; c) fights the labels: a perfect x = y still has I(x; c) = I(y; c) > 0. This term is 0 for it.
p(c'|y_i) is the batch's other samples j weighted by a kernel, w_ij ∝ exp(-|y_i - y_j|² / 2h²), w_ii = 0,
whose rows sum to 1. A wide h lets label information through as leakage; a narrow one leaves few negatives.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), y (B, 2) in [-1, 1], returns (A, B); O(B²) by matrix products.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from idfer.objectives.gaussian_decoder import GaussianDecoder, gain_over


class ConditionalCLUB(GaussianDecoder):
    """vCLUB of I(x; c[a] | y) for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the (whitened) attribute vectors c[a].
        hidden: width of q's hidden layer.
        log_variance: bound of |log σ²|, in nats.
        normalise: layer-normalise x.
        bandwidth: h, in units of the labels.
    """

    extra = 2

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        log_variance: float = 6.0,
        normalise: bool = True,
        bandwidth: float = 0.1,
    ):
        super().__init__(attributes, dim_x, dim_y, hidden, log_variance, normalise)
        self.bandwidth = bandwidth

    def inputs(self, x: Tensor, y: Tensor | None) -> Tensor:
        """x and the label: with q(c|x) alone the bound would not hold."""
        label = _given(y)
        features = super().inputs(x, None)
        if features.dim() == 3:
            label = label[:, None].expand(-1, features.shape[1], -1)
        return torch.cat([features, label.to(features.dtype)], -1)

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) in nats."""
        weight = label_neighbours(_given(y).to(c.dtype), self.bandwidth)
        return gain_over(q, c, weight @ c, weight @ c.square(), mask)


def label_neighbours(y: Tensor, bandwidth: float) -> Tensor:
    """(B, B) weights of the samples j as negatives of i: near in label, never oneself, rows sum to 1."""
    distance = (y[:, None] - y[None]).square().sum(-1)
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    # a softmax: a label far from all others still has its nearest neighbours instead of 0 / 0
    return (-0.5 * distance / bandwidth**2).masked_fill(itself, -math.inf).softmax(1)


def _given(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("ConditionalCLUB needs the labels: pass y=(B, 2) valence and arousal.")
    return y
