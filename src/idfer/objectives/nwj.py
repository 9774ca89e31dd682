r"""NWJ: an unbiased variational lower bound of mutual information.

    I(x; c) >= 1 + E_p(x,c) f - E_p(x)p(c) e^f      (nats)

(Nguyen, Wainwright, Jordan 2010, arXiv:0809.0853; as f-GAN KL in Nowozin et al. 2016, arXiv:1606.00709), f
the critic of `separable_critic.py`; tight at f = log p(x,c)/p(x)p(c). Its variance grows like e^I (Song,
Ermon 2020, arXiv:1910.06222): beyond a few nats single batches swing wildly.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B).
"""

from __future__ import annotations

from torch import Tensor

from idfer.objectives.separable_critic import SeparableCritic, log_mean_exp_others, pairs


class NWJ(SeparableCritic):
    """NWJ for A attributes in one batched operation; arguments as in `SeparableCritic`."""

    def values(self, scores: Tensor, share: Tensor) -> Tensor:
        """1 + f_ii - mean_{j≠i} exp f_ij, (A, B) in nats."""
        return 1 + pairs(scores) - log_mean_exp_others(scores).exp()
