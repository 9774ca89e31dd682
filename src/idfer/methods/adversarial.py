r"""Adversarial: an adversary reads attribute levels from z_exp, and its gradient is reversed.

    adversary:  min_θ Σ_a CE_a(θ; z_exp)        network:  min L_VA - λ τ(t) Σ_a CE_a(θ; z_exp)      (nats)

(Ganin et al. 2016, JMLR 17:59; `objectives/gradient_reversal.py`). CE_a is the cross-entropy of the
adversary's levels against the retrieved posterior p[a]. [ours]:

- the adversary reads retrieved soft posteriors, not hard domain labels;
- it takes `critic_steps` steps on detached features before the network's, with an Adam of its own: with one
  step on a shared backward pass, as in Ganin et al., the network fools the adversary of the moment, and what
  a linear readout finds hardly falls;
- τ rises linearly over the share `ramp` of the steps; Ganin et al. use a sigmoid of the progress;
- sample weights act on CE_a as on L_VA: under decorrelation weights labels tell nothing of attributes, so
  that to hide these costs no accuracy (`adversarial_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor, nn

from idfer.methods.attribute_targets import LevelPosteriors
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import learn_critic, ramp, within
from idfer.objectives.gradient_reversal import Adversary
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


class Adversarial(Plain):
    """L_VA and gradient reversal on all attributes at once.

    Attributes:
        extra: numbers that the adversary reads beside z_exp.
        normalise: whether the adversary layer-normalises what it reads.
    """

    extra: ClassVar[int] = 0
    normalise: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Terms:
        """Settings of the adversary.

        Attributes:
            weight: λ, how hard the network works against the adversary.
            ramp: share of the steps over which λ rises from 0.
            critic_steps: steps of the adversary per batch.
            critic_lr: learning rate of its Adam.
            hidden: width of its hidden layer.
        """

        weight: float = 0.1
        ramp: float = 0.5
        critic_steps: int = 5
        critic_lr: float = 5e-3
        hidden: int = 64

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight", "critic_lr")
            within(self, 0, 1, "ramp")
            within(self, 1, inf, "critic_steps", "hidden")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        device = setup.fabric.device
        self.levels = LevelPosteriors(setup.facts.levels, device)
        count, width = self.levels.mask.shape
        self.adversary = Adversary(
            count, setup.network.dim + self.extra, width, self.terms.hidden, normalise=self.normalise
        ).to(device)
        self.adversary_adam = torch.optim.Adam(self.adversary.parameters(), lr=self.terms.critic_lr)

    def seen(self, feature: Tensor, target: Tensor) -> Tensor:
        """What the adversary reads of z_exp (B, D) and labels (B, 2): (B, D + `extra`)."""
        return feature

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, L_VA and Σ_a CE_a in nats."""
        prediction = self.network(batch.image)
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        feature, mask = self.seen(prediction.expression.float(), batch.target), self.levels.mask
        weight = batch.sample_weight / batch.sample_weight.mean().clamp_min(1e-6)
        posterior = self.levels(batch.posterior) * weight[:, None, None]  # CE is linear in it
        for _ in range(self.terms.critic_steps):
            error = self.adversary.learning_loss(feature, posterior, mask)
            learn_critic(self.adversary, self.adversary_adam, error, self.budget.clip)
        strength = self.terms.weight * ramp(self.schedule.last_epoch, self.budget.steps, self.terms.ramp)
        self.adversary.requires_grad_(False)
        entropy = self.adversary.reversed_loss(feature, posterior, mask, strength)
        self.adversary.requires_grad_(True)
        self.descend(va + entropy)  # its gradient is that of L_VA - λ τ Σ_a CE_a
        return numbers(loss=va - strength * entropy, va=va, adversary=entropy)

    def modules(self) -> dict[str, nn.Module]:
        """The network and the adversary."""
        return super().modules() | {"adversary": self.adversary}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, and the adversary's Adam."""
        return super().optimizers() | {"adversary": self.adversary_adam}
