r"""SMILE: Donsker-Varadhan with the density ratio clipped where its variance comes from.

    I(x; c) ≈ E_p(x,c) f - log E_p(x)p(c) clip(e^f, e^-τ, e^τ)      (nats)

(Song, Ermon 2020, arXiv:1910.06222); the critic f is trained by J of `jsd.py`, as there. τ trades variance
for bias: clipping makes the second term too small, so the value is no longer a strict lower bound; τ = ∞ is
Donsker-Varadhan with J's critic.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B); all samples share the second term.
"""

from __future__ import annotations

from torch import Tensor

from idfer.objectives.jsd import jensen_shannon
from idfer.objectives.separable_critic import SeparableCritic, donsker_varadhan, log_mean_exp_others, pairs


class SMILE(SeparableCritic):
    """SMILE for A attributes in one batched operation.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the attribute vectors c[a].
        hidden: width of the hidden layers.
        embed: width of the embeddings whose inner product is taken.
        bound: β of the critic, in nats.
        normalise: layer-normalise x.
        tau: τ, in nats.
    """

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        embed: int = 32,
        bound: float = 30.0,
        normalise: bool = True,
        tau: float = 5.0,
    ):
        super().__init__(attributes, dim_x, dim_y, hidden, embed, bound, normalise)
        self.tau = tau

    def values(self, scores: Tensor, share: Tensor) -> Tensor:
        """The estimate (A, B) in nats."""
        clipped = scores.clamp(-self.tau, self.tau)
        return donsker_varadhan(pairs(scores), log_mean_exp_others(clipped), share)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """-J of the critic, (A,) in nats."""
        return -jensen_shannon(self.scores(x, c)).mean(1)
