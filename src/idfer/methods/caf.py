r"""CAF: weak emotions are learned adversarially from strong ones.

    step 1:   min  L_VA
    critic:   min_D  E d⁺ + E d⁻ + Λ c + ½ ρ c²,        c = 1 - ½ (E d⁺² + E d⁻²)
              d⁺ = |D(h) - D(h')|²,    d⁻ = relu(mi + conf(h) - |D(h) - D(l)|²)
              mi = clamp( E_k [ log N(y; x, s²) - log ½ (N(y; -1, s²) + N(y; 1, s²)) ], 0, 2.5 ),   s² = 0.2,
              x = D(h)_k, y = D(l)_k;      conf = 0.7 / √(k - 1), k the adaptive number of neighbours of h
    step 2:   min  -λ E D(l)

(Kim, Song 2021, AAAI 35(7):5948, doi 10.1609/aaai.v35i7.16743; adaptive neighbours: Balsubramani et al. 2019,
NeurIPS, arXiv:1905.12717) with h, h' strong and l weak faces by v² + a². k is the smallest number of nearest
faces, by D, of which the share of strong ones differs from ½ by more than 0.7 / √k. Facts of the public code
[lineage]: the equations and all numbers, λ = 0.1, ρ = 1e-6; D reads the convolutional map, 64-32-16, its only
activation a ReLU before the last layer, dropout 0.2, by Adam (1e-4, betas 0.5 and 0.9); Λ takes a step of ρ c
up after each of the critic's; step 2 is the encoder's own, on another forward pass, by the optimiser of
step 1. [ours]:

- strong and weak are split at a quantile of the training faces; there the threshold is a share of a batch's
  summed labels, which depends on their order, plus 0.25, with a fixed fallback of 0.65 and 0.3;
- expectations run over all pairs of a batch; there over one pairing of as many weak as strong faces;
- D reads the backbone's features, layer-normalised, for -λ E D(l) alone would be lowered without bound by
  longer ones. A backbone that ends in a mean over places gives those;
- the ρ term has the + of an augmented Lagrangian that is minimised; there it is -, which a critic that once
  strays follows without bound (c falls with the fourth power of distances);
- L_VA has squared errors, as in all methods here; there their roots;
- a batch without two strong faces and one weak one gives 0 to both sides, and Λ stays;
- `two_steps: false` takes one step down L_VA - λ E D(l), at half the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import descend, learn_critic, within
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful

_MOST = 2.5  # nats of mi at most
_VARIANCE = 0.2  # s² of mi


class Critic(nn.Module):
    """D: a face's features -> 16 numbers; Λ is saved with it.

    Args:
        dim: width of the features.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, 64), nn.Linear(64, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 16)
        )
        self.register_buffer("multiplier", torch.zeros(()))
        self.multiplier: Tensor

    def forward(self, feature: Tensor) -> Tensor:
        """(B, dim) -> (B, 16)."""
        return self.layers(F.layer_norm(feature, feature.shape[-1:]))  # type: ignore[no-any-return]


def pairwise_information(score: Tensor) -> Tensor:
    """mi (B, B) in nats of scores (B, K): rows are x, columns y."""
    x, y = score[:, None], score[None]
    between = -(y - x).square() / (2 * _VARIANCE)
    ends = torch.logaddexp(-(y + 1).square() / (2 * _VARIANCE), -(y - 1).square() / (2 * _VARIANCE))
    return (between - ends + math.log(2)).mean(-1).clamp(0, _MOST)


def adaptive_margin(score: Tensor, strong: Tensor, scale: float) -> Tensor:
    """conf (B,): small where many neighbours are needed to tell strong from weak.

    Args:
        score: (B, K) D of each face, without gradient.
        strong: (B,) bool.
        scale: 0.7 of the equation.
    """
    count = len(score) - 1
    distance = torch.cdist(score, score).fill_diagonal_(inf)
    nearest = distance.argsort(1)[:, :count]
    neighbours = torch.arange(1, count + 1, device=score.device)
    bias = (strong[nearest].float().cumsum(1) / neighbours - 0.5).abs()
    clear = bias > scale / neighbours.sqrt()
    before = torch.where(clear.any(1), clear.float().argmax(1), count)  # k - 1
    return scale / before.clamp_min(1).sqrt()


