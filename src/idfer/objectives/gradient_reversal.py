r"""An adversary that reads levels from x, and gradient reversal.

    critic:  min_θ Σ_a CE_a(θ, x)         encoder:  min_x Σ_a [ H(k_a) - CE_a(θ, x) ]      (nats)

(Ganin et al. 2016, JMLR 17:59, arXiv:1505.07818). H - CE is the Barber-Agakov lower bound of I(x; k) that the
adversary attains, H the entropy of the batch's mean posterior. Two ways to use it:

- `guarded`, by turns with `learning_loss`, as every other term. Below 0 the adversary does worse than
  guessing and gives no gradient: pushing on would only hide the attribute from this adversary [ours];
- `reversed_loss`, in one backward pass, the adversary descending and what is before it ascending.

x (B, dim_x) or (B, A, dim_x), c (B, A, K) posteriors, mask (A, K) the levels that exist, returns (A, B).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from idfer.objectives.discrete import entropy
from idfer.objectives.level_decoder import LevelDecoder


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        reversed_: Tensor = -ctx.strength * gradients[0]
        return reversed_, None


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """x itself; in the backward pass the gradient is multiplied by -strength."""
    result: Tensor = _Reverse.apply(x, strength)
    return result


class Adversary(LevelDecoder):
    """Small networks that read each attribute's levels from x; arguments as in `LevelDecoder`."""

    def values(self, log_q: Tensor, p: Tensor, share: Tensor) -> Tensor:
        """H - CE, (A, B) in nats."""
        guess = entropy((share[..., None] * p).sum(1))
        return guess[:, None] + (p * log_q).sum(-1)

    def reversed_loss(
        self, x: Tensor, c: Tensor, mask: Tensor | None = None, strength: float = 1.0
    ) -> Tensor:
        """Σ_a CE_a in nats, a scalar; x receives its gradient times -strength.

        Args:
            x: (B, dim_x) or (B, A, dim_x).
            c: (B, A, K) posteriors.
            mask: (A, K), or None where no level is padded.
            strength: how hard the encoder works against the adversary.
        """
        mask = c.new_ones(c.shape[1:]) if mask is None else mask
        return self.losses(reverse_gradient(x, strength), c * mask, mask, None).sum()
