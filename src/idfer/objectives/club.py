r"""CLUB: an upper bound of mutual information to minimise, for A attributes at once.

    I(x; c) <= E_p(x,c) log q(c|x) - E_p(x) E_p(c) log q(c|x)      (nats)

(Cheng et al. 2020, arXiv:2006.12013), here vCLUB: q(c|x) is a Gaussian with learned mean and variance
(`gaussian_decoder.py`). It bounds I only while q is accurate; with the true Gaussian q of correlation ρ it is
ρ²/(1 - ρ²) per dimension, so it overshoots more the more there is to know. Known failures and what guards
them [ours]:

- a negative estimate, whose minimisation diverges: an attribute's mean below 0 contributes no gradient;
- a saturated log-variance: it passes through a tanh that keeps it in ±`log_variance`;
- negatives that include the positive: sample i is left out of its own negatives;
- scale: x is layer-normalised without affine, so shrinking the features gains nothing;
- a non-finite estimate contributes nothing.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B). The cost is O(B), not O(B²).
"""

from __future__ import annotations

from torch import Tensor

from idfer.objectives.gaussian_decoder import GaussianDecoder, gain_over


class CLUB(GaussianDecoder):
    """vCLUB for A attributes in one batched operation; arguments as in `GaussianDecoder`."""

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) in nats over all B - 1 negatives of each sample."""
        others = c.shape[1] - 1
        first = (c.sum(1, keepdim=True) - c) / others
        second = (c.square().sum(1, keepdim=True) - c.square()) / others
        return gain_over(q, c, first, second, mask)
