r"""AVCE: contrast a sparse and a smooth view of the feature by angle and length in the valence-arousal plane.

    step 1:   min L_VA - λ B AVCE          step 2:   min ρ R
    AVCE = E_i [ s⁺_i - ½ s⁻_i - 0.0025 s⁺_i² - 0.25 s⁻_i² ],   s±_i = s(ŷ_i, head_v(v±_i))
    s(a, b) = clamp(1 - ¼ acos(½ cos(a, b)) / π) + 0.8 (1 - ||a| - |b||) - 0.05 [valences differ in sign]
    R = E_i [ relu(1 - |p(v⁺) - p(v⁻)|²) + 0.01 (|p̂(v⁺) - p̂(v)| - 1 + |p̂(v⁻) - p̂(v)| - 1) ]
    v = relu(W z_exp),   v⁺ = sparsemax(v),   v⁻ = softmax(v)

(Kim, Song 2022, ECCV, doi 10.1007/978-3-031-19778-9_11; the contrast is relative predictive coding, Tsai et
al. 2021, arXiv:2103.11275; sparsemax: Martins, Astudillo 2016, ICML, arXiv:1602.02068). p̂ is p at unit
length. The public code [lineage] has all numbers above; λ = 1e-4 on a *sum* over the batch of B faces (256 or
128), so λ B here; negatives of the same face; 32-d views; head_v 32-256-2 with ½ tanh, apart from the
network's head; p a projector 32-64-8 with ReLUs; ρ = 1, in a step of its own on a second forward pass by the
same optimiser. There a mistaken broadcast takes the sign penalty of all faces from each; it has no gradient,
and is left out. [ours]:

- in the source v is on the road to the prediction (32-d); here it stands beside it, so that all methods have
  one network;
- W, head_v and p learn by AdamW with the network's schedule; theirs are SGD, 0.01, momentum 0.9;
- `two_steps: false` takes one step down the sum of both, at half the cost;
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
from idfer.methods.optimise import Companion, descend, within
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
    """AVCE, a scalar to maximise, of s⁺ and s⁻ (B,)."""
    gain = positive - 0.5 * negative - 0.0025 * positive.square() - 0.25 * negative.square()
    return gain.mean()


def regulariser(whole: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """R, a scalar, of the projections (B, 8) of v, v⁺ and v⁻: views apart, each near the whole."""
    apart = F.relu(1 - (positive - negative).square().sum(-1)).mean()
    unit, sparse, smooth = (F.normalize(p, dim=-1, eps=1e-6) for p in (whole, positive, negative))
    held = [((p - unit).square().sum(-1) + 1e-8).sqrt().mean() - 1 for p in (sparse, smooth)]
    return apart + 0.01 * (held[0] + held[1])


class Views(nn.Module):
    """W, head_v and p: views of a feature, what each says of valence and arousal, and projections.

    Args:
        dim: width of the feature.
        width: of a view.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.down = nn.Linear(dim, width)
        self.head = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 2), nn.Tanh())
        self.projector = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 8), nn.ReLU())

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, dim) -> v, v⁺ and v⁻, (B, width) each."""
        view = F.relu(self.down(feature))
        return view, sparsemax(view), view.softmax(-1)

    def said(self, view: Tensor) -> Tensor:
        """(B, width) -> valence and arousal (B, 2), within ±½."""
        return 0.5 * self.head(view)  # type: ignore[no-any-return]


class AVCE(Plain):
    """L_VA and the contrast of views, then the regulariser."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of contrast and regulariser.

        Attributes:
            weight: λ, weight of the contrast per face of a batch.
            regulariser: ρ, weight of the regulariser.
            two_steps: whether the regulariser has a step of its own; else both losses are summed.
            width: dimensions of a view.
        """

        weight: float = 1e-4
        regulariser: float = 1.0
        two_steps: bool = True
        width: int = 32

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight", "regulariser")
            within(self, 2, inf, "width")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        self.views = Views(setup.network.dim, self.terms.width)
        self.companion = Companion("views", self.views, self.fabric, self.budget)

    def step(self, batch: Batch) -> dict[str, float]:
        """One or two steps; logs the loss, L_VA, AVCE, R and the means of both similarities."""
        prediction, terms = self.network(batch.image), self.terms
        said = prediction.valence_arousal.float()
        views = self.views(prediction.expression.float())
        alike, unlike = (similarity(said, self.views.said(view)) for view in views[1:])
        va, avce = va_loss(said, batch.target, batch.sample_weight), contrast(alike, unlike)
        first = va - terms.weight * len(batch) * avce
        self.companion.clear()
        if terms.two_steps:
            descend(self.fabric, first, self.network, self.adam, self.budget.clip)
            self.companion.step(advance=False)
            views = self.views(self.network(batch.image).expression.float())
            self.companion.clear()
        apart = regulariser(*(self.views.projector(view) for view in views))
        second = terms.regulariser * apart
        self.descend(second if terms.two_steps else first + second)  # reaches the views too
        self.companion.step()
        return numbers(
            loss=first + second, va=va, avce=avce, regulariser=apart, positive=alike.mean(),
            negative=unlike.mean(),
        )  # fmt: skip

    def modules(self) -> dict[str, nn.Module]:
        """The network and the views."""
        return super().modules() | self.companion.modules()

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and schedule of both."""
        return super().optimizers() | self.companion.optimizers()