def pair_distances(score: Tensor, strong: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared distances of all pairs, and which of them are pairs.

    Args:
        score: (B, K) D of each face.
        strong: (B,) bool.

    Returns:
        (B, B) squared distances; (B, B) shares of the pairs strong-strong and strong-weak, each summing to
        1, or all 0 in a batch that lacks either kind of pair; () bool whether it has both.
    """
    distance = (score[:, None] - score[None]).square().sum(-1)
    others = ~torch.eye(len(score), dtype=torch.bool, device=score.device)
    same, cross = strong[:, None] & strong[None] & others, strong[:, None] & ~strong[None]
    both = same.any() & cross.any()
    same_share, cross_share = ((pairs & both).float() / pairs.sum().clamp_min(1) for pairs in (same, cross))
    return distance, same_share, cross_share, both


def critic_loss(
    score: Tensor, strong: Tensor, multiplier: Tensor, confidence: float, rho: float
) -> tuple[Tensor, Tensor]:
    """What D minimises, and c; both 0 where a batch lacks a kind of pair. Arguments as above."""
    near, same, cross, both = pair_distances(score, strong)
    margin = pairwise_information(score) + adaptive_margin(score.detach(), strong, confidence)[:, None]
    far = F.relu(margin - near)
    c = (1 - 0.5 * ((same * near.square()).sum() + (cross * far.square()).sum())) * both
    loss = (same * near).sum() + (cross * far).sum() + multiplier * c + 0.5 * rho * c.square()
    return loss, c.detach()


def weak_score(score: Tensor, strong: Tensor) -> Tensor:
    """E D(l) of scores (B, K), a scalar; 0 in a batch that lacks a kind of pair."""
    both = (strong.sum() > 1) & (~strong).any()
    return (score.mean(1) * ~strong).sum() / (~strong).sum().clamp_min(1) * both


class CAF(Plain):
    """L_VA and the contrastive-adversarial critic."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the critic.

        Attributes:
            weight: λ, weight of the critic's say in the network's loss.
            two_steps: whether the network follows the critic in a step of its own; else losses are summed.
            confidence: 0.7 of the equations.
            quantile: share of the training faces that count as weak.
            rho: ρ of the constraint, and the step of its multiplier.
            critic_lr: learning rate of the critic's Adam.
        """

        weight: float = 0.1
        two_steps: bool = True
        confidence: float = 0.7
        quantile: float = 0.5
        rho: float = 1e-6
        critic_lr: float = 1e-4

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight", "confidence", "rho", "critic_lr")
            within(self, 0, 1, "quantile")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        strength = setup.facts.target.square().sum(1).sort().values
        self.threshold = float(strength[min(len(strength) - 1, int(self.terms.quantile * len(strength)))])
        self.critic = Critic(setup.network.dim_backbone).to(setup.fabric.device)
        self.critic_adam = torch.optim.Adam(
            self.critic.parameters(), lr=self.terms.critic_lr, betas=(0.5, 0.9)
        )

    def step(self, batch: Batch) -> dict[str, float]:
        """One or two steps; logs the loss, L_VA, the critic's loss, E D(l), c, the share of strong faces."""
        prediction, terms = self.network(batch.image), self.terms
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        if terms.two_steps:
            descend(self.fabric, va, self.network, self.adam, self.budget.clip)
            prediction = self.network(batch.image)
        feature = prediction.backbone.float()
        strong = batch.target.square().sum(1) >= self.threshold
        judged, c = critic_loss(
            self.critic(feature.detach()), strong, self.critic.multiplier, terms.confidence, terms.rho
        )
        learn_critic(self.critic, self.critic_adam, judged, self.budget.clip)
        self.critic.multiplier.add_(terms.rho * c)
        self.critic.requires_grad_(False)
        weak = weak_score(self.critic(feature), strong)
        self.critic.requires_grad_(True)
        loss = va - terms.weight * weak
        self.descend(-terms.weight * weak if terms.two_steps else loss)
        return numbers(loss=loss, va=va, critic=judged, weak=weak, c=c, strong=strong.float().mean())

    def modules(self) -> dict[str, nn.Module]:
        """The network and the critic."""
        return super().modules() | {"critic": self.critic}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, and the critic's Adam."""
        return super().optimizers() | {"critic": self.critic_adam}
