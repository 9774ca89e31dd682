r"""HSIC: dependence of x and c[a] measured by kernels, without a critic; not an MI estimate.

    HSIC(x, c) = E k l + E k E l - 2 E_i [ E_j k E_q l ],    k, l Gaussian kernels of x and of c[a]
    normalised:  HSIC(x, c) / √( HSIC(x, x) HSIC(c, c) )   <= about 1      (no unit)

(Gretton et al. 2005, ALT; unbiased: Song et al. 2012, JMLR 13:1393; normalised as centred kernel alignment:
Kornblith et al. 2019, arXiv:1905.00414). 0 in expectation if x and c[a] are independent; with Gaussian
kernels only then. The estimate is the U-statistic over distinct samples, here with sample weights [ours]:
every sum over distinct i, j, q, r weighs w_i w_j w_q w_r and is divided by the sum of those weights. The
V-statistic (with i = j) is useless when normalised: in many dimensions it tends to 1 for independent x and c.

Squared distances are divided by their mean, with its gradient, so that scaling x changes nothing; the
bandwidth is then the median of the detached distances (the mean where the median is 0, as for hard levels).

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A,): a batch statistic. O(B²).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from idfer.objectives.penalty_term import PenaltyTerm, Sees

_CONSTANT = 1e-7  # below this HSIC(c, c) a variable is constant in the batch: dependence is defined as 0


class HSIC(PenaltyTerm):
    """HSIC for A attributes in one batched operation; it has no parameters.

    Args:
        attributes: A; these three are taken so that all terms are built alike, and not needed.
        dim_x: width of x.
        dim_y: width of c[a].
        normalised: divide by the root of both self-dependences.
    """

    sees: ClassVar[Sees] = "levels"
    least: ClassVar[int] = 4

    def __init__(self, attributes: int, dim_x: int, dim_y: int, normalised: bool = True):
        super().__init__(attributes, dim_x, dim_y)
        self.normalised = normalised

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """The dependence of each attribute, (A,)."""
        kernel_x = kernel(x[None] if x.dim() == 2 else x.transpose(0, 1))
        kernel_c = kernel(c.transpose(0, 1))
        between = hsic(kernel_x, kernel_c, share)
        if not self.normalised:
            return between
        scale = hsic(kernel_x, kernel_x, share), hsic(kernel_c, kernel_c, share)
        varies = (scale[0] > _CONSTANT) & (scale[1] > _CONSTANT)
        safe = torch.where(varies, scale[0] * scale[1], torch.ones_like(between))
        return torch.where(varies, between, torch.zeros_like(between)) / safe.sqrt()

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Zeros (A,): nothing learns. They take a backward pass, so that no caller needs to ask."""
        return x.new_zeros(c.shape[1], requires_grad=True)


def kernel(x: Tensor) -> Tensor:
    """Gaussian kernel of (A, B, d), (A, B, B), with 0 on the diagonal."""
    count = x.shape[1]
    x = x - x.mean(1, keepdim=True).detach()
    square = x.square().sum(-1)
    distance = (square[:, :, None] + square[:, None] - 2 * x @ x.mT).clamp_min(0)
    apart = 1 - torch.eye(count, dtype=x.dtype, device=x.device)
    distance = distance * apart
    distance = distance / (distance.sum((1, 2), keepdim=True) / (count * (count - 1))).clamp_min(1e-12)
    i, j = torch.triu_indices(count, count, 1, device=x.device)
    median = distance.detach()[:, i, j].median(1).values[:, None, None]
    width = torch.where(median > 0, median, torch.ones_like(median))
    return (-0.5 * distance / width).exp() * apart


def hsic(k: Tensor, m: Tensor, share: Tensor) -> Tensor:
    """Weighted unbiased HSIC of two kernels with 0 diagonals, (A,).

    Args:
        k: (A, B, B), or (1, B, B) shared.
        m: (A, B, B), or (1, B, B) shared.
        share: (A, B) sample weights w.
    """
    w = share * share.shape[1]  # of mean 1, so that products of four stay in range
    both = k * m
    row_k, row_m = _rows(k, w), _rows(m, w)
    within = _rows(both, w.square())
    two = (w * _rows(both, w)).sum(1)
    three = (w * (row_k * row_m - within)).sum(1)
    shared_one = (w.square() * (row_k * row_m - within)).sum(1)
    shared_both = (w.square() * within).sum(1)
    four = (w * row_k).sum(1) * (w * row_m).sum(1) - 4 * shared_one - 2 * shared_both
    # weights of all distinct pairs, triples and quadruples, from power sums (Newton's identities)
    p1, p2, p3, p4 = w.sum(1), w.square().sum(1), w.pow(3).sum(1), w.pow(4).sum(1)
    pairs = p1**2 - p2
    triples = p1**3 - 3 * p1 * p2 + 2 * p3
    quadruples = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
    # fewer than four samples with weight leave nothing distinct: defined as 0
    enough = quadruples > 1e-3
    unused = torch.ones_like(p1)
    value = (
        two / torch.where(enough, pairs, unused)
        + four / torch.where(enough, quadruples, unused)
        - 2 * three / torch.where(enough, triples, unused)
    )
    return torch.where(enough, value, torch.zeros_like(value))


def _rows(k: Tensor, w: Tensor) -> Tensor:
    """Σ_j k_ij w_j, (A, B)."""
    return (k @ w[..., None]).squeeze(-1)
