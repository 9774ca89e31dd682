r"""Identity as evidence of the label: what attaching an attribute adds to a prediction [ours].

Training takes q(y | z, identity) = p(y | identity) N(y; f(z_exp), σ²) / Z (`conditional_information`), so f
is what the face shows once what identity says of the label is taken out. Attaching attribute a multiplies its
evidence p(y | a) / p(y) back in, detaching divides it out:

    c[a] = softmax(W_a r[a])            levels as the identity feature knows them: no CLIP at run time
    ŷ = ( f / σ² + Σ_a (1 - m[a]) η_a ) / ( 1 / σ² + Σ_a (1 - m[a]) Λ_a )

with η_a, Λ_a the natural parameters of `statistics/label_evidence.py`. All detached, ŷ is f.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from idfer.objectives.conditional_information import SIGMA
from idfer.statistics.label_evidence import LabelEvidence

_LEAST = 0.1  # of the precision 1 / σ² is left, however far strengths above 1 divide out


class Evidence(nn.Module):
    """Reads attribute levels from identity features, and what they say of valence and arousal.

    Args:
        levels: number of levels of each of A attributes.
        dim: D, width of identity features.
    """

    slope: Tensor
    centre: Tensor
    offset: Tensor
    precision: Tensor
    mask: Tensor

    def __init__(self, levels: tuple[int, ...], dim: int):
        super().__init__()
        count, width = len(levels), max(levels)
        self.weight = nn.Parameter(torch.randn(count, width, dim) / math.sqrt(dim))
        self.bias = nn.Parameter(torch.zeros(count, width))
        self.log_sigma = nn.Parameter(torch.full((2,), math.log(0.3)))
        missing = torch.arange(width) >= torch.tensor(levels)[:, None]
        self.register_buffer("mask", torch.zeros(count, width).masked_fill(missing, -torch.inf), False)
        for name, shape in {
            "slope": (count, width, 2),
            "centre": (count, width),
            "offset": (count, 2),
            "precision": (count, 2),
        }.items():
            self.register_buffer(name, torch.zeros(shape))

    def take(self, fitted: LabelEvidence) -> None:
        """Keep what attributes say of the training labels."""
        for name in ("slope", "centre", "offset", "precision"):
            buffer: Tensor = getattr(self, name)
            buffer.copy_(torch.from_numpy(getattr(fitted, name)))

    def log_levels(self, identity: Tensor) -> Tensor:
        """(B, A, K) log-probabilities of the levels, -inf where an attribute has fewer; of (B, A, D)."""
        logits = torch.einsum("bad,akd->bak", identity, self.weight) + self.bias + self.mask
        return logits.log_softmax(-1)

    def forward(self, identity: Tensor) -> Tensor:
        """(B, A, 4): η of valence and arousal, then Λ of both, of identity features (B, A, D)."""
        levels = self.log_levels(identity.float()).exp()
        eta = torch.einsum("bak,akd->bad", levels - self.centre, self.slope) + self.offset
        return torch.cat([eta, self.precision.expand(len(eta), -1, -1)], -1)

    def attached(self, f: Tensor, evidence: Tensor) -> Tensor:
        """ŷ (B, 2) of predictions f (B, 2) and the evidence (B, 4) attached to them, strengths applied."""
        own = (-2 * self.log_sigma.clamp(math.log(SIGMA[0]), math.log(SIGMA[1]))).exp()
        eta, precision = evidence.chunk(2, -1)
        return (f * own + eta) / torch.maximum(own + precision, _LEAST * own)
