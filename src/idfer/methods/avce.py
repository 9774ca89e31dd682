r"""AVCE: contrast a sparse and a smooth view of the feature by angle and length in the valence-arousal plane.

    L = L_VA - λ AVCE + λ R
    AVCE = E_i [ s⁺_i - ½ E_j s⁻_ij - 0.0025 s⁺_i² - 0.25 E_j s⁻_ij² ]
    s(a, b) = clamp(1 - ¼ acos(½ cos(a, b)) / π) + 0.8 (1 - ||a| - |b||) - 0.05 [valences differ in sign]
    s⁺_i = s(ŷ_i, ŷ⁺_i),   s⁻_ij = s(ŷ_i, ŷ⁻_j),   ŷ± = head(U v±)
    v⁺ = sparsemax(W z_exp),   v⁻ = softmax(W z_exp)

(Kim, Song 2022, ECCV, doi 10.1007/978-3-031-19778-9_11; the contrast is relative predictive coding, Tsai et
al. 2021, arXiv:2103.11275; sparsemax: Martins, Astudillo 2016, ICML, arXiv:1602.02068). λ = 1e-4, all
numbers above and the 32 dimensions of a view are [lineage]. [ours]:

- a view comes back to the feature's width by U and is read by the network's own head;
- the inner mean E_j runs over the negative views of all faces of the batch;
- the source has a margin regulariser of unknown form; here R = E_i relu(margin - s⁺_i + E_j s⁻_ij);
- |a| is sqrt(v² + a² + 1e-8): its gradient exists at the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import Companion, within
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


def sparsemax(x: Tensor) -> Tensor:
    """Euclidean projection of each row (..., n) onto the simplex: like softmax, with exact zeros."""
    ordered = x.sort(dim=-1, descending=True).values
    total = ordered.cumsum(-1) - 1
    rank = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
    # the largest always counts; a row with NaN counts none, stays NaN and stops the run at the loss
    support = (rank * ordered > total).sum(-1, keepdim=True).clamp_min(1)
    threshold = total.gather(-1, support - 1) / support
    return F.relu(x - threshold)


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """s of points of the valence-arousal plane, (..., 2) each, broadcast; larger is more alike."""
    length_a, length_b = ((p.square().sum(-1) + 1e-8).sqrt() for p in (a, b))
    cosine = (a * b).sum(-1) / (length_a * length_b)
    angle = (1 - 0.25 * torch.acos(0.5 * cosine) / math.pi).clamp(0, 1)
    differ = (torch.sign(a[..., 0]) != torch.sign(b[..., 0])).float()
    return angle + 0.8 * (1 - (length_a - length_b).abs()) - 0.05 * differ


def contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """AVCE, a scalar to maximise, of s⁺ (B,) and s⁻ (B, N)."""
    gain = positive - 0.5 * negative.mean(1)
    return (gain - 0.0025 * positive.square() - 0.25 * negative.square().mean(1)).mean()


def margin_loss(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """R, a scalar: how far s⁺ (B,) is from exceeding the mean of s⁻ (B, N) by `margin`."""
    return F.relu(margin - positive + negative.mean(1)).mean()


class Views(nn.Module):
    """W and U: the positive and negative view of a feature, back at the feature's width.

    Args:
        dim: width of the feature.
        width: of a view.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B, dim) -> positive and negative view, (B, dim) each."""
        view = self.down(feature)
        return self.up(sparsemax(view)), self.up(view.softmax(-1))


class AVCE(Plain):
    """L_VA and the multi-view contrast."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the contrast.

        Attributes:
            weight: λ, weight of contrast and regulariser.
            margin: of the regulariser.
            width: dimensions of a view.
        """

        weight: float = 1e-4
        margin: float = 0.1
        width: int = 32

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight", "margin")
            within(self, 2, inf, "width")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        self.views = Views(setup.network.dim, self.terms.width)
        self.companion = Companion("views", self.views, self.fabric, self.budget)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, L_VA, AVCE, R and the means of both similarities."""
        prediction = self.network(batch.image)
        said = prediction.valence_arousal.float()
        head = self.network.module.head
        positive, negative = (head(view).float() for view in self.views(prediction.expression.float()))
        alike, unlike = similarity(said, positive), similarity(said[:, None], negative[None])
        avce, margin = contrast(alike, unlike), margin_loss(alike, unlike, self.terms.margin)
        va = va_loss(said, batch.target, batch.sample_weight)
        loss = va + self.terms.weight * (margin - avce)
        self.companion.clear()
        self.descend(loss)  # its backward pass reaches the views too
        self.companion.step()
        return numbers(
            loss=loss, va=va, avce=avce, margin=margin, positive=alike.mean(), negative=unlike.mean()
        )

    def modules(self) -> dict[str, nn.Module]:
        """The network and the views."""
        return super().modules() | self.companion.modules()

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and schedule of both."""
        return super().optimizers() | self.companion.optimizers()
