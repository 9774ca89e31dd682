r"""The idfer method: expression features rich in emotion and blind to retrieved identity attributes.

    L = L_VA(z_exp, y; w) - α mean_a I_NCE(r[a]; c[a]) + β τ(t) Σ_a I_CLUB(z_exp; c[a])

- c[a] is the soft ID vector that CLIP retrieved (Kim, Kim, Song 2024 retrieve attributes with CLIP [paper]);
  its part common to all levels carries no attribute information and is taken off, then it is whitened [ours].
- Each sample leaves each attribute attached with probability `attach` [ours], so that every detach mask at
  run time has been seen in training; I_CLUB counts only the samples where the attribute was detached.
- w = ŵ^τ(t) with ŵ the decorrelation weights (`objectives/weights.py`) [ours], ones when switched off.
- τ and β rise linearly over the share `ramp` of the steps: features are learned from all faces first, for the
  weights cost most of the effective sample, and are then made independent. The deferral is that of
  Cao et al. 2019 (arXiv:1906.07413) for class weights; its use here is ours.
- The critic q takes `critic_steps` steps a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from idfer.errors import IdferError
from idfer.methods.common import Setup, descend, optimiser, terms_of
from idfer.objectives.club import CLUB
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


class Whitening:
    """Per attribute, retrieved ID vectors in decorrelated unit-variance coordinates.

    A soft ID vector of K levels lies in a (K-1)-dimensional simplex of the CLIP space; in all other
    directions its variance is 0, where a Gaussian critic degenerates. MI is invariant to this invertible map.

    Args:
        retrieved: (N, A, E) ID vectors of the training rows.
        levels: number of levels of each attribute, K[a].

    Raises:
        IdferError: an attribute never varies, so there is nothing to be invariant to.
    """

    def __init__(self, retrieved: Tensor, levels: dict[str, int]):
        width = max(levels.values()) - 1
        self.mean = retrieved.mean(0)
        bases, masks = [], []
        for a, (name, count) in enumerate(levels.items()):
            _, scale, directions = torch.linalg.svd(retrieved[:, a] - self.mean[a], full_matrices=False)
            scale = scale / max(1, len(retrieved)) ** 0.5
            rank = min(count - 1, int((scale > 1e-3 * scale[0].clamp_min(1e-6)).sum()))
            if rank == 0 or float(scale[0]) < 1e-6:
                raise IdferError(
                    f"attribute {name!r} is the same for every training face; leave it out of --use."
                )
            basis = retrieved.new_zeros(retrieved.shape[2], width)
            basis[:, :rank] = directions[:rank].T / scale[:rank]
            bases.append(basis)
            masks.append((torch.arange(width) < rank).float())
        self.basis, self.mask = torch.stack(bases), torch.stack(masks)

    def to(self, device: torch.device) -> Whitening:
        """Move to a device, in place."""
        self.mean, self.basis, self.mask = self.mean.to(device), self.basis.to(device), self.mask.to(device)
        return self

    def __call__(self, retrieved: Tensor) -> Tensor:
        """(B, A, E) -> (B, A, max K - 1)."""
        return torch.einsum("bae,aed->bad", retrieved - self.mean, self.basis)


class Idfer:
    """Residual modules, InfoNCE, CLUB and decorrelation weights."""

    @dataclass(frozen=True)
    class Terms:
        """Weights and settings of the objectives.

        Attributes:
            alpha: weight of InfoNCE between identity features and retrieved ID vectors.
            beta: weight of CLUB between the expression feature and retrieved ID vectors.
            attach: probability that an attribute stays attached in a training sample.
            ramp_from: share of the steps at which decorrelation weights and CLUB begin.
            ramp_to: share at which they are at full strength.
            critic_steps: steps of CLUB's q per batch.
        """

        alpha: float = 0.1
        beta: float = 0.02
        attach: float = 0.2
        ramp_from: float = 0.2
        ramp_to: float = 0.5
        critic_steps: int = 2

    def __init__(self, setup: Setup):
        fabric, network = setup.fabric, setup.network
        self.fabric, self.budget = fabric, setup.budget
        self.terms = terms_of(self.Terms, setup.terms)
        levels = {name: len(found) for name, found in setup.facts.levels.items()}
        self.whitening = Whitening(setup.facts.retrieved, levels).to(fabric.device)
        count, width = self.whitening.mask.shape
        nce = InfoNCE(count, network.residual.dim, width)
        learner = nn.ModuleDict({"network": network, "nce": nce})
        adam, self.schedule = optimiser(learner, self.budget)
        club = CLUB(count, network.dim, width)
        self.network = fabric.setup_module(network)
        self.nce = fabric.setup_module(nce)
        self.adam: Any = fabric.setup_optimizers(adam)
        self.club = club.to(fabric.device)
        self.critic = torch.optim.Adam(club.parameters(), lr=self.budget.lr)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, its terms, the critic's loss and how often each guard acted."""
        count = len(self.whitening.mask)
        target = self.whitening(batch.retrieved)
        detached = (torch.rand(len(batch), count, device=target.device) >= self.terms.attach).float()
        prediction = self.network(batch.image, strength=detached, retrieved=batch.retrieved)
        expression = prediction.expression.float()
        critic_loss = self._fit_critic(expression, target)
        strength = self._strength()
        weight = batch.weight**strength
        va = va_loss(prediction.valence_arousal.float(), batch.target, weight)
        nce = self.nce(prediction.identity.float(), target).mean()
        self.club.requires_grad_(False)
        leak = self.club.guarded(expression, target, self.whitening.mask, detached * weight[:, None])
        self.club.requires_grad_(True)
        loss = va - self.terms.alpha * nce + self.terms.beta * strength * leak
        descend(self.fabric, loss, self.network, self.adam, self.budget.clip)
        self.schedule.step()
        logged = {"loss": loss, "va": va, "nce": nce, "club": leak, "critic": critic_loss}
        return {k: float(v.detach()) for k, v in logged.items()} | {
            f"guard_{k}": float(v) for k, v in self.club.pop_guards().items()
        }

    def _strength(self) -> float:
        """τ in [0, 1] at this step; the schedule's own counter is restored with a checkpoint."""
        start, full = self.terms.ramp_from, self.terms.ramp_to
        done = self.schedule.last_epoch / max(1, self.budget.steps)
        return min(1.0, max(0.0, (done - start) / (full - start)))

    def _fit_critic(self, expression: Tensor, target: Tensor) -> Tensor:
        """Maximum-likelihood steps of q on detached features; returns the last loss."""
        loss = expression.new_zeros(())
        for _ in range(self.terms.critic_steps):
            loss = self.club.learning_loss(expression, target, self.whitening.mask)
            self.critic.zero_grad(set_to_none=True)
            loss.backward()
            self.critic.step()
        return loss

    def modules(self) -> dict[str, nn.Module]:
        """The network and both critics."""
        return {"network": self.network.module, "nce": self.nce.module, "club": self.club}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, and the critic's Adam."""
        return {"adam": self.adam, "schedule": self.schedule, "critic": self.critic}
