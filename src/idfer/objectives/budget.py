r"""The information budget: how many nats about the image a *sampled* feature can carry.

    z ~ N(μ(x), σ²(x)),  rate(x) = KL( N(μ, σ²) || N(0, I) ) = ½ Σ_d [ μ_d² + σ_d² - 1 - log σ_d² ]   (nats)

(deep variational information bottleneck: Alemi et al. 2017, arXiv:1612.00410). The certificate: for any fixed
reference r, here N(0, I),

    E_x rate = I(z; x) + KL( p(z) || r ) >= I(z; x) >= I(z; anything that is a function of the image)

so the mean rate bounds from above what any probe, however strong, can learn about identity from z: I(z; id)
<= mean rate. Where identity and emotion y are independent, I(z; id) + I(z; y) <= I(z; id, y) <= mean rate, so
that I(z; id) <= mean rate - I(z; y), with any *lower* bound of I(z; y) in its place. It holds for the sample
z, not for μ, which may carry any amount; and for the distribution of faces over which the mean is taken.

mean and log_variance (B, D); rate (B,), sample (B, D).
"""

from __future__ import annotations

import torch
from torch import Tensor


def rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL from N(mean, exp(log_variance)) to N(0, I), (B,) in nats.

    Args:
        mean: (B, D).
        log_variance: (B, D), of a diagonal Gaussian.
    """
    # expm1: e^l - 1 loses its digits near l = 0, where a feature carries nothing
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(-1)


def sample(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A draw of z, (B, D), differentiable in mean and log_variance.

    Args:
        mean: (B, D).
        log_variance: (B, D).
        generator: of the noise; None uses torch's global one.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + (0.5 * log_variance).exp() * noise
