r"""CAF: weak emotions are learned adversarially from strong ones.

    critic:   min_D  E |D(h) - D(h')|² + E relu(m - |D(h) - D(l)|²) + Λ c - ½ ρ c²
              c = 1 - ½ (E |D(h) - D(h')|² + E |D(h) - D(l)|²)
    network:  min    L_VA - λ E D(l)

(Kim, Song 2021, AAAI 35(7):5948, doi 10.1609/aaai.v35i7.16743) with h, h' strong and l weak faces, split by
v² + a² against a threshold. The equations, λ = 0.1, ρ = 1e-6 and the critic's Adam (1e-4, betas 0.5 and 0.9)
are [lineage]. Λ is a multiplier: it takes a step of ρ c up after each of the critic's. [ours]:

- the threshold is a quantile of v² + a² over the training faces, so that both sides exist in any data set;
- expectations run over all pairs of a batch, not over drawn ones: for a scalar D that costs B² numbers;
- m is one number; the source adds a confidence to a margin, and neither value is known here;
- D is a small MLP on layer-normalised features, for -λ E D(l) alone would be lowered without bound by longer
  features. D's objective knows differences only, so the sign of D is the critic's own;
- a batch without two strong faces and one weak one gives 0 to both sides, and Λ stays.

The sign of the ρ term is the source's; an augmented Lagrangian that is minimised would have +. At ρ = 1e-6
neither matters. Harness, batch and the network's optimiser are those of all methods here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import learn_critic, within
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


class Critic(nn.Module):
    """D: a face's feature -> a number; Λ is saved with it.

    Args:
        dim: width of the feature.
        hidden: width of the hidden layer.
    """

    def __init__(self, dim: int, hidden: int = 64):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("multiplier", torch.zeros(()))
        self.multiplier: Tensor

    def forward(self, feature: Tensor) -> Tensor:
        """(B, dim) -> (B,)."""
        return self.layers(F.layer_norm(feature, feature.shape[-1:])).squeeze(-1)  # type: ignore[no-any-return]


def pair_distances(score: Tensor, strong: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared differences of all pairs, and which of them are pairs.

    Args:
        score: (B,) D of each face.
        strong: (B,) bool.

    Returns:
        (B, B) squared differences; (B, B) shares of the pairs strong-strong and strong-weak, each summing to
        1, or all 0 in a batch that lacks either kind of pair; () bool whether it has both.
    """
    distance = (score[:, None] - score[None]).square()
    others = ~torch.eye(len(score), dtype=torch.bool, device=score.device)
    same, cross = strong[:, None] & strong[None] & others, strong[:, None] & ~strong[None]
    both = same.any() & cross.any()
    same_share, cross_share = ((pairs & both).float() / pairs.sum().clamp_min(1) for pairs in (same, cross))
    return distance, same_share, cross_share, both


def critic_loss(
    score: Tensor, strong: Tensor, multiplier: Tensor, margin: float, rho: float
) -> tuple[Tensor, Tensor]:
    """What D minimises, and c; both 0 where a batch lacks a kind of pair. Arguments as above."""
    distance, same, cross, both = pair_distances(score, strong)
    near, far = (same * distance).sum(), (cross * distance).sum()
    c = (1 - 0.5 * (near + far)) * both
    hinge = (cross * F.relu(margin - distance)).sum()
    return near + hinge + multiplier * c - 0.5 * rho * c.square(), c.detach()


def weak_score(score: Tensor, strong: Tensor) -> Tensor:
    """E D(l), a scalar; 0 in a batch that lacks a kind of pair."""
    both = (strong.sum() > 1) & (~strong).any()
    return (score * ~strong).sum() / (~strong).sum().clamp_min(1) * both


class CAF(Plain):
    """L_VA and the contrastive-adversarial critic."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the critic.

        Attributes:
            weight: λ, weight of the critic's say in the network's loss.
            margin: m, how far apart strong and weak faces are pushed, in squared units of D.
            quantile: share of the training faces that count as weak.
            rho: ρ of the constraint, and the step of its multiplier.
            critic_lr: learning rate of the critic's Adam.
        """

        weight: float = 0.1
        margin: float = 1.0
        quantile: float = 0.5
        rho: float = 1e-6
        critic_lr: float = 1e-4

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight", "margin", "rho", "critic_lr")
            within(self, 0, 1, "quantile")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        strength = setup.facts.target.square().sum(1).sort().values
        self.threshold = float(strength[min(len(strength) - 1, int(self.terms.quantile * len(strength)))])
        self.critic = Critic(setup.network.dim).to(setup.fabric.device)
        self.critic_adam = torch.optim.Adam(
            self.critic.parameters(), lr=self.terms.critic_lr, betas=(0.5, 0.9)
        )

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, L_VA, the critic's loss, E D(l), c and the share of strong faces."""
        prediction = self.network(batch.image)
        expression = prediction.expression.float()
        strong = batch.target.square().sum(1) >= self.threshold
        judged, c = critic_loss(
            self.critic(expression.detach()),
            strong,
            self.critic.multiplier,
            self.terms.margin,
            self.terms.rho,
        )
        learn_critic(self.critic, self.critic_adam, judged, self.budget.clip)
        self.critic.multiplier.add_(self.terms.rho * c)
        self.critic.requires_grad_(False)
        weak = weak_score(self.critic(expression), strong)
        self.critic.requires_grad_(True)
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        loss = va - self.terms.weight * weak
        self.descend(loss)
        return numbers(loss=loss, va=va, critic=judged, weak=weak, c=c, strong=strong.float().mean())

    def modules(self) -> dict[str, nn.Module]:
        """The network and the critic."""
        return super().modules() | {"critic": self.critic}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, and the critic's Adam."""
        return super().optimizers() | {"critic": self.critic_adam}
