r"""InfoNCE: a lower bound of mutual information, for A pairs of variables at once.

    I(x; c) >= E_i [ f(x_i, c_i) - log ⅟B Σ_j exp f(x_i, c_j) ],   never above log B      (nats)

(van den Oord, Li, Vinyals 2018, arXiv:1807.03748; bound: Poole et al. 2019, arXiv:1905.06922) with the
separable critic f_a(x, c) = <normalise(g_a(x)), normalise(h_a(c))> / τ_a. By default g is linear and h the
identity, which suits whitened ID vectors; with `hidden` both are small networks. Used to maximise
I(r[a]; c[a]), or by turns with `learning_loss` to minimise what its critic finds. The cosine is scale-free.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y), returns (A, B). A single sample has I = log 1 = 0 by
definition.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.objectives.attribute_mlps import AttributeMLPs
from idfer.objectives.penalty_term import PenaltyTerm
from idfer.objectives.separable_critic import pairs


class InfoNCE(PenaltyTerm):
    """InfoNCE for A attributes in one batched operation.

    Args:
        attributes: A, the number of variable pairs.
        dim_x: width of x.
        dim_y: width of c.
        temperature: initial τ; it is learned, bounded below by 0.01 (the bound of CLIP's own training).
        hidden: width of the hidden layers of g and h; 0 for the linear critic.
        embed: width of their outputs.
    """

    least: ClassVar[int] = 1

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        temperature: float = 0.1,
        hidden: int = 0,
        embed: int = 64,
    ):
        super().__init__(attributes, dim_x, dim_y)
        self.from_x: AttributeMLPs | None = None
        self.from_c: AttributeMLPs | None = None
        if hidden:
            self.from_x = AttributeMLPs(attributes, dim_x, embed, hidden, scale=1.0)
            self.from_c = AttributeMLPs(attributes, dim_y, embed, hidden, scale=1.0)
        else:
            self.project = nn.Parameter(torch.randn(attributes, dim_x, dim_y) / math.sqrt(dim_x))
        self.log_scale = nn.Parameter(torch.full((attributes,), -math.log(temperature)))

    def scores(self, x: Tensor, c: Tensor) -> Tensor:
        """f_a(x_i, c_j) as (A, B, B), in nats."""
        if self.from_x is not None and self.from_c is not None:
            query, key = self.from_x(x), self.from_c(c)
        else:
            shared = "bf,afe->abe" if x.dim() == 2 else "baf,afe->abe"
            query, key = torch.einsum(shared, x, self.project), c.transpose(0, 1)
        scale = self.log_scale.clamp(max=math.log(100.0)).exp()[:, None, None]
        return scale * F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(1, 2)

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats."""
        scores = self.scores(x, c)
        return pairs(scores) - scores.logsumexp(2) + math.log(len(x))

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Minus the bound, (A,) in nats."""
        scores = self.scores(x, c)
        return scores.logsumexp(2).mean(1) - pairs(scores).mean(1) - math.log(len(x))
