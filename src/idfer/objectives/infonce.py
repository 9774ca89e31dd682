r"""InfoNCE: a lower bound of mutual information, for A pairs of variables at once.

    I(x; y) >= E_i [ f(x_i, y_i) - log ⅟B Σ_j exp f(x_i, y_j) ],   never above log B

(van den Oord, Li, Vinyals 2018, arXiv:1807.03748; bound: Poole et al. 2019, arXiv:1905.06922) with the
separable critic f_a(x, y) = <normalise(W_a x), normalise(y)> / τ_a. Used to maximise I(r[a]; c[a]).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InfoNCE(nn.Module):
    """InfoNCE for A attributes in one batched operation.

    Args:
        attributes: A, the number of variable pairs.
        dim_x: width of x.
        dim_y: width of y.
        temperature: initial τ; it is learned, bounded below by 0.01 (the bound of CLIP's own training).
    """

    def __init__(self, attributes: int, dim_x: int, dim_y: int, temperature: float = 0.1):
        super().__init__()
        self.project = nn.Parameter(torch.randn(attributes, dim_x, dim_y) / math.sqrt(dim_x))
        self.log_scale = nn.Parameter(torch.full((attributes,), -math.log(temperature)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats.

        Args:
            x: (B, A, dim_x).
            y: (B, A, dim_y).
        """
        query = F.normalize(torch.einsum("baf,afe->abe", x, self.project), dim=-1)
        key = F.normalize(y.transpose(0, 1), dim=-1)
        scale = self.log_scale.clamp(max=math.log(100.0)).exp()[:, None, None]
        scores = scale * query @ key.transpose(1, 2)
        return scores.diagonal(dim1=1, dim2=2) - scores.logsumexp(2) + math.log(len(x))
