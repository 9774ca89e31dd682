r"""Identity as evidence of the label: what attaching an attribute adds to a prediction [ours].

Training makes f(z_exp) blind to what identity says of the label (`conditional_information`, decorrelation
weights), so N(f, s_f²) is what the face shows to one who does not look at identity, s_f its error on weighted
training faces. Attaching attributes multiplies in what they say, detaching leaves it out:

    p(y | face, attached) ∝ N(y; f, s_f²) p(y | attached) / p(y)

    c[a] = softmax(W_a r[a])            levels as the identity feature knows them
    p(y | attached) = N(m + Σ_a w_a g_a, τ²),   τ² = s_J² + Σ_a (1 - w_a) v_a,   w_a = 1 - m[a]
    ŷ = ( f / s_f² + (m + Σ_a w_a g_a) / τ² - m / s² ) / ( 1 / s_f² + 1 / τ² - 1 / s² )

(`statistics/label_evidence.py`). All detached, ŷ is f. With the form `distilled` r[a] is read from the image,
so that no CLIP is needed at run time. Strengths outside [0, 1] extrapolate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from idfer.statistics.label_evidence import LabelEvidence

_FITTED = ("slope", "centre", "mean", "variance", "left", "explained")
_DECAY = 0.99  # of the running error in the end: about the last hundred batches
_LEAST = 0.1  # of the precision 1 / s_f² is left, however far strengths above 1 divide out


class Evidence(nn.Module):
    """Reads attribute levels from identity features, and what they say of valence and arousal.

    Args:
        levels: number of levels of each of A attributes.
        dim: D, width of identity features.
    """

    slope: Tensor
    centre: Tensor
    mean: Tensor
    variance: Tensor
    left: Tensor
    explained: Tensor
    error: Tensor
    mask: Tensor

    def __init__(self, levels: tuple[int, ...], dim: int):
        super().__init__()
        count, width = len(levels), max(levels)
        self.weight = nn.Parameter(torch.randn(count, width, dim) / math.sqrt(dim))
        self.bias = nn.Parameter(torch.zeros(count, width))
        missing = torch.arange(width) >= torch.tensor(levels)[:, None]
        self.register_buffer("mask", torch.zeros(count, width).masked_fill(missing, -torch.inf), False)
        self.register_buffer("slope", torch.zeros(count, width, 2))
        self.register_buffer("centre", torch.zeros(count, width))
        self.register_buffer("explained", torch.zeros(count, 2))
        self.register_buffer("mean", torch.zeros(2))
        for name in ("variance", "left", "error"):
            self.register_buffer(name, torch.ones(2))

    def take(self, fitted: LabelEvidence) -> None:
        """Keep what attributes say of the training labels, and their variance as the first error of f."""
        for name in _FITTED:
            buffer: Tensor = getattr(self, name)
            buffer.copy_(torch.from_numpy(getattr(fitted, name)))
        self.error.copy_(self.variance)

    @torch.no_grad()
    def measure(self, f: Tensor, label: Tensor, weight: Tensor, step: int) -> None:
        """Take the errors of predictions f (B, 2) of weighted (B,) training faces into account.

        The mean runs faster in the first of the training's steps, counted from 0: else a short training keeps
        the error it began with, and attached attributes outweigh the face.
        """
        square = (weight[:, None] * (f.float() - label).square()).sum(0) / weight.sum().clamp_min(1e-6)
        self.error.lerp_(square.clamp_min(1e-4), 1 - min(_DECAY, (1 + step) / (10 + step)))

    def log_levels(self, identity: Tensor) -> Tensor:
        """(B, A, K) log-probabilities of the levels, -inf where an attribute has fewer; of (B, A, D)."""
        logits = torch.einsum("bad,akd->bak", identity, self.weight) + self.bias + self.mask
        return logits.log_softmax(-1)

    def forward(self, identity: Tensor) -> Tensor:
        """(B, A, 3) evidence of identity features (B, A, D): g of valence and arousal, and 1 for "known".

        Strengths multiply all three, so that evidence of several faces adds up.
        """
        levels = self.log_levels(identity.float()).exp()
        said = torch.einsum("bak,akd->bad", levels - self.centre, self.slope)
        return torch.cat([said, torch.ones_like(said[..., :1])], -1)

    def attached(self, f: Tensor, evidence: Tensor) -> Tensor:
        """ŷ (B, 2) of predictions f (B, 2) and the evidence (B, A, 3) attached to them, strengths applied."""
        known = evidence[..., 2:]
        spread = self.left + ((1 - known) * self.explained).sum(1)
        spread = torch.maximum(spread, self.left)
        said = (self.mean + evidence[..., :2].sum(1)) / spread - self.mean / self.variance
        precision = 1 / self.error + 1 / spread - 1 / self.variance
        return (f / self.error + said) / torch.maximum(precision, _LEAST / self.error)
