r"""The idfer method: expression features rich in emotion and blind to identity, by mutual information.

    maximise  I(z_exp; y | identity)  `conditional_information`: no gain from a shortcut through identity
    maximise  I(r[a]; c[a])           `infonce`: identity features know their attribute
    minimise  I(z_exp; image | y)     `conditional_budget`: bounds what a draw tells beyond the label, in nats
    minimise  I(z_exp; image)         `budget`: bounds all that a draw tells; off by default
    minimise  I(z_exp; c[a])          any estimator of `methods/penalty.py`; off by default

    L = v L_VA(f(μ), y; w) - i Î(z; y | id) + ρ residual(z, y) + b rate(z)
        + α mean_a [ CE(c[a]; r[a]) - I_NCE(r[a]; c[a]) ] + β Σ_a Î(z; c[a])

with z ~ N(μ, σ²) the sampled expression feature and f the head. Retrieval by CLIP, expression and identity
features by residual modules, and the MI perspective are the paper's (Kim, Kim, Song 2024) [paper]; the terms
and their weights are ours [ours], chosen on development people (docs/method.md).

- L_VA reads the mean feature: the noise belongs to the certificate, and a correlation of noisy predictions
  would pay for it twice.
- identity in p(y | id) is what CLIP retrieved and, with `person`, averaged over the person's faces, beside
  the labels of the others. `prior_power` > 1 sharpens it: a margin, for a face of an unseen person is read
  less well than those trained on, and what is read less well leans on what goes with it. With it the
  information is no bound any more: the opposite of a shortcut may earn a little.
- w = ŵ^τ(t), ŵ the decorrelation weights. τ rises over [ramp_from, ramp_to] of the steps: features form
  from all faces first, for weights cost most of the effective sample (deferral: Cao et al. 2019,
  arXiv:1906.07413).
- where attributes are attached as evidence of the label (`models/evidence.py`), CE teaches identity features
  their levels, and all identity features are subtracted in every sample. Where they are attached as features,
  there is no CE, and each sample leaves each attribute attached with probability `attach`, so that every mask
  of run time has been seen; the penalty counts detached samples only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from idfer.errors import UsageError
from idfer.methods.attribute_targets import LevelPosteriors, WhitenedVectors
from idfer.methods.common import Setup, numbers, terms_of
from idfer.methods.optimise import descend, learn_critic, optimiser, within
from idfer.methods.penalty import Penalty, penalty_term
from idfer.objectives.budget import rate
from idfer.objectives.conditional_budget import BackwardEncoder, residual
from idfer.objectives.conditional_information import conditional_information
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.va import va_loss
from idfer.statistics.decorrelation import person_means
from idfer.statistics.label_evidence import label_evidence
from idfer.statistics.label_prior import label_prior
from idfer.types import Batch, Prediction, Stateful


class Idfer:
    """Residual modules with mutual-information objectives."""

    @dataclass(frozen=True)
    class Terms:
        """Weights and settings of the objectives.

        Attributes:
            va: v, weight of L_VA at first.
            va_late: v at the end of the ramp.
            information: i, weight of I(z_exp; y | identity).
            person: whether identity includes the labels of a person's other faces.
            prior_power: sharpening t of p(y | identity) (`statistics/label_prior.py`).
            residual: ρ, weight of the conditional information budget (networks with a code).
            rate: b, weight of the information budget (networks with a code).
            budget_to: share of the steps over which ρ and b rise from 0. Over all of them: features form
                first and forget afterwards.
            alpha: α, weight of what ties identity features to what was retrieved.
            beta: β, weight of the penalty between z_exp and retrieved attributes.
            estimator: of that term, a name of `idfer.catalogue.ESTIMATORS`, or a class of one's own as
                `module:Class`.
            attach: probability that an attribute stays attached in a training sample.
            ramp_from: share of the steps at which weights and the penalty begin and v moves.
            ramp_to: share at which they are at full strength.
            critic_steps: steps of the estimator's critic per batch.
        """

        va: float = 1.0
        va_late: float = 0.5
        information: float = 1.0
        person: bool = True
        prior_power: float = 1.4
        residual: float = 0.15
        rate: float = 0.0
        budget_to: float = 1.0
        alpha: float = 0.1
        beta: float = 0.0
        estimator: str = "club"
        attach: float = 0.05
        ramp_from: float = 0.2
        ramp_to: float = 0.5
        critic_steps: int = 2

        def __post_init__(self) -> None:
            within(self, 0, inf, "va", "va_late", "information", "prior_power", "alpha", "beta")
            within(self, 0, inf, "residual", "rate")
            within(self, 0, 1, "budget_to", "attach", "ramp_from", "ramp_to")
            within(self, 1, inf, "critic_steps")
            if not (self.va and self.va_late) and not self.information:
                raise UsageError(
                    "--terms.information is 0, and so is --terms.va or --terms.va_late: nothing would be "
                    "learned, or no longer."
                )

    def __init__(self, setup: Setup):
        fabric, network, facts = setup.fabric, setup.network, setup.facts
        self.fabric, self.budget = fabric, setup.budget
        self.terms = terms_of(self.Terms, setup.terms)
        levels = {name: len(names) for name, names in facts.levels.items()}
        self.vectors = WhitenedVectors(facts.retrieved, levels).to(fabric.device)
        self.levels = LevelPosteriors(facts.levels, fabric.device)
        self._prior(setup)
        count, width = self.vectors.mask.shape
        self.bounds = nn.ModuleDict({"nce": InfoNCE(count, network.residual.dim, width)})
        if network.gaussian is not None and self.terms.residual:
            self.bounds["backward"] = BackwardEncoder(network.dim)
        self.log_sigma = nn.Parameter(torch.full((2,), math.log(0.3)))
        self.bounds.register_parameter("log_sigma", self.log_sigma)
        if network.evidence is not None:
            posterior = self.levels(facts.posterior.to(fabric.device)).cpu().numpy()
            averaged = person_means(posterior.reshape(len(posterior), -1), facts.subject.numpy())
            network.evidence.take(label_evidence(facts.target.numpy(), averaged.reshape(posterior.shape)))
        adam, self.schedule = optimiser(
            nn.ModuleDict({"network": network, "bounds": self.bounds}), self.budget
        )
        self.network = fabric.setup_module(network)
        self.bounds.to(fabric.device)
        self.adam: Any = fabric.setup_optimizers(adam)
        self.penalty: Penalty | None = None
        self.critic: torch.optim.Optimizer | None = None
        if self.terms.beta:
            self.penalty = penalty_term(self.terms.estimator, network.dim, self.vectors, self.levels)
            critic = list(self.penalty.term.to(fabric.device).parameters())
            self.critic = torch.optim.Adam(critic, lr=self.budget.lr) if critic else None

    def _prior(self, setup: Setup) -> None:
        """p(y | identity) of every training face, on the device."""
        if not self.terms.information:
            return
        facts = setup.facts
        prior = label_prior(
            facts.target.numpy(),
            self.levels.free(facts.posterior).numpy(),
            facts.subject.numpy(),
            images=facts.image.numpy(),
            by_person=self.terms.person,
            power=self.terms.prior_power,
        )
        self.log_p = torch.from_numpy(prior.log_p).to(self.fabric.device)
        self.grid = torch.from_numpy(prior.grid).to(self.fabric.device)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, its terms (nats where they are information) and how often guards acted."""
        terms = self.terms
        count = len(self.vectors.mask)
        detached = torch.ones(len(batch), count, device=batch.target.device)
        if self.network.evidence is None:
            detached = (torch.rand_like(detached) >= terms.attach).float()
        prediction: Prediction = self.network(batch.image, strength=detached, retrieved=batch.retrieved)
        strength = self._ramp(terms.ramp_from, terms.ramp_to)
        weight = batch.sample_weight**strength
        sampled, clear = self._predictions(prediction)
        va = va_loss(clear, batch.target, weight)
        target = self.vectors(batch.retrieved)
        nce = self.bounds["nce"](prediction.identity.float(), target).mean()
        loss = (terms.va + strength * (terms.va_late - terms.va)) * va - terms.alpha * nce
        logged = {"va": va, "nce": nce}
        if self.network.evidence is not None:
            told = self.network.evidence.log_levels(prediction.identity.float())
            entropy = -(self.levels(batch.posterior) * told.clamp_min(-30)).sum(-1).mean()
            loss, logged["levels"] = loss + terms.alpha * entropy, entropy
            step = self.schedule.last_epoch
            self.network.evidence.measure(clear, batch.target, batch.sample_weight, step)
        if terms.information:
            known = self.log_p[batch.row.to(self.log_p.device)]
            information = conditional_information(
                sampled, batch.target, known, self.grid, self.log_sigma
            ).mean()
            loss, logged["information"] = loss - terms.information * information, information
        if prediction.log_variance is not None:
            budget = self._ramp(0, terms.budget_to)
            mean, log_variance = prediction.mean.float(), prediction.log_variance
            logged["rate"] = rate(mean, log_variance).mean()
            loss = loss + terms.rate * budget * logged["rate"]
            if terms.residual:
                of_label = self.bounds["backward"](batch.target)
                logged["residual"] = residual(mean, log_variance, of_label).mean()
                loss = loss + terms.residual * budget * logged["residual"]
        guards: dict[str, float] = {}
        if self.penalty is not None:
            keep = detached * weight[:, None]
            value, critic = self._penalty(self.penalty, prediction.expression.float(), batch, keep)
            loss = loss + terms.beta * strength * value
            logged |= {"penalty": value, "critic": critic}
            guards = {f"guard_{k}": float(v) for k, v in self.penalty.term.pop_guards().items()}
        descend(self.fabric, loss, self.network, self.adam, self.budget.clip)
        self.schedule.step()
        return numbers(loss=loss, **logged) | guards

    def _predictions(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """Valence and arousal (B, 2) from the sampled feature and from its mean."""
        sampled = prediction.valence_arousal.float()
        if prediction.log_variance is None:
            return sampled, sampled
        clear: Tensor = self.network.head(prediction.mean)
        return sampled, clear.float()

    def _ramp(self, start: float, full: float) -> float:
        """0 before `start`, 1 from `full`, as shares of the steps; restored with the schedule's counter."""
        done = self.schedule.last_epoch / max(1, self.budget.steps)
        return (
            1.0
            if full <= start and done >= start
            else min(1.0, max(0.0, (done - start) / max(full - start, 1e-9)))
        )

    def _penalty(
        self, penalty: Penalty, expression: Tensor, batch: Batch, keep: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The penalty and its critic's last loss, after the critic's steps on detached features."""
        term, attributes, mask = penalty
        c, y = attributes(batch), batch.target
        fitted = expression.new_zeros(())
        for _ in range(self.terms.critic_steps if self.critic is not None else 0):
            fitted = term.learning_loss(expression, c, mask, y=y)
            assert self.critic is not None
            learn_critic(term, self.critic, fitted, self.budget.clip)
        term.requires_grad_(False)
        value = term.guarded(expression, c, mask, keep, y=y)
        term.requires_grad_(True)
        return value, fitted

    def modules(self) -> dict[str, nn.Module]:
        """The network, what learns with it, and the penalty's critic."""
        penalty = {} if self.penalty is None else {"penalty": self.penalty.term}
        return {"network": self.network.module, "bounds": self.bounds} | penalty

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, and the critic's Adam."""
        critic = {} if self.critic is None else {"critic": self.critic}
        return {"adam": self.adam, "schedule": self.schedule} | critic
