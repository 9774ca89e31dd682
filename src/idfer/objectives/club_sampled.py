r"""CLUB with one sampled negative per sample, instead of the mean over all.

    I(x; c) <= E_i [ log q(c_i|x_i) - log q(c_k(i)|x_i) ],   k(i) ≠ i drawn at random      (nats)

(Cheng et al. 2020, arXiv:2006.12013, "CLUBSample"). Its expectation over the draws is CLUB. Where CLUB's mean
is as cheap, as with our Gaussian q, it only adds noise; it is here for comparison and for a q without
moments.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B). The draw is torch's global generator's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.objectives.gaussian_decoder import GaussianDecoder, log_density


class ClubSampled(GaussianDecoder):
    """Sampled vCLUB for A attributes in one batched operation; arguments as in `GaussianDecoder`."""

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) in nats against one other sample, the same for all attributes."""
        return log_density(q, c, mask) - log_density(q, c[:, negatives(c.shape[1], c.device)], mask)


def negatives(count: int, device: torch.device) -> Tensor:
    """(B,) a random other sample for each: neighbours on a random circle, so never oneself."""
    order = torch.randperm(count, device=device)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other
