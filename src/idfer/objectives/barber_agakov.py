r"""Barber-Agakov: a lower bound of mutual information through a decoder.

    I(x; c) >= H(c) + E log q(c|x)      (nats)

(Barber, Agakov 2003, "The IM algorithm", NIPS 16), q the Gaussian of `gaussian_decoder.py`.

H(c) is not known for a continuous c. Here it is that of a Gaussian with the batch's (weighted) variance in
each coordinate: ½ Σ_d log 2πe σ_d². That is exact for uncorrelated Gaussian c, and otherwise too large
(a Gaussian has the most entropy), so the value may then exceed I by c's negentropy. Whitened c are
uncorrelated. The gradient, which needs no H(c), is that of a lower bound in any case. A coordinate that is
constant in the batch tells nothing and counts 0.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B).
"""

from __future__ import annotations

import math

from torch import Tensor

from idfer.objectives.gaussian_decoder import GaussianDecoder, log_density


class BarberAgakov(GaussianDecoder):
    """The bound for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the (whitened) attribute vectors c[a].
        hidden: width of q's hidden layer.
        log_variance: bound of |log σ²| in nats; q can then tell no more than half of it per dimension.
        normalise: layer-normalise x.
    """

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        log_variance: float = 12.0,
        normalise: bool = True,
    ):
        super().__init__(attributes, dim_x, dim_y, hidden, log_variance, normalise)

    def values(
        self, q: tuple[Tensor, Tensor], c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None
    ) -> Tensor:
        """The bound (A, B) in nats; c's variance uses the shares."""
        centred = c - (share[..., None] * c).sum(1, keepdim=True)
        variance = (share[..., None] * centred.square()).sum(1, keepdim=True)
        least = math.exp(-self.log_variance)
        mask = mask * (variance > least)
        entropy = 0.5 * ((variance.clamp_min(least).log() + 1) * mask).sum(-1)
        return entropy + log_density(q, c, mask)
