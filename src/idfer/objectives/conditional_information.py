r"""Conditional information I(z; y | identity): expression-efficient, no gain from who it is [ours].

    I(z; y | id) >= E log q(y | z, id) / p(y | id),     q(y | z, id) = p(y | id) N(y; f(z), σ²) / Z
                 =  E [ log N(y; f(z), σ²) - log Σ_b p(y_b | id) N(y_b; f(z), σ²) ]          (nats)

(Barber and Agakov 2003 give the bound; the decoder, a product of the prior and of one that sees z alone, is
that of logit adjustment (Menon et al. 2021, arXiv:2007.07314) and of Balanced MSE (Ren et al. 2022,
arXiv:2203.16427), there with the marginal p(y) in place of p(y | id).) What identity says of the label is in
the prior already, so f gains nothing by saying it again: unlike in L_VA, a shortcut through age earns
nothing. Unlike importance weights, every face counts in full. The inequality holds where p(y | id) is the
estimate of what identity says of the label, as far as that is right; not where it is sharpened (`prior_power`
t != 1), for then the opposite of a shortcut can earn.

f (B, 2), y (B, 2), log_p (B, 2, K), grid (K,), log_sigma (2,); returns (B,) nats, summed over both labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIGMA = (0.05, 1.0)  # bounds of σ: labels lie in [-1, 1], and no rater is surer than a twentieth


def conditional_information(f: Tensor, y: Tensor, log_p: Tensor, grid: Tensor, log_sigma: Tensor) -> Tensor:
    """The bound per sample, (B,) in nats; its mean is maximised.

    Args:
        f: (B, 2) predicted valence and arousal.
        y: (B, 2) labels in [-1, 1].
        log_p: (B, 2, K) log p(y_b | identity).
        grid: (K,) labels y_b.
        log_sigma: (2,) log σ, learned; kept within `SIGMA`.
    """
    precision = (-2 * log_sigma.clamp(math.log(SIGMA[0]), math.log(SIGMA[1]))).exp()
    fits = -0.5 * precision * (y - f).square()
    others = log_p - 0.5 * precision[:, None] * (grid - f[..., None]).square()
    return (fits - torch.logsumexp(others, dim=-1)).sum(-1)
