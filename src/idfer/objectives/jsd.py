r"""JSD, as in Deep InfoMax: a stable lower bound of the Jensen-Shannon divergence trains the critic.

    J(x; c) = E_p(x,c) [ -softplus(-f) ] - E_p(x)p(c) [ softplus(f) ] + 2 log 2   ∈ (-∞, 2 log 2]      (nats)

(Nowozin et al. 2016, arXiv:1606.00709; Hjelm et al. 2019, arXiv:1808.06670). J is a lower bound of twice the
Jensen-Shannon divergence between joint and product, not of I. But its optimal critic is log p(x,c)/p(x)p(c),
so the value *reported* (`forward`) is Donsker-Varadhan's with that critic, a lower bound of I (Poole et al.
2019, arXiv:1905.06922, report NWJ's, which one wrongly scored pair of the batch can send to -10⁸ nats). What
the encoder minimises (`guarded`) is J itself: it is bounded, 0 where nothing is found, and its gradient does
not grow like e^I.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from idfer.objectives.separable_critic import (
    SeparableCritic,
    donsker_varadhan,
    log_mean_exp_others,
    mean_others,
    pairs,
)


class JSD(SeparableCritic):
    """JSD for A attributes in one batched operation; arguments as in `SeparableCritic`."""

    def values(self, scores: Tensor, share: Tensor) -> Tensor:
        """Donsker-Varadhan with the critic that J trained, (A, B) in nats."""
        return donsker_varadhan(pairs(scores), log_mean_exp_others(scores), share)

    def penalty(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """J, (A, B) in nats."""
        scores = self.scores(x, c)
        self._count_saturated(pairs(scores)[..., None], self.bound, mask[:, :1])
        return jensen_shannon(scores)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """-J, (A,) in nats."""
        return -jensen_shannon(self.scores(x, c)).mean(1)


def jensen_shannon(scores: Tensor) -> Tensor:
    """J per sample, (A, B) in nats, for scores (A, B, B)."""
    return -F.softplus(-pairs(scores)) - mean_others(F.softplus(scores)) + 2 * math.log(2)
