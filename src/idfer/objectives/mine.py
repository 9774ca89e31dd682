r"""MINE: the Donsker-Varadhan lower bound with its gradient corrected by a moving average.

    I(x; c) >= E_p(x,c) f - log E_p(x)p(c) e^f      (nats)

(Donsker, Varadhan 1983; Belghazi et al. 2018, arXiv:1801.04062). The gradient of the second term in a batch,
E[e^f ∇f] / E[e^f], is biased, as a ratio; the critic's replaces the denominator by an exponential moving
average over batches. The logarithm itself stays a batch's: by Jensen the estimate from B samples lies above
the bound on average, the more the larger I. The encoder's gradient (`guarded`) is that of the value.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B); all samples share the second term.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from idfer.objectives.separable_critic import SeparableCritic, donsker_varadhan, log_mean_exp_others, pairs


class MINE(SeparableCritic):
    """MINE for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the attribute vectors c[a].
        hidden: width of the hidden layers.
        embed: width of the embeddings whose inner product is taken.
        bound: β of the critic, in nats.
        normalise: layer-normalise x.
        decay: share of the newest batch in the moving average.
    """

    log_average: Tensor
    seen: Tensor

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        embed: int = 32,
        bound: float = 30.0,
        normalise: bool = True,
        decay: float = 0.1,
    ):
        super().__init__(attributes, dim_x, dim_y, hidden, embed, bound, normalise)
        self.decay = decay
        self.register_buffer("log_average", torch.zeros(attributes))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def values(self, scores: Tensor, share: Tensor) -> Tensor:
        """The bound (A, B) in nats."""
        return donsker_varadhan(pairs(scores), log_mean_exp_others(scores), share)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Minus the bound (A,) in nats, with the corrected gradient; moves the average on."""
        scores = self.scores(x, c)
        joint = pairs(scores).mean(1)
        negative = log_mean_exp_others(scores).logsumexp(1) - math.log(len(c))
        newest = negative.detach()
        moved = torch.logaddexp(self.log_average + math.log1p(-self.decay), newest + math.log(self.decay))
        average = torch.where(self.seen, moved, newest)
        finite = torch.isfinite(average)
        self.log_average.copy_(torch.where(finite, average, self.log_average))
        self.seen.fill_(True)
        # gradient of e^(negative - average) is E[e^f ∇f] / average; the value shown stays the bound's
        corrected = (negative - average).exp()
        return -(joint - (corrected + (negative - corrected).detach()))
