r"""f_a(x, c): a critic of pairs, on which the variational lower bounds stand.

    f_a(x, c) = β tanh( s_a(x, c) / β ),
    s_a(x, c) = e^t_a [ <g_a(x), h_a(c)> / √e + x' M_a c + u_a(x) + v_a(c) ]      (nats)

A separable critic (van den Oord et al. 2018, arXiv:1807.03748; Poole et al. 2019, arXiv:1905.06922) scores
all B² pairs with one product. The optimal critic of every bound here is log p(x,c)/p(x)p(c) up to a constant;
for a Gaussian pair that is bilinear plus a function of each alone, which is what M, u and v are for, and
steep where I is large, which is what the learned scale t is for [ours]. x and c enter as asinh x and asinh c,
an invertible map that leaves I alone and takes the weight off heavy tails: one far pair must not decide E e^f
[ours]. The tanh keeps a log-ratio within ±β, so that e^f stays finite [ours]; x is layer-normalised.

The encoder minimises what the critic maximises. A lower bound that is minimised promises nothing by itself:
it only says what *this* critic still finds.

x (B, dim_x) or (B, A, dim_x), c (B, A, dim_y). Negatives of sample i are all j ≠ i.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from idfer.objectives.attribute_mlps import AttributeMLPs
from idfer.objectives.penalty_term import PenaltyTerm, normal


class SeparableCritic(PenaltyTerm):
    """A critic for A attributes in one batched operation; a subclass gives `values`.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of the attribute vectors c[a].
        hidden: width of the hidden layers.
        embed: e, width of the embeddings whose inner product is taken.
        bound: β, in nats.
        normalise: layer-normalise x; False only where x's scale is fixed from outside.
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
    ):
        super().__init__(attributes, dim_x, dim_y)
        self.attributes, self.embed, self.bound, self.normalise = attributes, embed, bound, normalise
        self.from_x = AttributeMLPs(attributes, dim_x, embed + 1, hidden, scale=1.0)
        self.from_c = AttributeMLPs(attributes, dim_y, embed + 1, hidden, scale=1.0)
        self.bilinear = nn.Parameter(torch.zeros(attributes, dim_x, dim_y))
        self.log_scale = nn.Parameter(torch.zeros(attributes))

    def scores(self, x: Tensor, c: Tensor) -> Tensor:
        """f_a(x_i, c_j) as (A, B, B), in nats."""
        x, c = normal(x, self.normalise).asinh(), c.asinh()
        shared = "bf,afe->abe" if x.dim() == 2 else "baf,afe->abe"
        g, u = self.from_x(x).split([self.embed, 1], -1)
        h, v = self.from_c(c).split([self.embed, 1], -1)
        query = torch.cat([g / math.sqrt(self.embed), torch.einsum(shared, x, self.bilinear)], -1)
        raw = query @ torch.cat([h, c.transpose(0, 1)], -1).mT + u + v.mT
        raw = raw * self.log_scale.exp()[:, None, None]
        return self.bound * torch.tanh(raw / self.bound)

    def values(self, scores: Tensor, share: Tensor) -> Tensor:
        """The bound (A, B) in nats given scores (A, B, B) and shares (A, B)."""
        raise NotImplementedError

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats."""
        scores = self.scores(x, c)
        self._count_saturated(pairs(scores)[..., None], self.bound, mask[:, :1])
        return self.values(scores, share)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Minus the bound, (A,) in nats."""
        scores = self.scores(x, c)
        return -self.values(scores, torch.full_like(scores[..., 0], 1 / len(c))).mean(1)


def pairs(scores: Tensor) -> Tensor:
    """f(x_i, c_i), (A, B)."""
    return scores.diagonal(dim1=1, dim2=2)


def log_mean_exp_others(scores: Tensor) -> Tensor:
    """log 1/(B-1) Σ_{j≠i} exp f(x_i, c_j), (A, B)."""
    itself = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(itself, -math.inf).logsumexp(2) - math.log(scores.shape[1] - 1)


def mean_others(values: Tensor) -> Tensor:
    """1/(B-1) Σ_{j≠i} values_ij of (A, B, B), (A, B)."""
    return (values.sum(2) - pairs(values)) / (values.shape[1] - 1)


def donsker_varadhan(joint: Tensor, negative: Tensor, share: Tensor) -> Tensor:
    """f_i - log Σ_k s_k exp r_k, (A, B): the second term is one batch statistic, so rows share it.

    Args:
        joint: (A, B) f at the pairs.
        negative: (A, B) log mean exp f over each sample's negatives.
        share: (A, B) summing to 1; a share of 0 leaves a sample out.
    """
    return joint - (negative + share.log()).logsumexp(1, keepdim=True)
